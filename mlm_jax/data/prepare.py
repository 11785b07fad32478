"""From sources to prepared data, as a stream.

  read -> clean -> drop duplicates -> split -> scratch files, with a sample on the side
  sample -> tokenizer
  scratch files -> pieces -> plan -> rows, one window of documents after another

Memory holds the documents' hashes (see `duplicates`), the tokenizer's sample and one
window; the scratch files take the size of the cleaned text on disk.
"""

import contextlib
import dataclasses
import hashlib
import heapq
import json

import numpy as np

from mlm_jax import config
from mlm_jax.data import clean
from mlm_jax.data import duplicates
from mlm_jax.data import pack
from mlm_jax.data import sources as sources_lib
from mlm_jax.data import statistics
from mlm_jax.data import store
from mlm_jax.data import tokenizer as tokenizer_lib

_WINDOW_PIECES = 1 << 25     # pieces, and documents, that are packed together at most
_WINDOW_DOCUMENTS = 1 << 20
_BATCH_CHARACTERS = 1 << 20  # encoded in one call
_BLOCK_ROWS = 1 << 13        # written in one piece
_NOT_COMPARED = ('prepared', 'weights')  # they do not change what is prepared
_TRAINED = ('unigram', 'bpe')
_NAMED = 5  # skipped files that a message names


def prepare(data, directory, log=print):
  """Prepares the data that a config asks for, or opens it where that is done.

  A finished preparation is taken for the one asked for when all settings that decide
  about it are equal; the names and sizes of the input files and their first and last
  MiB; and the tokenizer's model where its path is given. An edit in the middle of a
  large file that keeps its size is not noticed. What is no longer there is not compared.

  Args:
    data: `config.data`, checked.
    directory: the folder of the prepared data.
    log: takes lines of text.

  Returns:
    store.Prepared.

  Raises:
    UserError: whatever is wrong with the sources, the settings or the folder; nothing
      half-made is left.
  """
  sources = sources_lib.parse(data)
  if store.finished(directory):
    _check_reuse(data, sources, directory)
    prepared = store.open_prepared(directory)
    log(f'data: reusing {directory} ({prepared.fingerprint[:12]})')
    return prepared
  inputs = [source.inputs() for source in sources]
  given = None if data.tokenizer in _TRAINED else tokenizer_lib.load(data.tokenizer).model
  with store.building(directory) as folder:
    _build(data, sources, inputs, given, folder, log)
  prepared = store.open_prepared(directory)
  log(f'data: written to {directory} ({prepared.fingerprint[:12]})')
  return prepared


def settings(data):
  """Returns the settings that decide what is prepared, as they stand in a manifest."""
  flat = {key: value for key, value in config.flatten(data).items() if key not in _NOT_COMPARED}
  return json.loads(json.dumps(flat))


def _check_reuse(data, sources, directory):
  """Raises UserError where a finished preparation is of other settings, inputs or tokenizer."""
  manifest = store.read_manifest(directory)
  ours, theirs = settings(data), manifest['settings']
  differing = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
  if differing:
    what = ', '.join(f'config.data.{key} (prepared with {theirs.get(key)!r}, now {ours.get(key)!r})'
                     for key in differing)
    raise config.UserError(f'{directory} was prepared with other settings: {what}; '
                           'set them back, or give another config.data.prepared')
  # The inputs may be gone, since the rows made of them are not.
  with contextlib.suppress(OSError):
    if data.tokenizer not in _TRAINED and store.sha256(data.tokenizer) != manifest['tokenizer']['sha256']:
      raise config.UserError(f'{directory} was prepared with another model than config.data.tokenizer = '
                             f'{data.tokenizer} holds now; give another config.data.prepared')
  try:
    inputs = [source.inputs() for source in sources]
  except config.UserError:
    return
  if _digest(inputs) != manifest['inputs']:
    raise config.UserError(f'{directory} was prepared from other files than {data.source} names now (names, '
                           'sizes, or the first or last MiB differ); give another config.data.prepared')


def _digest(inputs):
  """Returns a digest of what the sources say of their input files."""
  return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


@dataclasses.dataclass
class _Reading:
  """One source as it was read: what was kept and what was not."""
  source: object
  counts: clean.Counts
  skipped: sources_lib.Skipped
  read: int = 0
  documents: dict = dataclasses.field(default_factory=lambda: dict.fromkeys(store.SPLITS, 0))
  characters: dict = dataclasses.field(default_factory=lambda: dict.fromkeys(store.SPLITS, 0))

  @property
  def kept(self):
    return sum(self.documents.values())


def _build(data, sources, inputs, given, folder, log):
  """Writes everything into a folder; `given` is the tokenizer's model, or None to train it."""
  scratch = folder / '.scratch'  # no source is named so
  scratch.mkdir()
  sample = _Sample(data.tokenizer_characters)
  seen = duplicates.Seen() if data.drop_duplicates else None
  readings = []
  for source in sources:
    readings.append(_read(source, data, scratch, seen, sample))
    _log_reading(readings[-1], log)
  del seen
  _check_readings(readings, data)

  model = given
  if model is None:
    texts = sample.texts()
    model = tokenizer_lib.train(texts, data)
    log(f'tokenizer: {data.tokenizer} trained on {sum(map(len, texts)):,} characters')
    del texts
  del sample
  path = folder / store.TOKENIZER
  path.parent.mkdir()
  path.write_bytes(model)
  tokenizer = tokenizer_lib.Tokenizer(model, str(data.tokenizer), data.tokenizer_threads)

  unigrams = statistics.Unigrams(tokenizer.size)
  splits = {split: [_pack(_scratch(scratch, reading.source, split), data, tokenizer,
                          folder / reading.source.name / split,
                          unigrams if split == 'train' else None) for reading in readings]
            for split in store.SPLITS}
  for split in store.SPLITS:
    _log_split(split, splits[split], data, log)
  _check_rows(splits, data)
  statistics.write(folder / store.STATISTICS, unigrams.counts_V)
  for path in scratch.iterdir():
    path.unlink()
  scratch.rmdir()
  store.finish(folder, {
      'settings': settings(data), 'inputs': _digest(inputs),
      'tokenizer': {'sha256': tokenizer.sha256, 'size': tokenizer.size},
      'sources': [_describe(reading, {split: splits[split][i].describe(data) for split in store.SPLITS})
                  for i, reading in enumerate(readings)]})


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


# Reading


def _scratch(folder, source, split):
  return folder / f'{source.name}.{split}'


def _read(source, data, scratch, seen, sample):
  """Writes a source's cleaned documents to scratch files, one a split."""
  reading = _Reading(source, clean.Counts(), sources_lib.Skipped())
  out = {split: open(_scratch(scratch, source, split), 'wb') for split in store.SPLITS}
  try:
    for text in source.documents(data, reading.counts, reading.skipped):
      if not text or text.isspace():
        continue
      reading.read += 1
      text = clean.document(text, data, reading.counts)
      if text is None:
        continue
      first, second = duplicates.digest(text)
      if seen is not None and not seen.add(first):
        reading.counts.add('duplicates', len(text))
        continue
      split = 'held_out' if duplicates.held_out(first, data.held_out) else 'train'
      reading.documents[split] += 1
      reading.characters[split] += len(text)
      if split == 'train':
        sample.add(second, text)
      encoded = text.encode()
      out[split].write(len(encoded).to_bytes(8, 'little') + encoded)
  finally:
    for file in out.values():
      file.close()
  return reading


def _scratch_texts(path):
  """Yields the documents of a scratch file."""
  with open(path, 'rb') as file:
    while size := file.read(8):
      yield file.read(int.from_bytes(size, 'little')).decode()


class _Sample:
  """The documents of smallest hash, up to a number of characters, the last one cut.

  So it depends on the documents, not on their order.
  """

  def __init__(self, characters):
    self._limit = characters
    self._heap = []  # of (-hash, text): the largest hash is on top
    self._size = 0

  def add(self, digest, text):
    if self._size >= self._limit and -digest < self._heap[0][0]:
      return
    heapq.heappush(self._heap, (-digest, text))
    self._size += len(text)
    while self._size - len(self._heap[0][1]) >= self._limit:
      self._size -= len(heapq.heappop(self._heap)[1])

  def texts(self):
    """Returns the sample in the order of the hashes."""
    texts = [text for _, text in sorted(self._heap, reverse=True)]
    over = self._size - self._limit
    return texts[:-1] + [texts[-1][:-over]] if over > 0 else texts


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


def _pack(scratch, data, tokenizer, folder, unigrams):
  """Writes the rows of one scratch file; returns their _Packed."""
  packed = _Packed()
  dtypes = store.dtypes(tokenizer.size, data.row_length)
  rows = store.ArrayWriter(folder / 'rows.npy', data.row_length, dtypes[0])
  starts = store.ArrayWriter(folder / 'starts.npy', data.max_segments, dtypes[1])
  planner = pack.best_fit if data.packing == 'best_fit' else pack.contiguous
  special = tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id
  for lengths, pieces_T in _windows(_encoded(scratch, tokenizer, dtypes[0])):
    plan = planner(lengths, data.row_length, data.max_segments)
    begins = np.cumsum(lengths) - lengths
    for begin in range(0, plan.rows, _BLOCK_ROWS):
      tokens_RL, starts_RS = pack.fill(plan, begin, min(begin + _BLOCK_ROWS, plan.rows), pieces_T, begins,
                                       data.row_length, data.max_segments, special, dtypes)
      rows.write(tokens_RL)
      starts.write(starts_RS)
      if unigrams is not None:
        unigrams.add(tokens_RL)
    packed.rows += plan.rows
    packed.segments += len(plan.row_N)
    packed.pieces += len(pieces_T)
  packed.tokens = packed.pieces + pack.OVERHEAD * packed.segments
  rows.close()
  starts.close()
  return packed


def _encoded(scratch, tokenizer, dtype):
  """Yields (lengths, pieces one after another) of batches of documents."""
  for texts in batched(_scratch_texts(scratch)):
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


def _log_reading(reading, log):
  skipped = reading.skipped
  dropped = [f'{documents:,} by {rule}' for rule, (documents, _) in reading.counts.touched.items()
             if documents and rule in ('min_characters', 'max_characters', 'duplicates')]
  log(f'{reading.source.name}: {reading.kept:,} documents, {sum(reading.characters.values()):,} characters'
      + (f'; dropped {", ".join(dropped)}' if dropped else ''))
  bad = reading.counts.touched['decoding'][1]
  if bad:
    log(f'{reading.source.name}: replaced {bad:,} bytes that are not UTF-8')
  for what in _named(skipped):
    log(f'{reading.source.name}: skipped {what}')
  if skipped.records:
    log(f'{reading.source.name}: skipped {skipped.records:,} records without a text, '
        f'the first of them {skipped.first_record}')
  if skipped.packages:
    log(f'{reading.source.name}: not installed here: {", ".join(skipped.packages)}')


def _named(skipped):
  """Returns what was skipped as texts, one a kind, each with its number and the first names."""
  kinds = {'files that are mostly not text': skipped.files,
           'archives that are not read (unpack them)': skipped.archives,
           'links and other names of no file': skipped.links}
  more = lambda names: f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''
  return [f'{len(names)} {kind}: {", ".join(names[:_NAMED])}{more(names)}'
          for kind, names in kinds.items() if names]


def _log_split(split, packed, data, log):
  total = _Packed(*(sum(getattr(each, f.name) for each in packed) for f in dataclasses.fields(_Packed)))
  what = total.describe(data)
  log(f'{split}: {total.rows:,} rows of {data.row_length}, {total.tokens:,} tokens, filled '
      f'{what["fill"]:.2%} of {what["fill_ceiling"]:.2%} possible')


def _check_readings(readings, data):
  """Raises UserError where nothing is left to train or to evaluate on."""
  documents = {split: sum(reading.documents[split] for reading in readings) for split in store.SPLITS}
  kept = sum(documents.values())
  if not kept:
    raise config.UserError(_empty(readings, data))
  if not documents['held_out']:
    raise config.UserError(f'no held-out document: config.data.held_out = {data.held_out} of {kept:,} '
                           'documents; raise it, give more text, or cut it finer with data.document')
  if not documents['train']:
    raise config.UserError(f'no training document: config.data.held_out = {data.held_out} takes all '
                           f'{kept:,}; lower it, give more text, or cut it finer with data.document')


def _empty(readings, data):
  read = sum(reading.read for reading in readings)
  if read:
    took = {rule: sum(reading.counts.touched[rule][0] for reading in readings)
            for rule in ('min_characters', 'max_characters')}
    return (f'every one of {read:,} documents was filtered out: '
            + ', '.join(f'config.data.{rule} = {data[rule]} took {n:,}' for rule, n in took.items() if n))
  skipped = [what for reading in readings for what in _named(reading.skipped)]
  records = sum(reading.skipped.records for reading in readings)
  return (f'the corpus is empty: {data.source} gives no document'
          + ''.join(f'; skipped {what}' for what in skipped)
          + (f'; skipped {records:,} records without a text in {data.field!r}' if records else ''))


def _check_rows(splits, data):
  tokens = sum(each.tokens for each in splits['train'])
  if tokens < data.row_length:
    raise config.UserError(f'the corpus is too small for a row: {tokens:,} training tokens, config.data.'
                           f'row_length = {data.row_length}; give more text or shorten the rows')
