"""Batches in which no two rows are of one group, such as two questions with one answer."""

import functools

import numpy as np

from mlm_jax import config
from mlm_jax.data import loader
from mlm_jax.data import store


def steps(group_N: np.ndarray, batch_size: int) -> int:
  """Returns the largest number of batches that an epoch can have, 0 for none.

  K batches of B rows need K x B rows, of which no more than K are of one group; so many there must
  be, and then they suffice (see `epoch`).

  Args:
    group_N: of each row.
    batch_size: B.
  """
  count_G = np.unique(group_N, return_counts=True)[1]
  least, most = 0, len(group_N) // batch_size
  while least < most:  # of no number above one that does not do the rows suffice
    tried = (least + most + 1) // 2
    suffices = np.minimum(count_G, tried).sum() >= tried * batch_size
    least, most = (tried, most) if suffices else (least, tried - 1)
  return least


def epoch(group_N: np.ndarray, batch_size: int, seed: int, number: int) -> np.ndarray:
  """Returns the rows of an epoch's batches [K, B], a function of (seed, number) alone.

  Rows are dealt out like cards, those of a group one behind the other: at most K of them, so each
  batch gets one at most (McNaughton's wrap-around rule). Which rows of a large group are left out
  differs by epoch.
  """
  K, random = steps(group_N, batch_size), np.random.default_rng((seed, number))
  drawn_N = random.permutation(len(group_N))
  # Groups in random order, their rows in random order.
  rank_G = random.permutation(int(group_N.max()) + 1)
  sorted_N = drawn_N[np.argsort(rank_G[group_N[drawn_N]], kind='stable')]
  group_N = group_N[sorted_N]
  begins_N = np.flatnonzero(np.diff(group_N, prepend=-1))
  place_N = np.arange(len(group_N)) - np.repeat(begins_N, np.diff([*begins_N, len(group_N)]))
  dealt = sorted_N[place_N < K][: K * batch_size]
  return dealt.reshape(batch_size, K).T[random.permutation(K)]


class Loader(loader.Loader):
  """Training batches with at most one row of each group; epochs have one length."""

  def __init__(
    self,
    prepared: store.HasRows,
    split: str,
    batch_size: int,
    seed: int,
    group_N: np.ndarray,
    local: np.ndarray | None = None,
  ):
    """Takes what loader.Loader does, and the group of each row, from 0 on.

    Raises:
      UserError: fewer groups than a batch has rows.
    """
    super().__init__(prepared, split, batch_size, seed, local=local)
    self._steps = steps(group_N, batch_size)
    if not self._steps:
      raise config.UserError(
        f'config.batch_size = {batch_size}: must be at most {len(np.unique(group_N))}, the '
        'documents that differ in the training examples: no two of one are in a batch'
      )
    self._epoch = functools.lru_cache(2)(lambda n: epoch(group_N, batch_size, seed, n))

  def _order(self, position_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    step_B, place_B = np.divmod(position_B, self._batch_size)
    visit_B, batch_B = np.divmod(step_B, self._steps)
    row_B = [
      self._epoch(int(visit))[batch, place]
      for visit, batch, place in zip(visit_B, batch_B, place_B, strict=True)
    ]
    return np.array(row_B), visit_B
