"""What is counted over the training rows, and statistics.npz, which holds it."""

from collections.abc import Iterable
import dataclasses
import os

import numpy as np

from mlm_jax.core import files
from mlm_jax.data import tokenizers

NGRAMS = 10_000  # of each length that are kept
LENGTHS = 32  # bins of a document's length
FILLS = 20  # bins of a row's fill
_PART = 1 << 20  # tokens counted at once
_BLOCK = 1 << 21  # n-grams that are sorted at once
_LIMIT = 1 << 20  # different ones that are remembered before the rarest are forgotten
_COMMON = 1 << 16  # times: nothing as frequent is forgotten


@dataclasses.dataclass(frozen=True)
class Statistics:
  """Counts over the training rows, int64; S sources, N n-grams, the most frequent first.

  Attributes:
    counts_V: how often each piece occurs there; special pieces and padding are counted too.
    bigrams_N2, trigrams_N3: int32 ids of ordinary pieces, inside one segment.
    bigram_counts_N, trigram_counts_N: how often each occurs there.
    missed_2: the most by which a count of the bigrams and of the trigrams may be too low
      (see `NgramCounter`).
    lengths_SK: documents of 2**k to 2**(k + 1) - 1 pieces.
    fills_SF: rows by the share of their tokens that is not padding, in twentieths; full
      ones in the last.
    words_S: words, as in masking by words; one that two segments share counts twice.
  """

  counts_V: np.ndarray
  bigrams_N2: np.ndarray
  bigram_counts_N: np.ndarray
  trigrams_N3: np.ndarray
  trigram_counts_N: np.ndarray
  missed_2: np.ndarray
  lengths_SK: np.ndarray
  fills_SF: np.ndarray
  words_S: np.ndarray


class Counter:
  """Counts, as the rows are made. Takes a Tokenizer and the number of sources."""

  def __init__(self, tokenizer: tokenizers.Tokenizer, sources: int):
    self._counts_V = np.zeros(tokenizer.size, np.int64)
    self._ngrams = [NgramCounter(n, tokenizer.size, tokenizer.special_ids) for n in (2, 3)]
    self._sources = [SourceCounter(tokenizer, self._add) for _ in range(sources)]

  def source(self, number: int) -> 'SourceCounter':
    """Returns what counts the documents and rows of one source."""
    return self._sources[number]

  def _add(self, tokens_RL):
    self._counts_V += np.bincount(tokens_RL.reshape(-1), minlength=len(self._counts_V))
    for each in self._ngrams:
      each.add(tokens_RL)

  def result(self) -> Statistics:
    """Returns the Statistics."""
    (bigrams_N2, bigram_counts_N), (trigrams_N3, trigram_counts_N) = (
      each.most_common(NGRAMS) for each in self._ngrams
    )
    return Statistics(
      self._counts_V,
      bigrams_N2,
      bigram_counts_N,
      trigrams_N3,
      trigram_counts_N,
      missed_2=np.array([each.missed for each in self._ngrams]),
      lengths_SK=np.stack([each.lengths_K for each in self._sources]),
      fills_SF=np.stack([each.fills_F for each in self._sources]),
      words_S=np.array([each.words for each in self._sources]),
    )


class SourceCounter:
  """Counts what is counted for each source, and passes the rows on to `add`."""

  def __init__(self, tokenizer, add):
    self._tokenizer, self._add = tokenizer, add
    self._special_V = np.zeros(tokenizer.size, bool)
    self._special_V[list(tokenizer.special_ids)] = True
    self.lengths_K = np.zeros(LENGTHS, np.int64)
    self.fills_F = np.zeros(FILLS, np.int64)
    self.words = 0

  def add_documents(self, lengths: np.ndarray) -> None:
    """Counts documents, each of so many pieces."""
    # frexp gives the exponent of a number in [.5, 1) times a power of two.
    bins = np.frexp(lengths[lengths > 0])[1] - 1
    self.lengths_K += np.bincount(np.minimum(bins, LENGTHS - 1), minlength=LENGTHS)

  def add_rows(self, tokens_RL: np.ndarray) -> None:
    """Counts rows, in parts that bound the memory."""
    length = tokens_RL.shape[1]
    step = max(1, _PART // length)
    for part_RL in (tokens_RL[begin : begin + step] for begin in range(0, len(tokens_RL), step)):
      used_R = (part_RL != self._tokenizer.pad_id).sum(axis=1)
      bins = np.minimum(used_R * FILLS // length, FILLS - 1)
      self.fills_F += np.bincount(bins, minlength=FILLS)
      self.words += self._words(part_RL)
      self._add(part_RL)

  def _words(self, tokens_RL):
    """Returns the number of words; every row begins with a special piece."""
    special_RL = self._special_V[tokens_RL]
    ended_RL = self._tokenizer.ends_V[tokens_RL] | special_RL
    starts_RL = self._tokenizer.starts_V[tokens_RL][:, 1:] | ended_RL[:, :-1]
    return int((starts_RL & ~special_RL[:, 1:]).sum())


class NgramCounter:
  """Counts the n-grams of ordinary pieces: none crosses a special one, so none is in two segments.

  When more than 2**20 different ones are remembered, all but the 2**19 most frequent are
  forgotten (as in lossy counting: Manku and Motwani, 2002), so that a count may be too low,
  by at most `missed`; one never forgotten is exact. Counting bigrams and trigrams of
  13 million pieces together took .19 GB at its peak; more pieces take no more.

  Attributes:
    missed: the most that any count may be too low; 0 where all are exact.
  """

  def __init__(self, n: int, size: int, special_ids: Iterable[int]):
    self._n, self._size = n, size
    self._ordinary_V = np.ones(size, bool)
    self._ordinary_V[list(special_ids)] = False
    # The narrower numbers are sorted in half the time.
    self._dtype = np.uint32 if size**n <= 1 << 32 else np.uint64
    self._waiting, self._number = [], 0
    self._grams_M, self._counts_M = np.zeros(0, self._dtype), np.zeros(0, np.int64)
    self.missed = 0

  def add(self, tokens_RL: np.ndarray) -> None:
    """Counts the n-grams of some rows."""
    width = max(0, tokens_RL.shape[1] - self._n + 1)
    ordinary_RL = self._ordinary_V[tokens_RL]
    grams_RL = np.zeros((len(tokens_RL), width), self._dtype)
    whole_RL = np.ones(grams_RL.shape, bool)
    for i in range(self._n):
      # An n-gram as one number: its ids are the digits to the base of the vocabulary's size.
      grams_RL *= self._dtype(self._size)
      grams_RL += tokens_RL[:, i : i + width].astype(self._dtype)
      whole_RL &= ordinary_RL[:, i : i + width]
    self._waiting.append(grams_RL[whole_RL])
    self._number += len(self._waiting[-1])
    if self._number >= _BLOCK:
      self._settle()

  def _settle(self):
    """Adds what waits to the counts, and forgets the rarest where there are too many."""
    grams_M, counts_M = _summed(np.concatenate([np.zeros(0, self._dtype), *self._waiting]))
    self._waiting, self._number = [], 0
    # Only different ones are merged with what is remembered, so what waited is summed first.
    self._grams_M, self._counts_M = _summed(
      np.concatenate([self._grams_M, grams_M]), np.concatenate([self._counts_M, counts_M])
    )
    if len(self._counts_M) > _LIMIT:
      # above[k]: how many occurred more than k times; the lowest k that leaves at most half.
      above = len(self._counts_M) - np.cumsum(np.bincount(np.minimum(self._counts_M, _COMMON)))
      rarest = int(np.argmax(above <= _LIMIT // 2))
      stays_M = self._counts_M > rarest
      self._grams_M, self._counts_M = self._grams_M[stays_M], self._counts_M[stays_M]
      self.missed += rarest

  def most_common(self, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns (int32 [m, n] ids, int64 [m] counts), the highest first, equal ones by their ids."""
    self._settle()
    order = np.lexsort((self._grams_M, -self._counts_M))[:number]
    powers = [self._size**i for i in range(self._n)][::-1]
    ids_Mn = np.stack(
      [self._grams_M[order] // self._dtype(power) % self._dtype(self._size) for power in powers],
      axis=1,
    )
    return ids_Mn.astype(np.int32), self._counts_M[order]


def _summed(grams_M, counts_M=None):
  """Returns the different n-grams, ascending, and the sums of their counts (1 if not given)."""
  if counts_M is None:
    grams_M = np.sort(grams_M)
  else:
    order = np.argsort(grams_M, kind='stable')
    grams_M, counts_M = grams_M[order], counts_M[order]
  begins = (
    np.flatnonzero(np.append(True, grams_M[1:] != grams_M[:-1]))
    if len(grams_M)
    else np.zeros(0, int)
  )
  if counts_M is None:
    return grams_M[begins], np.diff(np.append(begins, len(grams_M)))
  return grams_M[begins], np.add.reduceat(counts_M, begins) if len(begins) else counts_M


def write(path: str | os.PathLike, statistics: Statistics) -> None:
  """Writes statistics.npz: the same bytes for the same counts."""
  files.write_arrays(path, statistics)


def read(data: bytes) -> Statistics:
  """Returns the Statistics from the bytes of statistics.npz; KeyError where it lacks one."""
  return files.read_arrays(Statistics, data)
