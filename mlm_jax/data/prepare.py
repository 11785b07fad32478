"""From sources to prepared data, as a stream.

  read -> clean -> drop duplicates -> split -> scratch files
  scratch files -> drop near duplicates -> sample -> tokenizer, which words may extend
  scratch files -> pieces -> plan -> rows, one window of documents after another
  pieces -> pairs of sentences (see `sentence_pairs`) -> plan, where they are asked for
  rows -> collocations (see `pmi`) -> the column of the tokens that they join

The other columns of the rows (see `annotations`) go with their documents all the way.

Memory holds the documents' hashes (see `duplicates` and `near_duplicates`), then the
tokenizer's sample, then one window and the counts of n-grams (see `statistics`); the scratch
files take the size of the cleaned text on disk.
"""

from collections.abc import Callable
import contextlib
import dataclasses
import hashlib
import itertools
import json
import os
import shutil
from typing import Any

import numpy as np

from mlm_jax import config
from mlm_jax.core import files
from mlm_jax.data import annotations
from mlm_jax.data import extension
from mlm_jax.data import rows as rows_lib
from mlm_jax.data import statistics
from mlm_jax.data import store
from mlm_jax.data import tokenizers
from mlm_jax.data.annotations import word_classes
from mlm_jax.data.corpus import duplicates
from mlm_jax.data.corpus import near_duplicates
from mlm_jax.data.corpus import reading as reading_lib
from mlm_jax.data.corpus import sources as sources_lib
from mlm_jax.data.tokenizers import extending

_NOT_COMPARED = ('prepared', 'weights', 'sampling_alpha')  # they do not change what is prepared


def prepare(
  data: Any,
  directory: str | os.PathLike,
  log: Callable[[str], Any] = print,
  model: bytes | None = None,
  new_pieces: int = 0,
) -> store.Prepared:
  """Prepares the data that a config asks for, or opens it where that is done.

  A finished preparation is reused when these are equal: all settings that decide about it; the
  names and sizes of the input files and their first and last MiB; and the tokenizer's model where
  its path is given. An edit in the middle of a large file that keeps its size is not noticed. A
  source whose files are all gone is not compared.

  Args:
    data: `config.data`, checked.
    directory: the folder of the prepared data.
    log: takes lines of text.
    model: the bytes of the tokenizer's model where the config does not decide it.
    new_pieces: by how many words of the text the tokenizer is extended, see `extension`.

  Returns:
    store.Prepared.

  Raises:
    UserError: whatever is wrong with the sources, the settings or the folder; nothing
      half-made is left.
  """
  sources = sources_lib.parse(data)
  if store.finished(directory):
    _check_reuse(data, sources, directory, model, new_pieces)
    prepared = store.open_prepared(directory)
    log(f'data: reusing {directory} ({prepared.fingerprint[:12]})')
    if warning := word_classes.changed(prepared.manifest, directory):
      log(warning)
    return prepared
  # Faults of the sources, the columns and the tokenizer's file are found before a folder is made.
  inputs = [source.inputs() for source in sources]
  makers = annotations.makers(data, sources)
  given = model or (
    None if data.tokenizer in tokenizers.TRAINED else tokenizers.load(data.tokenizer).model
  )
  if given and new_pieces:
    extending.check(tokenizers.make(given, str(data.tokenizer)), str(data.tokenizer))
  with store.building(directory) as folder:
    _build(data, sources, inputs, makers, given, new_pieces, folder, log)
  prepared = store.open_prepared(directory)
  log(f'data: written to {directory} ({prepared.fingerprint[:12]})')
  return prepared


def settings(data: Any) -> dict:
  """Returns the settings that decide what is prepared, as a manifest has them."""
  flat = {key: value for key, value in config.flatten(data).items() if key not in _NOT_COMPARED}
  return json.loads(json.dumps(flat))  # as they are when read back: tuples are lists


def _check_reuse(data, sources, directory, model, new_pieces):
  """Raises UserError where a finished preparation is of other settings, inputs or tokenizer."""
  manifest = store.read_manifest(directory)
  ours, theirs = settings(data), manifest['settings']
  if not {ours['tokenizer'], theirs.get('tokenizer')} & set(tokenizers.TRAINED):
    if ours['tokenizer'] != theirs.get('tokenizer'):  # another place, of perhaps the same file
      tokenizers.load(data.tokenizer)
    ours['tokenizer'] = theirs.get('tokenizer')  # it is compared by what is in it
  differing = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
  if differing:
    what = ', '.join(
      f'config.data.{key} (prepared with {theirs.get(key)!r}, now {ours.get(key)!r})'
      for key in differing
    )
    raise config.UserError(
      f'{directory} was prepared with other settings: {what}; '
      'set them back, or give another config.data.prepared'
    )
  before = manifest['tokenizer'].get('new_pieces', 0)
  if before != new_pieces:
    raise config.UserError(
      f'{directory} was prepared with config.adapt.new_pieces = {before}, now {new_pieces}; set it '
      'back, or give another config.data.prepared'
    )
  # A later stage must have the ids of the first one, whose model the config does not name.
  if model and hashlib.sha256(model).hexdigest() != manifest['tokenizer']['sha256']:
    raise config.UserError(
      f'{directory} was prepared with another tokenizer than that of the first stage; '
      'remove the folder'
    )
  # The inputs may be gone, since the rows made of them are not.
  with contextlib.suppress(OSError):
    if (
      data.tokenizer not in tokenizers.TRAINED
      # What was extended, or the outcome, which a run keeps.
      and files.sha256(data.tokenizer)
      not in (manifest['tokenizer'].get('extends'), manifest['tokenizer']['sha256'])
    ):
      raise config.UserError(
        f'{directory} was prepared with another model than config.data.tokenizer = '
        f'{data.tokenizer} holds now; give another config.data.prepared'
      )
  for source, digest in zip(sources, manifest['inputs']):
    try:
      inputs = source.inputs()
    except config.UserError:  # its files are gone, which is no fault
      continue
    if _digest(inputs) != digest:
      raise config.UserError(
        f'{directory} was prepared from other files than {source.spec} names now '
        '(names, sizes, or the first or last MiB differ); '
        'give another config.data.prepared'
      )


def _digest(inputs):
  """Returns a digest of what a source says of its input files."""
  # A digest and not the list: a corpus may have very many files.
  return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def _build(data, sources, inputs, makers, given, new_pieces, folder, log):
  """Writes everything into a folder; `given` is the tokenizer's model, or None to train it."""
  scratch = folder / '.scratch'  # no source is named so
  scratch.mkdir()
  readings = _read(sources, data, scratch, makers, log)
  model = given or _train_tokenizer(readings, data, log)
  path = folder / store.TOKENIZER
  path.parent.mkdir()
  tokenizer = tokenizers.make(model, str(data.tokenizer), data.tokenizer_threads)
  extended = {'extends': tokenizer.sha256, 'new_pieces': new_pieces} if new_pieces else {}
  if new_pieces:
    tokenizer = extension.make(tokenizer, data, readings, new_pieces, path.parent, log)
  path.write_bytes(tokenizer.model)

  splits = _write_rows(readings, data, tokenizer, makers, folder, log)
  # After all rows are written: collocations are counted over all of the training rows.
  names = [reading.source.name for reading in readings]
  counts = _columns(names, data, tokenizer, makers, folder, scratch, log)
  shutil.rmtree(scratch)  # before `finish`, which lists every file of the folder
  manifest: dict[str, Any] = {
    'settings': settings(data),
    'inputs': [_digest(each) for each in inputs],
    'tokenizer': {'sha256': tokenizer.sha256, 'size': tokenizer.size, **extended},
  }
  for maker in makers.values():
    manifest |= maker.described()
  manifest['sources'] = [
    _describe(
      reading,
      {split: splits[split][i].describe(data) | counts[names[i], split] for split in store.SPLITS},
    )
    for i, reading in enumerate(readings)
  ]
  store.finish(folder, manifest)


def _write_rows(readings, data, tokenizer, makers, folder, log):
  """Writes all rows and what is counted over them; returns {split: a rows.Packed a source}."""
  counter = statistics.Counter(tokenizer, len(readings))
  splits = {
    split: [
      rows_lib.write(
        reading.annotated(split),
        data,
        tokenizer,
        folder / reading.source.name / split,
        makers,
        # Statistics are of what is trained on; held-out text must not decide anything.
        counter.source(i) if split == 'train' else None,
      )
      for i, reading in enumerate(readings)
    ]
    for split in store.SPLITS
  }
  for split in store.SPLITS:
    _log_split(split, splits[split], data, log)
  _check_rows(splits, data)
  statistics.write(folder / store.STATISTICS, counter.result())
  return splits


def _columns(names, data, tokenizer, makers, folder, scratch, log):
  """Writes the columns that the rows give; counts all columns.

  Returns:
    {(source, split): {setting: counts}}.
  """
  places = {(name, split): folder / name / split for name in names for split in store.SPLITS}
  # With the columns that the documents gave; those that the rows give do not exist yet.
  rows = {place: store.rows(path, makers) for place, path in places.items()}
  counts = {place: {} for place in places}
  for column in annotations.asked(data):
    if column.of_rows:
      training = [rows[name, 'train'] for name in names]
      of_rows = column.of_rows(data, tokenizer, training, folder, scratch)
      for place, path in places.items():
        counts[place][column.setting] = rows_lib.mark(rows[place], column, of_rows.values, path)
      log(of_rows.said(_summed([counts[place][column.setting] for place in places])))
    elif column in makers:
      for place in places:
        if counted := rows_lib.count(rows[place], column, makers[column]):
          counts[place][column.setting] = counted
  return counts


def _summed(counts):
  """Returns the sums of dicts of counts that have the same names."""
  return {name: sum(each[name] for each in counts) for name in counts[0]}


def _read(sources, data, scratch, makers, log):
  """Returns the sources' Readings, near duplicates dropped."""
  # One for all sources: of a document that two of them have, the first one's is kept.
  seen = duplicates.Seen() if data.drop_duplicates else None
  readings = []
  for source in sources:
    readings.append(reading_lib.read(source, data, scratch, seen, makers))
    reading_lib.log_reading(readings[-1], log)
  if data.near_duplicates:
    _drop_near_duplicates(readings, data, log)
  reading_lib.check(readings, data)
  return readings


def _drop_near_duplicates(readings, data, log):
  """Drops the training documents that resemble a held-out one or each other, over all sources."""
  signatures_NH = np.empty(
    (sum(reading.kept for reading in readings), near_duplicates.HASHES), np.uint32
  )
  digest_N = np.empty(len(signatures_NH), np.uint64)
  validation_N = np.zeros(len(signatures_NH), bool)
  # All documents of all sources are numbered one after another, in the order of the scratch files.
  at, parts = 0, []
  for reading, split in itertools.product(readings, store.SPLITS):
    begin = at
    # In batches, whose shingles are in memory together.
    for texts in rows_lib.batched(reading.texts(split)):
      signatures_NH[at : at + len(texts)] = near_duplicates.signatures(texts)
      digest_N[at : at + len(texts)] = [duplicates.digest(text)[0] for text in texts]
      at += len(texts)
    validation_N[begin:at] = split == 'validation'
    parts.append((reading, split, slice(begin, at)))
  dropped_N = near_duplicates.dropped(signatures_NH, digest_N, validation_N, data.near_duplicates)
  for reading, split, part in parts:
    if split == 'train':
      reading.drop(dropped_N[part], 'near_duplicates')
      log(
        f'{reading.source.name}: dropped {dropped_N[part].sum():,} of {part.stop - part.start:,} '
        'training '
        'documents by near_duplicates'
      )


def _train_tokenizer(readings, data, log):
  """Returns the model trained on a sample of the training documents."""
  texts = reading_lib.sample(readings, data.tokenizer_characters)
  model = tokenizers.train(texts, data)
  log(f'tokenizer: {data.tokenizer} trained on {sum(map(len, texts)):,} characters')
  return model


def _describe(reading, splits):
  """Returns what a manifest says of one source."""
  return {
    'name': reading.source.name,
    'source': reading.source.spec,
    'documents_read': reading.read,
    'rules': {
      rule: {'documents': documents, 'characters': characters}
      for rule, (documents, characters) in reading.counts.touched.items()
    },
    'skipped': dataclasses.asdict(reading.skipped),
    **{
      split: {
        'documents': reading.documents[split],
        'characters': reading.characters[split],
        **splits[split],
      }
      for split in store.SPLITS
    },
  }


# What is said, and what is refused


def _log_split(split, packed, data, log):
  # Every field is a count, so the sum over sources is a Packed too.
  total = rows_lib.Packed(
    *(sum(getattr(each, f.name) for each in packed) for f in dataclasses.fields(rows_lib.Packed))
  )
  what = total.describe(data)
  log(
    f'{split}: {total.rows:,} rows of {data.row_length}, {total.tokens:,} tokens, filled '
    f'{what["fill"]:.2%} of {what["fill_ceiling"]:.2%} possible'
  )
  if data.pairs:
    log(
      f'{split}: {total.right_pairs:,} right and {total.wrong_pairs:,} wrong pairs; '
      f'{total.in_no_pair:,} pieces '
      'of the documents are in none'
    )


def _check_rows(splits, data):
  if data.pairs and not all(
    sum(getattr(each, name) for each in splits['train']) for name in ('right_pairs', 'wrong_pairs')
  ):
    raise config.UserError(
      f'config.data.pairs = {data.pairs!r}: the training text does not give both right and wrong '
      'pairs; it must have several documents of several sentences each, see config.data.document'
    )
  # Packing gives a row for any text, but one that is mostly padding is surely a mistake.
  tokens = sum(each.tokens for each in splits['train'])
  if tokens < data.row_length:
    raise config.UserError(
      f'the corpus is too small for a row: {tokens:,} training tokens, config.data.'
      f'row_length = {data.row_length}; give more text or shorten the rows'
    )
