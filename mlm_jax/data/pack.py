"""Packing documents into rows: pure planning on lengths.

A segment is `[CLS] pieces [SEP]`. A document too long for a row continues in further
segments; every piece of every document is in exactly one segment.
"""

import array
import dataclasses

import numpy as np

OVERHEAD = 2  # tokens of a segment that are not pieces: [CLS] and [SEP]


@dataclasses.dataclass(frozen=True)
class Plan:
  """Which pieces go where. Segments are listed row by row, in their order inside it.

  Attributes:
    document_N: int32, the document that each segment is a part of.
    offset_N: int64, the segment's first piece, counted from its document's first.
    pieces_N: int32, how many pieces it has.
    row_N: int32, the row it is in, ascending.
    rows: the number of rows.
  """

  document_N: np.ndarray
  offset_N: np.ndarray
  pieces_N: np.ndarray
  row_N: np.ndarray
  rows: int


def ceiling(tokens: int, segments: int, length: int, max_segments: int) -> float:
  """Returns the largest share of the rows that any packing of these segments fills.

  There are at least tokens / length rows, and at least segments / max_segments.
  """
  rows = max(-(-tokens // length), -(-segments // max_segments))
  return tokens / (rows * length) if rows else 0.0


def cut(lengths: np.typing.ArrayLike, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Cuts documents into segments that fit a row.

  Args:
    lengths: int array, pieces of each document.
    length: L, tokens of a row.

  Returns:
    (document_N int32, offset_N int64, pieces_N int32), document by document.
  """
  lengths = np.asarray(lengths, np.int64)
  room = length - OVERHEAD
  parts = -(-lengths // room)
  document_N = np.repeat(np.arange(len(lengths), dtype=np.int32), parts)
  # Counted from 0 inside each document.
  part_N = np.arange(len(document_N)) - np.repeat(np.cumsum(parts) - parts, parts)
  offset_N = part_N * room
  pieces_N = np.minimum(room, lengths[document_N] - offset_N).astype(np.int32)
  return document_N, offset_N, pieces_N


def best_fit(lengths: np.typing.ArrayLike, length: int, max_segments: int) -> Plan:
  """Returns the Plan of best-fit decreasing: longest first, each where it fits tightest.

  Works on the histogram of lengths: rows that hold the same lengths are counted, not
  listed, so that only the numbering at the end depends on the number of documents.
  Rows come in the order of the first document in each.

  Args:
    lengths: int array, pieces of each document.
    length: L, tokens of a row.
    max_segments: S, segments of a row at most.

  Source: Krell et al., arXiv:2107.02027, shortest-pack-first and best-fit variants.
  """
  document_N, offset_N, pieces_N = cut(lengths, length)
  histogram = np.bincount(pieces_N + OVERHEAD, minlength=length + 1)
  kinds = _best_fit_kinds(histogram, length, max_segments)

  counts = np.array([count for _, count in kinds], np.int64)
  sizes = np.array([len(kind) for kind, _ in kinds], np.int64)
  rows = int(counts.sum())
  size_R = np.repeat(sizes, counts)
  row_N = np.repeat(np.arange(rows, dtype=np.int64), size_R)
  need_N = np.concatenate(
    [np.tile(np.array(kind, np.int32), count) for kind, count in kinds] or [np.zeros(0, np.int32)]
  )
  # Both sides sorted by length, stably: the first place of a length takes the first
  # segment of that length.
  segment_N = np.empty(len(need_N), np.int64)
  segment_N[np.argsort(need_N, kind='stable')] = np.argsort(pieces_N + OVERHEAD, kind='stable')

  # Rows are numbered by the first segment in each.
  first_R = np.full(rows, len(need_N), np.int64)
  np.minimum.at(first_R, row_N, segment_N)
  rank_R = np.empty(rows, np.int64)
  rank_R[np.argsort(first_R)] = np.arange(rows)
  row_N = rank_R[row_N]
  order = np.lexsort((segment_N, row_N))
  segment_N, row_N = segment_N[order], row_N[order].astype(np.int32)
  return Plan(document_N[segment_N], offset_N[segment_N], pieces_N[segment_N], row_N, rows)


def _best_fit_kinds(histogram, length, max_segments):
  """Returns [(lengths of a row's segments, number of such rows)].

  Equal to placing one segment after another: those of one length fill one row as far
  as it goes before they turn to the next, since a fuller row fits tighter.
  """
  open_rows = {}  # {room left: [[lengths, number of rows], ...]}
  done = []

  def put(kind, count, room):
    if len(kind) == max_segments or room <= OVERHEAD:  # no room for a piece
      done.append((kind, count))
    else:
      open_rows.setdefault(room, []).append([kind, count])

  for size in np.flatnonzero(histogram)[::-1].tolist():
    left = int(histogram[size])
    while left:
      # The tightest fit, or a new row; all rows of one kind at once.
      room = min((room for room in open_rows if room >= size), default=None)
      kind, count = open_rows[room][-1] if room else ((), left)
      fits = min((room or length) // size, max_segments - len(kind))
      if left >= fits:
        full = min(count, left // fits)
      else:  # the last segments of this length, which do not fill a row: one row takes them
        full, fits = 1, left
      if room:
        open_rows[room][-1][1] -= full
        if not open_rows[room][-1][1]:
          open_rows[room].pop()
          if not open_rows[room]:
            del open_rows[room]
      put(kind + (size,) * fits, full, (room or length) - size * fits)
      left -= full * fits
  done += [(kind, count) for groups in open_rows.values() for kind, count in groups]
  return done


def contiguous(lengths: np.typing.ArrayLike, length: int, max_segments: int) -> Plan:
  """Returns the Plan that keeps the order: rows are filled one after another.

  A document is cut where its row is full (RoBERTa's full sentences), and a row ends
  early only where it has max_segments or no piece would fit after [CLS].
  Arguments as for `best_fit`.
  """
  # Arrays of C integers: lists of Python's would take several times the memory.
  document, offset, pieces, row_of = (array.array('q') for _ in range(4))
  row, used, segments = 0, 0, 0
  for number, left in enumerate(np.asarray(lengths).tolist()):
    at = 0
    while left:
      if length - used <= OVERHEAD or segments == max_segments:
        row, used, segments = row + 1, 0, 0
      n = min(left, length - used - OVERHEAD)
      document.append(number)
      offset.append(at)
      pieces.append(n)
      row_of.append(row)
      at, left = at + n, left - n
      used, segments = used + n + OVERHEAD, segments + 1
  asarray = lambda values, dtype: np.array(values, dtype)
  return Plan(
    asarray(document, np.int32),
    asarray(offset, np.int64),
    asarray(pieces, np.int32),
    asarray(row_of, np.int32),
    row + bool(segments),
  )


class Part:
  """Some rows of a plan, to be filled with one thing after another.

  Args:
    plan: Plan.
    begin, end: rows; those after the last one are not there.
    document_starts: int64, where each document begins in the pieces of all.
    length: L, tokens of a row.
  """

  def __init__(self, plan: Plan, begin: int, end: int, document_starts: np.ndarray, length: int):
    self._rows, self._length = min(end, plan.rows) - begin, length
    # Segments are listed by row, so those of the rows asked for are neighbours.
    first, last = np.searchsorted(plan.row_N, [begin, begin + self._rows])
    self._document_N = plan.document_N[first:last]
    self._row_N = plan.row_N[first:last].astype(np.int64) - begin
    self._pieces_N = plan.pieces_N[first:last].astype(np.int64)
    self._source_N = document_starts[self._document_N] + plan.offset_N[first:last]
    self._rank_N, self._start_N = _places(self._row_N, self._pieces_N + OVERHEAD)

  def tokens(
    self, pieces_T: np.ndarray, ids: tuple[int, int, int], dtype: np.typing.DTypeLike
  ) -> np.ndarray:
    """Returns [rows, L].

    Args:
      pieces_T: what there is of the pieces of all documents, one after another.
      ids: what there is in place of [CLS], [SEP] and padding.
      dtype: of the result.
    """
    cls_id, sep_id, pad_id = ids
    tokens_RL = np.full((self._rows, self._length), pad_id, dtype)
    flat = tokens_RL.reshape(-1)  # a view: what is written to it is in the rows
    pieces_N = self._pieces_N
    at_N = self._row_N * self._length + self._start_N
    flat[at_N] = cls_id
    flat[at_N + pieces_N + 1] = sep_id
    # Of each piece its place inside its segment, then where it comes from.
    within_T = np.arange(pieces_N.sum()) - np.repeat(np.cumsum(pieces_N) - pieces_N, pieces_N)
    from_T = np.repeat(self._source_N, pieces_N) + within_T
    flat[np.repeat(at_N + 1, pieces_N) + within_T] = pieces_T[from_T]
    return tokens_RL

  def starts(self, max_segments: int, dtype: np.typing.DTypeLike) -> np.ndarray:
    """Returns [rows, S]: where each segment starts, -1 where unused."""
    return self._of_segments(self._start_N, max_segments, -1, dtype)

  def of_documents(self, values_D: np.ndarray, max_segments: int, fill: int) -> np.ndarray:
    """Returns [rows, S]: for each segment the value of its document, `fill` where unused."""
    return self._of_segments(values_D[self._document_N], max_segments, fill, values_D.dtype)

  def _of_segments(self, values_N, max_segments, fill, dtype):
    values_RS = np.full((self._rows, max_segments), fill, dtype)
    values_RS[self._row_N, self._rank_N] = values_N
    return values_RS


def _places(row_N, size_N):
  """Returns each segment's (rank in its row, first token in its row)."""
  begins = np.flatnonzero(np.diff(row_N, prepend=-1))
  sizes = np.diff(np.append(begins, len(row_N)))
  rank_N = np.arange(len(row_N)) - np.repeat(begins, sizes)
  before_N = np.cumsum(size_N) - size_N
  return rank_N, before_N - np.repeat(before_N[begins], sizes)
