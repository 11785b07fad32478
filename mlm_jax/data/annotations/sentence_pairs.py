"""Pairs of sentences, for objectives that predict whether the second one belongs after the first.

  next   the second part follows the first in its document, or is of another document
         (arXiv:1810.04805, section 3.1)
  order  the two follow one another, or have changed places (arXiv:1909.11942, section 3.1)

A document is cut between sentences into stretches that fill a row's room, or, one in ten, less;
each stretch is divided between two of its sentences. Where another document gives the second
part, the next stretch begins with the one that it replaced. A pair is written as its two parts
with [SEP] between them, and packed like a document.

Lengths reveal next to nothing of `nsp`. Of `sop` they reveal a little: a stretch begins with the
sentence that the one before had no room for, so that the first of two parts is the longer one
in 55 of 100 pairs of novels cut into blocks.
"""

import dataclasses
from typing import Any
import zlib

import numpy as np

from mlm_jax.data import tokenizers

RIGHT, WRONG = 1, 2  # labels; 0 is not a pair
OVERHEAD = 1  # the [SEP] between the parts
_SHORT = 0.1  # of the stretches are shorter than the room


@dataclasses.dataclass(frozen=True)
class Pairs:
  """Pairs of parts of documents, by where they are in the pieces of all documents.

  Attributes:
    parts_N22: int64, (begin, end) of the first and of the second part of each pair.
    label_N: uint8, RIGHT or WRONG.
  """

  parts_N22: np.ndarray
  label_N: np.ndarray

  @property
  def lengths(self) -> np.ndarray:
    """int64 [N], pieces of each pair, the [SEP] between its parts among them."""
    return np.diff(self.parts_N22, axis=2).sum(axis=(1, 2)) + OVERHEAD

  def documents(self, lengths: np.ndarray) -> np.ndarray:
    """Returns int64 [N], the document of each pair's first part, by the documents' lengths."""
    return np.searchsorted(np.cumsum(lengths), self.parts_N22[:, 0, 0], side='right')

  def written(self, values_T: np.ndarray, between: Any) -> np.ndarray:
    """Returns the values at the pieces of the pairs, one pair after the other.

    Args:
      values_T: the values at the pieces of all documents.
      between: the value between two parts.
    """
    between = np.array([between], values_T.dtype)
    parts = [
      part
      for (begin, end), second in self.parts_N22.tolist()
      for part in (values_T[begin:end], between, values_T[slice(*second)])
    ]
    return np.concatenate([values_T[:0], *parts])

  def left_out(self, pieces: int) -> int:
    """Returns how many of so many pieces of all documents are in no pair."""
    change_T = np.zeros(pieces + 1, np.int32)
    np.add.at(change_T, self.parts_N22[:, :, 0], 1)
    np.add.at(change_T, self.parts_N22[:, :, 1], -1)
    return int((np.cumsum(change_T[:-1], dtype=np.int32) == 0).sum())


def make(
  lengths: np.ndarray,
  pieces_T: np.ndarray,
  tokenizer: tokenizers.Tokenizer,
  room: int,
  kind: str,
) -> Pairs:
  """Returns the Pairs of some documents, in their order.

  What is drawn for a document depends on its own pieces alone; which other document gives a second
  part, also on those beside it. Documents of one sentence give no pair, nor do sentences so long
  that no row has room for them and a neighbour.

  Args:
    lengths: int array, pieces of each document.
    pieces_T: the pieces, one document after another.
    tokenizer: Tokenizer.
    room: pieces of a pair at most, the [SEP] between the parts among them.
    kind: 'nsp' or 'sop'.
  """
  bounds = _bounds(lengths, pieces_T, tokenizer)
  ends = np.searchsorted(bounds, np.cumsum(lengths[lengths > 0]))
  documents = [bounds[first : last + 1] for first, last in zip(np.append(0, ends), ends)]
  parts, labels = [], []
  for number, bounds_S in enumerate(documents):
    random = np.random.default_rng(zlib.crc32(pieces_T[bounds_S[0] : bounds_S[-1]].tobytes()))
    for pair, label in _of_document(number, documents, room - OVERHEAD, kind, random):
      parts.append(pair)
      labels.append(label)
  return Pairs(np.array(parts, np.int64).reshape(-1, 2, 2), np.array(labels, np.uint8))


def _bounds(lengths, pieces_T, tokenizer):
  """Returns where sentences begin in the pieces of all documents, ascending, and the last end.

  Punctuation after the end of a sentence, such as a quotation mark, is still in it.
  """
  begins = (np.cumsum(lengths) - lengths)[lengths > 0]
  closes_T = tokenizer.closes_V[pieces_T]
  word_T = tokenizer.letters_V[pieces_T] & ~closes_T
  word_T[begins] = True  # no punctuation goes with the document before
  # A sentence begins with a word after punctuation, if any of that punctuation ended one.
  after = np.flatnonzero(word_T[1:] & ~word_T[:-1]) + 1
  closed = np.searchsorted(np.flatnonzero(closes_T & ~word_T), after)
  return np.union1d(after[np.diff(closed, prepend=0) > 0], [*begins, len(pieces_T)])


def _of_document(number, documents, room, kind, random):
  """Yields (((begin, end) of the first part, (begin, end) of the second), label) of each pair."""
  bounds_S, at = documents[number], 0
  while at + 2 < len(bounds_S):
    target = int(random.integers(2, room + 1)) if random.random() < _SHORT else room
    last = max(at + 2, int(np.searchsorted(bounds_S, bounds_S[at] + target, 'right')) - 1)
    if bounds_S[last] - bounds_S[at] > room:  # even two sentences are too long: without the first
      at += 1
      continue
    # Cut at the bound nearest to a uniform draw: by pieces, not by sentences.
    inner_S = bounds_S[at + 1 : last]
    cut = at + 1 + int(np.abs(inner_S - random.uniform(bounds_S[at], bounds_S[last])).argmin())
    a, b = (bounds_S[at], bounds_S[cut]), (bounds_S[cut], bounds_S[last])
    is_wrong, at = random.random() < 0.5, last
    if is_wrong and kind == 'sop':
      a, b = b, a
    if is_wrong and kind == 'nsp':
      is_wrong = len(documents) > 1  # with one document there is no other to take from
      if is_wrong:
        b, at = _elsewhere(number, documents, b[1] - b[0], room - (a[1] - a[0]), random), cut
    yield (a, b), WRONG if is_wrong else RIGHT


def _elsewhere(number, documents, wanted, room, random):
  """Returns (begin, end) of some sentences of another document.

  They are as long as is wanted, as far as their ends allow it: lengths must not tell right from
  wrong.
  """
  other = int(random.random() * (len(documents) - 1))
  bounds_S = documents[other + (other >= number)]  # any but this one
  starts = max(1, int(np.searchsorted(bounds_S, bounds_S[-1] - wanted, 'right')))
  # Not integers(), which may take more draws for one bound than for another.
  start = int(random.random() * starts)
  begin = bounds_S[start]
  ends = bounds_S[start + 1 : np.searchsorted(bounds_S, begin + room, 'right')]
  return begin, ends[np.abs(ends - begin - wanted).argmin()] if len(ends) else begin + room
