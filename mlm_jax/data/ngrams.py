"""The most frequent n-grams of pieces, counted in bounded memory."""

import numpy as np

_BLOCK = 1 << 21  # n-grams that are sorted at once
_LIMIT = 1 << 20  # different ones that are remembered before the rarest are forgotten
_COMMON = 1 << 16  # times: nothing as frequent is forgotten


class Counter:
  """Counts n-grams of ordinary pieces: none reaches over a special one, so none over two segments.

  When more than 2**20 different ones are remembered, all but the 2**19 most frequent are
  forgotten (as in lossy counting: Manku and Motwani, 2002), so that a count may be too low,
  by at most `missed`; one never forgotten is exact. Counting bigrams and trigrams of
  13 million pieces together took .19 GB at its peak; more pieces take no more.

  Attributes:
    missed: the most that any count may be too low; 0 where all are exact.
  """

  def __init__(self, n, size, special_ids):
    self._n, self._size = n, size
    self._ordinary_V = np.ones(size, bool)
    self._ordinary_V[list(special_ids)] = False
    # The narrower numbers are sorted in half the time.
    self._dtype = np.uint32 if size**n <= 1 << 32 else np.uint64
    self._waiting, self._number = [], 0
    self._grams_M, self._counts_M = np.zeros(0, self._dtype), np.zeros(0, np.int64)
    self.missed = 0

  def add(self, tokens_RL):
    """Counts the n-grams of some rows."""
    width = max(0, tokens_RL.shape[1] - self._n + 1)
    ordinary_RL = self._ordinary_V[tokens_RL]
    grams_RL = np.zeros((len(tokens_RL), width), self._dtype)
    whole_RL = np.ones(grams_RL.shape, bool)
    for i in range(self._n):
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
    self._grams_M, self._counts_M = _summed(
      np.concatenate([self._grams_M, grams_M]), np.concatenate([self._counts_M, counts_M])
    )
    if len(self._counts_M) > _LIMIT:
      above = len(self._counts_M) - np.cumsum(np.bincount(np.minimum(self._counts_M, _COMMON)))
      rarest = int(np.argmax(above <= _LIMIT // 2))
      stays_M = self._counts_M > rarest
      self._grams_M, self._counts_M = self._grams_M[stays_M], self._counts_M[stays_M]
      self.missed += rarest

  def most_common(self, number):
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
  """Returns the different n-grams in ascending order and the sums of their counts (1 each if not
  given).
  """
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
