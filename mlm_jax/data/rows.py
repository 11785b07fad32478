"""From documents to rows on disk, one window of documents after another."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import pathlib
from typing import Any

import numpy as np

from mlm_jax.data import annotations
from mlm_jax.data import pack
from mlm_jax.data import statistics
from mlm_jax.data import store
from mlm_jax.data import tokenizers
from mlm_jax.data.annotations import column as column_lib
from mlm_jax.data.annotations import sentence_pairs as pairs_lib

_WINDOW_PIECES = 1 << 25  # pieces, and documents, that are packed together at most
_WINDOW_DOCUMENTS = 1 << 20
_BATCH_CHARACTERS = 1 << 20  # encoded in one call
_BLOCK_ROWS = 1 << 13  # written in one piece

Makers = Mapping[column_lib.Column, column_lib.OfDocuments]
Document = tuple[str, Mapping[column_lib.Column, np.ndarray]]  # text, values of each column


@dataclasses.dataclass
class Packed:
  """Counts of one source's rows in one split."""

  rows: int = 0
  segments: int = 0
  tokens: int = 0  # special ones included, padding not
  pieces: int = 0
  right_pairs: int = 0
  wrong_pairs: int = 0
  in_no_pair: int = 0  # pieces of the documents

  def describe(self, data: Any) -> dict:
    """Returns what a manifest says of them."""
    length, most = data.row_length, data.max_segments
    pairs = {
      'pairs': {'right': self.right_pairs, 'wrong': self.wrong_pairs, 'left_out': self.in_no_pair}
    }
    return {
      'rows': self.rows,
      'segments': self.segments,
      'tokens': self.tokens,
      'pieces': self.pieces,
      'fill': self.tokens / (self.rows * length) if self.rows else 0.0,
      'fill_ceiling': pack.ceiling(self.tokens, self.segments, length, most),
      **(pairs if data.pairs else {}),
    }


@dataclasses.dataclass(frozen=True)
class _Window:
  """Some documents as pieces, to be packed together.

  Attributes:
    lengths: int64, the pieces of each document.
    pieces_T: ids, one document after another.
    columns: of each column a value for each piece, or for each document.
  """

  lengths: np.ndarray
  pieces_T: np.ndarray
  columns: dict[column_lib.Column, np.ndarray]


def write(
  documents: Iterable[Document],
  data: Any,
  tokenizer: tokenizers.Tokenizer,
  folder: pathlib.Path,
  makers: Makers | None = None,
  counter: statistics.SourceCounter | None = None,
) -> Packed:
  """Writes the rows of some documents, and the columns that are known with them.

  Args:
    documents: (text, {column: its values, as `reading` has them}) of each.
    data: `config.data`.
    tokenizer: Tokenizer.
    folder: of one source's split.
    makers: what has given the values of each column.
    counter: counts the documents and rows.
  """
  makers = makers or {}
  packed = Packed()
  dtypes = store.dtypes(tokenizer.size, data.row_length)
  special = tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id
  tokens = store.ArrayWriter(folder / store.ROWS, data.row_length, dtypes[0])
  starts = store.ArrayWriter(folder / store.STARTS, data.max_segments, dtypes[1])
  columns = {
    each: store.column_writer(folder, each, data.row_length, data.max_segments)
    for each in annotations.asked(data)
    if each.of_rows is None
  }
  for window in _windows(_encoded(documents, tokenizer, dtypes[0], makers)):
    if counter is not None:
      counter.add_documents(window.lengths)
    # After the documents are counted: from here on the pairs take their place.
    if data.pairs:
      window = _paired(window, data, tokenizer, packed)
    plan = _plan(window.lengths, data)
    begins = np.cumsum(window.lengths) - window.lengths
    # In blocks, since indices take several times the memory of the rows.
    for begin in range(0, plan.rows, _BLOCK_ROWS):
      part = pack.Part(plan, begin, begin + _BLOCK_ROWS, begins, data.row_length)
      tokens_RL = part.tokens(window.pieces_T, special, dtypes[0])
      if counter is not None:
        counter.add_rows(tokens_RL)
      tokens.write(tokens_RL)
      starts.write(part.starts(data.max_segments, dtypes[1]))
      for column, writer in columns.items():
        writer.write(column.packed(_values(column, part, window.columns[column], data)))
    packed.rows += plan.rows
    packed.segments += len(plan.row_N)
    packed.pieces += len(window.pieces_T)
  packed.tokens = packed.pieces + pack.OVERHEAD * packed.segments
  if data.pairs:  # each segment is one, and the [SEP] inside it is not a piece
    packed.pieces -= pairs_lib.OVERHEAD * packed.segments
  for writer in (tokens, starts, *columns.values()):
    writer.close()
  return packed


def _values(column, part, values, data):
  """Returns a column's values in the rows of a pack.Part."""
  if column.is_of_tokens:
    return part.tokens(values, (column.fill,) * 3, column.dtype)
  return part.of_documents(values, data.max_segments, column.fill)


def _plan(lengths, data):
  planner = pack.best_fit if data.packing == 'best_fit' else pack.contiguous
  return planner(lengths, data.row_length, data.max_segments)


def _paired(window, data, tokenizer, packed):
  """Returns the window of the pairs made of a window's documents; adds to the counts."""
  pairs = pairs_lib.make(
    window.lengths, window.pieces_T, tokenizer, data.row_length - pack.OVERHEAD, data.pairs
  )
  packed.right_pairs += int((pairs.label_N == pairs_lib.RIGHT).sum())
  packed.wrong_pairs += int((pairs.label_N == pairs_lib.WRONG).sum())
  packed.in_no_pair += pairs.left_out(len(window.pieces_T))
  columns = {}
  for column in annotations.asked(data):
    if column.setting == 'pairs':
      columns[column] = pairs.label_N
    elif column.is_of_tokens and column in window.columns:
      columns[column] = pairs.written(window.columns[column], column.fill)
    elif column in window.columns:  # a pair has what the document of its first part has
      columns[column] = window.columns[column][pairs.documents(window.lengths)]
  return _Window(pairs.lengths, pairs.written(window.pieces_T, tokenizer.sep_id), columns)


def mark(
  rows: store.Rows,
  column: column_lib.Column,
  values_of: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, dict]],
  folder: pathlib.Path,
) -> dict[str, int]:
  """Writes a column whose values the rows give.

  Args:
    rows: store.Rows.
    column: its declaration.
    values_of: see `column.OfRows.values`.
    folder: of one source's split.

  Returns:
    The sums of what was counted.
  """
  writer = store.column_writer(folder, column, rows.tokens_RL.shape[1], rows.starts_RS.shape[1])
  counts = {}
  for block in _blocks(rows):
    values_RX, found = values_of(rows.tokens_RL[block], rows.starts_RS[block])
    writer.write(column.packed(values_RX))
    counts = _added(counts, found)
  writer.close()
  return counts


def count(rows: store.Rows, column: column_lib.Column, maker: column_lib.OfDocuments) -> dict:
  """Returns what the manifest counts of a column in some rows."""
  counts = {}
  for block in _blocks(rows):
    counts = _added(counts, maker.counted(rows.columns[column.name][block]))
  return counts


def _blocks(rows):
  """Yields the slices of rows that are looked at together; an empty one where there are none."""
  for begin in range(0, max(1, len(rows)), _BLOCK_ROWS):
    yield slice(begin, begin + _BLOCK_ROWS)


def _added(a, b):
  return {name: a.get(name, 0) + number for name, number in b.items()}


def _encoded(documents, tokenizer, dtype, makers):
  """Yields the _Windows of batches of documents."""
  in_places = any(column.is_of_tokens for column in makers)
  for batch in _grouped(documents, lambda document: len(document[0]), _BATCH_CHARACTERS):
    texts, values = zip(*batch)
    # Places are asked for only where a column needs them: they are slower to find.
    if in_places:
      ids, places = zip(*map(tokenizer.encode_with_places, texts))
    else:
      ids, places = tokenizer.encode_batch(texts), ()
    columns = {}
    for column, maker in makers.items():
      of = [maker.settled(each[column]) for each in values]
      if column.is_of_tokens:
        # A piece of spaces that ends its document is at its end, where no value is.
        fill = np.array([column.fill], column.dtype)
        of = [np.append(each, fill)[place] for each, place in zip(of, places)]
      columns[column] = np.concatenate(of)
    lengths = np.array([len(each) for each in ids], np.int64)
    yield _Window(lengths, np.concatenate(ids).astype(dtype), columns)


def batched(texts: Iterable[str]) -> Iterator[list[str]]:
  """Yields lists of texts, each as much as is encoded in one call."""
  return _grouped(texts, len, _BATCH_CHARACTERS)


def _windows(batches):
  """Yields the _Windows of as many documents as are packed together."""
  # By pieces, or by documents where these are so short that planning them takes the memory.
  weight = lambda batch: max(
    len(batch.pieces_T), len(batch.lengths) * (_WINDOW_PIECES // _WINDOW_DOCUMENTS)
  )
  for group in _grouped(batches, weight, _WINDOW_PIECES):
    yield _Window(
      np.concatenate([each.lengths for each in group]),
      np.concatenate([each.pieces_T for each in group]),
      {
        column: np.concatenate([each.columns[column] for each in group])
        for column in group[0].columns
      },
    )


def _grouped(items, weight, limit):
  """Yields lists of items whose weights reach the limit together."""
  group, total = [], 0
  for item in items:
    group.append(item)
    total += weight(item)
    if total >= limit:
      yield group
      group, total = [], 0
  if group:
    yield group
