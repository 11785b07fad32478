"""From sources to cleaned documents in scratch files, and what was left out on the way."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import heapq
import pathlib
from typing import Any

import numpy as np

from mlm_jax import config
from mlm_jax.data.corpus import clean
from mlm_jax.data.corpus import duplicates
from mlm_jax.data.corpus import sources as sources_lib
from mlm_jax.data.corpus.duplicates import SPLITS

_NAMED = 5  # skipped files that a message names


@dataclasses.dataclass
class Reading:
  """One source as it was read.

  Attributes:
    source: one of `sources.parse`.
    folder: that of the scratch files, one a split.
    counts: what the rules did.
    skipped: what the source left out.
    read: documents, before any rule.
    documents, characters: what was kept, by split.
    columns: those of the rows whose values follow each document in the scratch files.
    dropped_N: bool, which training documents of the scratch file were dropped after all.
  """

  source: Any
  folder: pathlib.Path
  counts: clean.Counts = dataclasses.field(default_factory=clean.Counts)
  skipped: sources_lib.Skipped = dataclasses.field(default_factory=sources_lib.Skipped)
  read: int = 0
  documents: dict = dataclasses.field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
  characters: dict = dataclasses.field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
  columns: tuple = ()
  dropped_N: np.ndarray | None = None

  @property
  def kept(self) -> int:
    return sum(self.documents.values())

  def path(self, split: str) -> pathlib.Path:
    return self.folder / f'{self.source.name}.{split}'

  def texts(self, split: str) -> Iterator[str]:
    """Yields the documents that were kept."""
    for text, _ in self.annotated(split):
      yield text

  def annotated(self, split: str) -> Iterator[tuple[str, dict[Any, np.ndarray]]]:
    """Yields (text, {column: its values}) of the documents that were kept."""
    # Of each document: the number of its bytes (8 bytes), its text, its values of each column.
    with open(self.path(split), 'rb') as file:
      number = 0
      while size := file.read(8):
        text = file.read(int.from_bytes(size, 'little')).decode()
        values = {}
        for column in self.columns:
          # A value for each character of the text, or one for the whole document.
          size = (len(text) if column.is_of_tokens else 1) * np.dtype(column.dtype).itemsize
          values[column] = np.frombuffer(file.read(size), column.dtype)
        # Only training documents are dropped afterwards: those held out decide what resembles them.
        if split != 'train' or self.dropped_N is None or not self.dropped_N[number]:
          yield text, values
        number += 1

  def drop(self, dropped_N: np.ndarray, rule: str) -> None:
    """Drops training documents by a rule that knows all of them."""
    # Nothing is dropped yet, so `texts` gives every document; the scratch file stays as it is.
    for text, is_dropped in zip(self.texts('train'), dropped_N, strict=True):
      if is_dropped:
        self.documents['train'] -= 1
        self.characters['train'] -= len(text)
        self.counts.add(rule, len(text))
    self.dropped_N = dropped_N


def read(
  source: Any,
  data: Any,
  folder: pathlib.Path,
  seen: duplicates.Seen | None,
  makers: Mapping[Any, Any] | None = None,
) -> Reading:
  """Returns the Reading of a source; its cleaned documents go to files in the folder.

  Args:
    source: one of `sources.parse`.
    data: `config.data`.
    folder: pathlib.Path.
    seen: duplicates.Seen, or None to keep duplicates.
    makers: {column of the rows: what gives its values, a column.OfDocuments}.
  """
  makers = makers or {}
  reading = Reading(source, folder, columns=tuple(makers))
  out = {split: open(reading.path(split), 'wb') for split in SPLITS}
  try:
    for text, words in _documents(source, data, reading, makers):
      if not text or text.isspace():  # what a splitting rule leaves between two marks, no document
        continue
      reading.read += 1
      text = clean.document(text, data, reading.counts)
      if text is None:
        continue
      # Of the cleaned text: documents that differ in white space alone are duplicates.
      first, _ = duplicates.digest(text)
      if seen is not None and not seen.add(first):
        reading.counts.add('duplicates', len(text))
        continue
      split = 'validation' if duplicates.validation(first, data.validation_fraction) else 'train'
      reading.documents[split] += 1
      reading.characters[split] += len(text)
      # With its length before it: a document may have any character, so none can separate two.
      encoded = text.encode()
      out[split].write(len(encoded).to_bytes(8, 'little') + encoded)
      for column, maker in makers.items():
        out[split].write(np.asarray(maker.values(text, words), column.dtype).data)
  finally:
    for file in out.values():
      file.close()
  return reading


def _documents(source, data, reading, makers):
  """Yields (text, its words as they are annotated there, or None) of each document."""
  # `annotations.makers` has checked that every source has words where a column takes them.
  if any(maker.is_from_source for maker in makers.values()):
    return source.annotated(data, reading.counts, reading.skipped)
  return ((text, None) for text in source.documents(data, reading.counts, reading.skipped))


class Sample:
  """The documents of smallest hash, up to a number of characters, the last one cut.

  So it depends on the documents, not on their order.
  """

  def __init__(self, characters: int):
    self._limit = characters
    self._heap = []  # of (-hash, text): the largest hash is on top
    self._size = 0

  def add(self, digest: int, text: str) -> None:
    # Most documents of a large corpus end here: the sample is full, and of smaller hashes.
    if self._size >= self._limit and -digest < self._heap[0][0]:
      return
    heapq.heappush(self._heap, (-digest, text))
    self._size += len(text)
    # The largest hash leaves as soon as the others have enough characters without it.
    while self._size - len(self._heap[0][1]) >= self._limit:
      self._size -= len(heapq.heappop(self._heap)[1])

  def texts(self) -> list[str]:
    """Returns the sample in the order of the hashes."""
    texts = [text for _, text in sorted(self._heap, reverse=True)]
    # The document of the largest hash is cut, so that the sample has exactly the characters wanted.
    over = self._size - self._limit
    return texts[:-1] + [texts[-1][:-over]] if over > 0 else texts


def sample(readings: Iterable[Reading], characters: int) -> list[str]:
  """Returns texts of the training documents that were kept, to train a tokenizer on."""
  drawn = Sample(characters)
  for reading in readings:
    for text in reading.texts('train'):
      # The second hash, since the first one has decided which documents are here.
      drawn.add(duplicates.digest(text)[1], text)
  return drawn.texts()


# What is said, and what is refused


def log_reading(reading: Reading, log: Callable[[str], Any]) -> None:
  """Says what was kept of a source, and what was not."""
  skipped = reading.skipped
  dropped = [
    f'{documents:,} by {rule}'
    for rule, (documents, _) in reading.counts.touched.items()
    if documents and rule in clean.DROPPING
  ]
  log(
    f'{reading.source.name}: {reading.kept:,} documents, {sum(reading.characters.values()):,} '
    'characters' + (f'; dropped {", ".join(dropped)}' if dropped else '')
  )
  bad = reading.counts.touched['decoding'][1]
  if bad:
    log(f'{reading.source.name}: replaced {bad:,} bytes that are not UTF-8')
  for what in _named(skipped):
    log(f'{reading.source.name}: skipped {what}')
  if skipped.records:
    log(
      f'{reading.source.name}: skipped {skipped.records:,} records without a text, '
      f'the first of them {skipped.first_record}'
    )
  if skipped.packages:
    log(f'{reading.source.name}: not installed here: {", ".join(skipped.packages)}')


def _named(skipped):
  """Returns what was skipped as texts, one a kind, each with its number and the first names."""
  kinds = {
    'files that are mostly not text': skipped.files,
    'archives that are not read (unpack them)': skipped.archives,
    'links and other names of no file': skipped.links,
  }
  more = lambda names: f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''
  return [
    f'{len(names)} {kind}: {", ".join(names[:_NAMED])}{more(names)}'
    for kind, names in kinds.items()
    if names
  ]


def check(readings: Sequence[Reading], data: Any) -> None:
  """Raises UserError where nothing is left to train or to evaluate on."""
  documents = {split: sum(reading.documents[split] for reading in readings) for split in SPLITS}
  kept = sum(documents.values())
  if not kept:
    raise config.UserError(_empty(readings, data))
  if not documents['validation']:
    raise config.UserError(
      f'no held-out document: config.data.validation_fraction = {data.validation_fraction} of '
      f'{kept:,} '
      'documents; raise it, give more text, or cut it finer with data.document'
    )
  # Where near duplicates took all of them, another fraction may not help.
  near = sum(reading.counts.touched['near_duplicates'][0] for reading in readings)
  if not documents['train'] and near:
    raise config.UserError(
      f'no training document: config.data.near_duplicates = {data.near_duplicates} '
      f'took all {near:,}, since they resemble held-out ones; raise it, or 0 for off'
    )
  if not documents['train']:
    raise config.UserError(
      f'no training document: config.data.validation_fraction = {data.validation_fraction} takes '
      'all '
      f'{kept:,}; lower it, give more text, or cut it finer with data.document'
    )


def _empty(readings, data):
  # Documents that rules dropped, or else files and records that gave none.
  read = sum(reading.read for reading in readings)
  if read:
    took = {
      rule: sum(reading.counts.touched[rule][0] for reading in readings)
      for rule in clean.DROPPING
      if rule in data
    }
    return f'every one of {read:,} documents was filtered out: ' + ', '.join(
      f'config.data.{rule} = {data[rule]} took {n:,}' for rule, n in took.items() if n
    )
  skipped = [what for reading in readings for what in _named(reading.skipped)]
  return (
    f'the corpus is empty: {data.source} gives no document'
    + ''.join(f'; skipped {what}' for what in skipped)
    + ''.join(
      f'; skipped {reading.skipped.records:,} records without a text in '
      f'{getattr(reading.source, "field", "") or data.field!r}'
      for reading in readings
      if reading.skipped.records
    )
  )
