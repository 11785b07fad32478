"""From documents to rows on disk, one window of documents after another, and what is marked in
them.
"""

import dataclasses

import numpy as np

from mlm_jax.data import pack
from mlm_jax.data import store
from mlm_jax.data import writing
from mlm_jax.data.annotations import sentence_pairs as pairs_lib

_WINDOW_PIECES = 1 << 25  # pieces, and documents, that are packed together at most
_WINDOW_DOCUMENTS = 1 << 20
_BATCH_CHARACTERS = 1 << 20  # encoded in one call
_BLOCK_ROWS = 1 << 13  # written in one piece


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

  def describe(self, data):
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


def write(documents, data, tokenizer, folder, counter=None, class_of=None):
  """Writes the rows of some documents.

  Args:
    documents: (text, uint8 [characters] or None) of each.
    data: `config.data`.
    tokenizer: Tokenizer.
    folder: pathlib.Path, of one source's split.
    counter: counts the documents and rows; see `statistics.Counter.source`.
    class_of: uint8 [256], the class that each number of a character stands for; None where there
      are no classes.

  Returns:
    Packed.
  """
  packed = Packed()
  dtypes = store.dtypes(tokenizer.size, data.row_length)
  planner = pack.best_fit if data.packing == 'best_fit' else pack.contiguous
  special = tokenizer.cls_id, tokenizer.sep_id, tokenizer.pad_id
  out = [
    writing.ArrayWriter(folder / store.ROWS, data.row_length, dtypes[0]),
    writing.ArrayWriter(folder / store.STARTS, data.max_segments, dtypes[1]),
  ]
  if class_of is not None:
    out.append(writing.ArrayWriter(folder / store.CLASSES, data.row_length, np.uint8))
  if data.pairs:
    out.append(writing.ArrayWriter(folder / store.PAIRS, data.max_segments, np.uint8))
  for lengths, pieces_T, classes_T in _windows(_encoded(documents, tokenizer, dtypes[0], class_of)):
    if counter is not None:
      counter.add_documents(lengths)
    if data.pairs:
      lengths, pieces_T, classes_T, label_N = _paired(
        lengths, pieces_T, classes_T, data, tokenizer, packed
      )
    plan = planner(lengths, data.row_length, data.max_segments)
    begins = np.cumsum(lengths) - lengths

    def filled(values_T, ids, dtypes):
      return pack.fill(
        plan,
        begin,
        min(begin + _BLOCK_ROWS, plan.rows),
        values_T,
        begins,
        data.row_length,
        data.max_segments,
        ids,
        dtypes,
      )

    for begin in range(0, plan.rows, _BLOCK_ROWS):
      blocks = filled(pieces_T, special, dtypes)
      if counter is not None:
        counter.add_rows(blocks[0])
      if class_of is not None:
        blocks += filled(classes_T, (0, 0, 0), (np.uint8, dtypes[1]))[:1]
      if data.pairs:
        blocks += (_labels(plan, begin, blocks[1], label_N),)
      for writer, block in zip(out, blocks, strict=True):
        writer.write(block)
    packed.rows += plan.rows
    packed.segments += len(plan.row_N)
    packed.pieces += len(pieces_T)
  packed.tokens = packed.pieces + pack.OVERHEAD * packed.segments
  if data.pairs:  # each segment is one, and the [SEP] inside it no piece
    packed.pieces -= pairs_lib.OVERHEAD * packed.segments
  for writer in out:
    writer.close()
  return packed


def _paired(lengths, pieces_T, classes_T, data, tokenizer, packed):
  """Returns (lengths, pieces, classes, labels) of the pairs made of some documents; adds to the
  counts.
  """
  pairs = pairs_lib.make(lengths, pieces_T, tokenizer, data.row_length - pack.OVERHEAD, data.pairs)
  packed.right_pairs += int((pairs.label_N == pairs_lib.RIGHT).sum())
  packed.wrong_pairs += int((pairs.label_N == pairs_lib.WRONG).sum())
  packed.in_no_pair += pairs.left_out(len(pieces_T))
  return (
    pairs.lengths,
    pairs.written(pieces_T, tokenizer.sep_id),
    pairs.written(classes_T, 0) if len(classes_T) else classes_T,
    pairs.label_N,
  )


def _labels(plan, begin, starts_RS, label_N):
  """Returns uint8_RS: the labels of the segments of the plan's rows from `begin` on."""
  first, last = np.searchsorted(plan.row_N, [begin, begin + len(starts_RS)])
  labels_RS = np.zeros(starts_RS.shape, np.uint8)
  labels_RS[starts_RS >= 0] = label_N[plan.document_N[first:last]]
  return labels_RS


def write_joins(rows, collocations, folder):
  """Marks the collocations in rows; returns what `Collocations.match` counts, and `tokens`, those
  in them.
  """
  length = rows.tokens_RL.shape[1]
  writer = writing.ArrayWriter(folder / store.JOINS, -(-length // 8), np.uint8)
  counts = dict.fromkeys(('collocations', 'words', 'of_words', 'tokens'), 0)
  for begin in range(0, len(rows), _BLOCK_ROWS):
    joins_RL, found = collocations.match(
      rows.tokens_RL[begin : begin + _BLOCK_ROWS], rows.starts_RS[begin : begin + _BLOCK_ROWS]
    )
    writer.write(np.packbits(joins_RL, axis=1))
    for key, value in found.items():
      counts[key] += value
    counts['tokens'] += int(joins_RL.sum()) + found['collocations']
  writer.close()
  return counts


def count_classes(rows, names):
  """Returns {name: tokens} of each class in some rows."""
  counts = np.zeros(256, np.int64)
  for begin in range(0, len(rows), _BLOCK_ROWS):
    counts += np.bincount(rows.classes_RL[begin : begin + _BLOCK_ROWS].reshape(-1), minlength=256)
  return dict(zip(names, counts[1:].tolist()))


def _encoded(documents, tokenizer, dtype, class_of):
  """Yields (lengths, pieces one after another, their classes) of batches of documents."""
  for documents in _grouped(documents, lambda document: len(document[0]), _BATCH_CHARACTERS):
    texts, characters = zip(*documents)
    if class_of is None:
      ids = tokenizer.encode_batch(texts)
      classes = [np.zeros(0, np.uint8)]
    else:
      ids, places = zip(*map(tokenizer.encode_with_places, texts))
      # A piece of spaces that ends its document stands at its end, where no class is.
      classes = [class_of[np.append(each, 0)[place]] for each, place in zip(characters, places)]
    lengths = np.array([len(each) for each in ids], np.int64)
    yield lengths, np.concatenate(ids).astype(dtype), np.concatenate(classes)


def batched(texts):
  """Yields lists of texts, each as much as is encoded in one call."""
  return _grouped(texts, len, _BATCH_CHARACTERS)


def _windows(batches):
  """Yields (lengths, pieces, classes) of as many documents as are packed together."""
  weight = lambda batch: max(len(batch[1]), len(batch[0]) * (_WINDOW_PIECES // _WINDOW_DOCUMENTS))
  for window in _grouped(batches, weight, _WINDOW_PIECES):
    yield tuple(map(np.concatenate, zip(*window)))


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
