"""From sources to prepared data, as a stream.

  read -> clean -> drop duplicates -> split -> scratch files
  scratch files -> drop near duplicates -> sample -> tokenizer
  scratch files -> pieces -> plan -> rows, one window of documents after another

Memory holds the documents' hashes (see `duplicates` and `near_duplicates`), then the
tokenizer's sample, then one window and the counts of n-grams (see `ngrams`); the scratch
files take the size of the cleaned text on disk.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import json

import numpy as np

from mlm_jax import config
from mlm_jax.data import duplicates
from mlm_jax.data import near_duplicates
from mlm_jax.data import pack
from mlm_jax.data import reading as reading_lib
from mlm_jax.data import sources as sources_lib
from mlm_jax.data import statistics
from mlm_jax.data import store
from mlm_jax.data import tokenizer as tokenizer_lib

_WINDOW_PIECES = 1 << 25     # pieces, and documents, that are packed together at most
_WINDOW_DOCUMENTS = 1 << 20
_BATCH_CHARACTERS = 1 << 20  # encoded in one call
_BLOCK_ROWS = 1 << 13        # written in one piece
_NOT_COMPARED = ('prepared', 'weights', 'size_exponent')  # they do not change what is prepared
_TRAINED = ('unigram', 'bpe', 'word')


def prepare(data, directory, log=print, model=None):
  """Prepares the data that a config asks for, or opens it where that is done.

  A finished preparation is taken for the one asked for when all settings that decide
  about it are equal; the names and sizes of the input files and their first and last
  MiB; and the tokenizer's model where its path is given. An edit in the middle of a
  large file that keeps its size is not noticed. A source of which nothing is there any
  more is not compared.

  Args:
    data: `config.data`, checked.
    directory: the folder of the prepared data.
    log: takes lines of text.
    model: the tokenizer's model where it is not the config's to say, as bytes.

  Returns:
    store.Prepared.

  Raises:
    UserError: whatever is wrong with the sources, the settings or the folder; nothing
      half-made is left.
  """
  sources = sources_lib.parse(data)
  if store.finished(directory):
    _check_reuse(data, sources, directory, model)
    prepared = store.open_prepared(directory)
    log(f'data: reusing {directory} ({prepared.fingerprint[:12]})')
    return prepared
  inputs = [source.inputs() for source in sources]
  given = model or (None if data.tokenizer in _TRAINED else tokenizer_lib.load(data.tokenizer).model)
  with store.building(directory) as folder:
    _build(data, sources, inputs, given, folder, log)
  prepared = store.open_prepared(directory)
  log(f'data: written to {directory} ({prepared.fingerprint[:12]})')
  return prepared


def settings(data):
  """Returns the settings that decide what is prepared, as they stand in a manifest."""
  flat = {key: value for key, value in config.flatten(data).items() if key not in _NOT_COMPARED}
  return json.loads(json.dumps(flat))


def _check_reuse(data, sources, directory, model):
  """Raises UserError where a finished preparation is of other settings, inputs or tokenizer."""
  manifest = store.read_manifest(directory)
  ours, theirs = settings(data), manifest['settings']
  differing = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
  if differing:
    what = ', '.join(f'config.data.{key} (prepared with {theirs.get(key)!r}, now {ours.get(key)!r})'
                     for key in differing)
    raise config.UserError(f'{directory} was prepared with other settings: {what}; '
                           'set them back, or give another config.data.prepared')
  if model and hashlib.sha256(model).hexdigest() != manifest['tokenizer']['sha256']:
    raise config.UserError(f'{directory} was prepared with another tokenizer than that of the first stage; '
                           'remove the folder')
  # The inputs may be gone, since the rows made of them are not.
  with contextlib.suppress(OSError):
    if data.tokenizer not in _TRAINED and store.sha256(data.tokenizer) != manifest['tokenizer']['sha256']:
      raise config.UserError(f'{directory} was prepared with another model than config.data.tokenizer = '
                             f'{data.tokenizer} holds now; give another config.data.prepared')
  for source, digest in zip(sources, manifest['inputs']):
    try:
      inputs = source.inputs()
    except config.UserError:
      continue
    if _digest(inputs) != digest:
      raise config.UserError(f'{directory} was prepared from other files than {source.spec} names now '
                             '(names, sizes, or the first or last MiB differ); '
                             'give another config.data.prepared')


def _digest(inputs):
  """Returns a digest of what a source says of its input files."""
  return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def _build(data, sources, inputs, given, folder, log):
  """Writes everything into a folder; `given` is the tokenizer's model, or None to train it."""
  scratch = folder / '.scratch'  # no source is named so
  scratch.mkdir()
  readings = _read(sources, data, scratch, log)
  model = given or _train_tokenizer(readings, data, log)
  path = folder / store.TOKENIZER
  path.parent.mkdir()
  path.write_bytes(model)
  tokenizer = tokenizer_lib.Tokenizer(model, str(data.tokenizer), data.tokenizer_threads)

  counter = statistics.Counter(tokenizer, len(readings))
  splits = {split: [_pack(reading.texts(split), data, tokenizer, folder / reading.source.name / split,
                          counter.source(i) if split == 'train' else None)
                    for i, reading in enumerate(readings)]
            for split in store.SPLITS}
  for split in store.SPLITS:
    _log_split(split, splits[split], data, log)
  _check_rows(splits, data)
  statistics.write(folder / store.STATISTICS, counter.result())
  for path in scratch.iterdir():
    path.unlink()
  scratch.rmdir()
  store.finish(folder, {
      'settings': settings(data), 'inputs': [_digest(each) for each in inputs],
      'tokenizer': {'sha256': tokenizer.sha256, 'size': tokenizer.size},
      'sources': [_describe(reading, {split: splits[split][i].describe(data) for split in store.SPLITS})
                  for i, reading in enumerate(readings)]})


def _read(sources, data, scratch, log):
  """Returns the sources' Readings, near duplicates dropped."""
  seen = duplicates.Seen() if data.drop_duplicates else None
  readings = []
  for source in sources:
    readings.append(reading_lib.read(source, data, scratch, seen))
    reading_lib.log_reading(readings[-1], log)
  if data.near_duplicates:
    _drop_near_duplicates(readings, data, log)
  reading_lib.check(readings, data)
  return readings


def _drop_near_duplicates(readings, data, log):
  """Drops the training documents that resemble a held-out one or each other, over all sources."""
  signatures_NH = np.empty((sum(reading.kept for reading in readings), near_duplicates.HASHES), np.uint32)
  digest_N = np.empty(len(signatures_NH), np.uint64)
  held_out_N = np.zeros(len(signatures_NH), bool)
  at, parts = 0, []
  for reading, split in itertools.product(readings, store.SPLITS):
    begin = at
    for texts in batched(reading.texts(split)):
      signatures_NH[at:at + len(texts)] = near_duplicates.signatures(texts)
      digest_N[at:at + len(texts)] = [duplicates.digest(text)[0] for text in texts]
      at += len(texts)
    held_out_N[begin:at] = split == 'held_out'
    parts.append((reading, split, slice(begin, at)))
  dropped_N = near_duplicates.dropped(signatures_NH, digest_N, held_out_N, data.near_duplicates)
  for reading, split, part in parts:
    if split == 'train':
      reading.drop(dropped_N[part], 'near_duplicates')
      log(f'{reading.source.name}: dropped {dropped_N[part].sum():,} of {part.stop - part.start:,} training '
          'documents by near_duplicates')


def _train_tokenizer(readings, data, log):
  """Returns the model trained on a sample of the training documents."""
  texts = reading_lib.sample(readings, data.tokenizer_characters)
  model = tokenizer_lib.train(texts, data)
  log(f'tokenizer: {data.tokenizer} trained on {sum(map(len, texts)):,} characters')
  return model


def _describe(reading, splits):
  """Returns what a manifest says of one source."""
  return {
      'name': reading.source.name, 'source': reading.source.spec,
      'documents_read': reading.read,
      'rules': {rule: {'documents': documents, 'characters': characters}
                for rule, (documents, characters) in reading.counts.touched.items()},
      'skipped': dataclasses.asdict(reading.skipped),
      **{split: {'documents': reading.documents[split], 'characters': reading.characters[split],
                 **splits[split]} for split in store.SPLITS}}


# Packing


@dataclasses.dataclass
class _Packed:
  """Counts of one source's rows in one split."""
  rows: int = 0
  segments: int = 0
  tokens: int = 0  # special ones included, padding not
  pieces: int = 0

  def describe(self, data):
    length, most = data.row_length, data.max_segments
    return {'rows': self.rows, 'segments': self.segments, 'tokens': self.tokens,
            'pieces': self.pieces, 'fill': self.tokens / (self.rows * length) if self.rows else 0.0,
            'fill_ceiling': pack.ceiling(self.tokens, self.segments, length, most)}


def _pack(texts, data, tokenizer, folder, counter):
  """Writes the rows of some documents, counted where there is a counter; returns their _Packed."""
  packed = _Packed()
  dtypes = store.dtypes(tokenizer.size, data.row_length)
  rows = store.ArrayWriter(folder / 'rows.npy', data.row_length, dtypes[0])
  starts = store.ArrayWriter(folder / 'starts.npy', data.max_segments, dtypes[1])
  planner = pack.best_fit if data.packing == 'best_fit' else pack.contiguous
  special = tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id
  for lengths, pieces_T in _windows(_encoded(texts, tokenizer, dtypes[0])):
    plan = planner(lengths, data.row_length, data.max_segments)
    begins = np.cumsum(lengths) - lengths
    for begin in range(0, plan.rows, _BLOCK_ROWS):
      tokens_RL, starts_RS = pack.fill(plan, begin, min(begin + _BLOCK_ROWS, plan.rows), pieces_T, begins,
                                       data.row_length, data.max_segments, special, dtypes)
      rows.write(tokens_RL)
      starts.write(starts_RS)
      if counter is not None:
        counter.add_rows(tokens_RL)
    if counter is not None:
      counter.add_documents(lengths)
    packed.rows += plan.rows
    packed.segments += len(plan.row_N)
    packed.pieces += len(pieces_T)
  packed.tokens = packed.pieces + pack.OVERHEAD * packed.segments
  rows.close()
  starts.close()
  return packed


def _encoded(texts, tokenizer, dtype):
  """Yields (lengths, pieces one after another) of batches of documents."""
  for texts in batched(texts):
    ids = tokenizer.encode_batch(texts)
    yield np.array([len(each) for each in ids], np.int64), np.concatenate(ids).astype(dtype)


def batched(texts):
  """Yields lists of texts, each as much as is encoded in one call."""
  return _grouped(texts, len, _BATCH_CHARACTERS)


def _windows(batches):
  """Yields (lengths, pieces) of as many documents as are packed together."""
  weight = lambda batch: max(len(batch[1]), len(batch[0]) * (_WINDOW_PIECES // _WINDOW_DOCUMENTS))
  for window in _grouped(batches, weight, _WINDOW_PIECES):
    yield np.concatenate([each[0] for each in window]), np.concatenate([each[1] for each in window])


def _grouped(items, weight, limit):
  """Yields lists of items whose weights come to the limit."""
  group, total = [], 0
  for item in items:
    group.append(item)
    total += weight(item)
    if total >= limit:
      yield group
      group, total = [], 0
  if group:
    yield group


# What is said, and what is refused


def _log_split(split, packed, data, log):
  total = _Packed(*(sum(getattr(each, f.name) for each in packed) for f in dataclasses.fields(_Packed)))
  what = total.describe(data)
  log(f'{split}: {total.rows:,} rows of {data.row_length}, {total.tokens:,} tokens, filled '
      f'{what["fill"]:.2%} of {what["fill_ceiling"]:.2%} possible')


def _check_rows(splits, data):
  tokens = sum(each.tokens for each in splits['train'])
  if tokens < data.row_length:
    raise config.UserError(f'the corpus is too small for a row: {tokens:,} training tokens, config.data.'
                           f'row_length = {data.row_length}; give more text or shorten the rows')
