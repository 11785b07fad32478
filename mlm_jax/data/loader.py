"""Batches from prepared rows: pure functions of (data, seed, step)."""

from collections.abc import Sequence
import functools
from typing import TypeVar

from grain import experimental as grain
import numpy as np

from mlm_jax import config
from mlm_jax.core import batches
from mlm_jax.data import store
from mlm_jax.data.corpus import sources

_MIX = 10_000  # positions in which a mixture's shares are exact
_LEAST = 16  # held-out rows of a source that are evaluated at least
_SMALL = 1 << 13  # rows whose order is made a whole epoch at a time

_Made = TypeVar('_Made')


class Loader:
  """The training batches of one process.

  Without weights the rows of all sources are shuffled together, each seen once an
  epoch. With weights each source is shuffled on its own and repeated as its share
  asks; the shares hold in every stretch of the order, exactly every 10,000 rows. The
  same holds for a sampling_alpha other than 1: the shares are proportional to
  rows ** sampling_alpha, the smoothing over languages of arXiv:1901.07291, section 3.1.

  The order is Grain's index shuffle, a permutation computed row by row, so nothing
  is kept in memory and any step can be asked for at any time. It is called directly:
  a row looked up through a MapDataset takes twice as long, through a mixture of them
  four times.
  """

  def __init__(
    self,
    prepared: store.HasRows,
    split: str,
    batch_size: int,
    seed: int,
    weights: Sequence[float] = (),
    sampling_alpha: float = 1.0,
    begin: int = 0,
    local: np.ndarray | None = None,
  ):
    """Takes a store.Prepared, 'train' or 'validation', and rows a step over all processes.

    `begin` is how many rows of the order were drawn before step 0, by steps of whatever
    size. `local` numbers the rows of a batch that this process loads; None for all.

    Raises:
      UserError: a source has no rows, or all have fewer than a batch; the weights do
        not fit.
    """
    self._prepared, self._rows = prepared, prepared.split(split)
    self._batch_size, self._seed = batch_size, seed
    self.rows = sum(map(len, self._rows))
    if self.rows < batch_size:
      raise config.UserError(
        f'the corpus is too small for one batch: {self.rows:,} {split} rows, '
        f'config.batch_size = {batch_size:,}; lower it or give more text'
      )
    self._local = np.arange(batch_size) if local is None else local
    sizes = [len(rows) for rows in self._rows]
    self._first = np.cumsum([0] + sizes)  # number of each source's first row
    self._begin = begin
    weights, setting = _shares(sizes, weights, sampling_alpha)
    self._streams = sizes if weights else [self.rows]
    # A shuffle of all sources is a mixture of one stream.
    self._share_of, self._rank_of, self._counts = _mixture(weights or (1,), self._streams, setting)

  def batch(self, step: int) -> batches.Batch:
    """Returns this process's Batch of numpy arrays for one step; UserError for damaged rows."""
    position_B = self._begin + step * self._batch_size + self._local
    row_B, visit_B = self._order(position_B)
    batch = _gather(self._rows, self._first, row_B, visit_B)
    store.check_ids(self._prepared, batch.tokens_BL)
    return batch

  def examples(self, step: int) -> np.ndarray:
    """Returns int [B, 2], (source, row) of the whole batch of one step."""
    row_B, _ = self._order(self._begin + step * self._batch_size + np.arange(self._batch_size))
    source_B = np.searchsorted(self._first, row_B, side='right') - 1
    return np.stack([source_B, row_B - self._first[source_B]], 1)

  def _order(self, position_B):
    """Returns (number of the row among all sources' rows, visit), each int64_B."""
    # The pattern of the mixture repeats: a cycle draws counts[stream] rows of each stream.
    cycle_B, within_B = np.divmod(position_B, _MIX)
    stream_B = self._share_of[within_B]
    drawn_B = cycle_B * self._counts[stream_B] + self._rank_of[within_B]
    # A stream is repeated: how often it was seen before, and the place in this visit's order.
    visit_B, index_B = np.divmod(drawn_B, np.array(self._streams)[stream_B])
    row_B = np.array(
      [
        self._first[stream] + _shuffled(index, self._streams[stream], self._seed, stream, visit)
        for stream, visit, index in zip(stream_B.tolist(), visit_B.tolist(), index_B.tolist())
      ]
    )
    return row_B, visit_B


def _shuffled(index, size, seed, stream, epoch):
  """Returns the row at one place of an epoch's order."""
  if size <= _SMALL:
    return _small_order(size, seed, stream, epoch)[index]
  return grain.index_shuffle(
    index, max_index=size - 1, seed=_epoch_seed(seed, stream, epoch), rounds=4
  )


@functools.lru_cache(maxsize=64)
def _small_order(size, seed, stream, epoch):
  """Returns an epoch's whole order.

  Grain permutes at least 2**16 numbers and tries again until it meets a small enough
  one, up to thousands of times; the order of its first `size` numbers needs no trying.
  """
  seed = _epoch_seed(seed, stream, epoch)
  drawn = [grain.index_shuffle(i, max_index=2**16 - 1, seed=seed, rounds=4) for i in range(size)]
  return np.argsort(drawn).tolist()


@functools.lru_cache(maxsize=1024)
def _epoch_seed(seed, stream, epoch):
  """Returns 32 bits hashed from all three: seed + epoch would make runs share orders."""
  return int(np.random.SeedSequence((seed, stream, epoch)).generate_state(1)[0])


def _shares(sizes, weights, sampling_alpha):
  """Returns (the weights of sources with so many rows, () for a shuffle of all; what set them)."""
  if weights:
    sources.check_weights(weights, len(sizes))
    return weights, f'config.data.weights = {tuple(weights)}'
  if sampling_alpha == 1:
    return (), ''
  return [
    # A source without rows has no share, also with an exponent of 0.
    size and size**sampling_alpha
    for size in sizes
  ], f'config.data.sampling_alpha = {sampling_alpha}'


def _mixture(weights, sizes, setting):
  """Returns the pattern of a mixture over _MIX positions; a message names the setting.

  Returns:
    (stream of each position, how often the stream came before it, positions of each
    stream), evenly spread.
  """
  weight_N = np.array(weights, float) / max(weights)  # their sum may overflow
  exact = weight_N / weight_N.sum() * _MIX
  # Largest remainders: what rounding down leaves over goes to those that lost most by it.
  counts = np.floor(exact).astype(int)
  counts[np.argsort(counts - exact, kind='stable')[: _MIX - counts.sum()]] += 1
  for number, (weight, count, size) in enumerate(zip(weights, counts, sizes), 1):
    # A source that would silently never be drawn.
    if weight and not (count and size):
      raise config.UserError(
        f'{setting}: source {number} has '
        + (f'less than 1 in {_MIX} of the rows drawn' if size else 'no training rows')
        + '; leave it out'
      )
  stream = np.repeat(np.arange(len(counts)), counts)
  rank = np.concatenate([np.arange(count) for count in counts])
  # Each stream's positions are spread evenly over the cycle, then all are merged.
  order = np.argsort((rank + 0.5) / counts[stream], kind='stable')
  return stream[order], rank[order], counts


def _gather(rows_of, first, row_B, visit_B):
  """Returns the Batch of rows numbered over all sources."""
  source_B = np.searchsorted(first, row_B, side='right') - 1
  local_B = row_B - first[source_B]
  rows = rows_of[0]
  tokens_BL = np.empty((len(row_B), rows.tokens_RL.shape[1]), rows.tokens_RL.dtype)
  starts_BS = np.empty((len(row_B), rows.starts_RS.shape[1]), np.int32)
  columns = {
    name: np.empty((len(row_B), *stored.shape[1:]), stored.dtype)
    for name, stored in rows.columns.items()
  }
  # Source by source, so that each memory-mapped file is read with one call.
  for source in np.unique(source_B):
    here, rows = source_B == source, rows_of[source]
    tokens_BL[here] = rows.tokens_RL[local_B[here]]
    starts_BS[here] = rows.starts_RS[local_B[here]]
    for name, values_BX in columns.items():
      values_BX[here] = rows.columns[name][local_B[here]]
  example_B2 = np.stack([source_B, local_B], 1).astype(np.uint32)
  return batches.Batch(tokens_BL, starts_BS, example_B2, visit_B.astype(np.uint32), columns)


class EvaluationLoader:
  """The held-out rows in fixed order, at visit 0.

  Where fewer rows are asked for than there are, they are spread evenly over all. Of
  several sources each has at least 16 among them, or all that it has, so that each has a
  loss that says something. The last batch is filled with empty rows: padding alone, no segment, of
  weight 0.
  """

  def __init__(
    self,
    prepared: store.HasRows,
    batch_size: int,
    rows: int = 0,
    source: int | None = None,
    local: np.ndarray | None = None,
    split: str = 'validation',
  ):
    """Takes a store.Prepared, rows a batch over all processes, and how many (0: all).

    `source` is the number of the source to keep to; None for all of them. The rows of one
    source are those of it among the rows of all. `local` as for `Loader`.
    """
    self._prepared, self._rows = prepared, prepared.split(split)
    self._pad_id = prepared.tokenizer.pad_id
    self._first = np.cumsum([0] + [len(each) for each in self._rows])
    there = int(self._first[-1])
    if not there:
      raise config.UserError(
        f'{prepared.directory} has no held-out row; raise config.data.validation_fraction'
      )
    chosen_of = [
      self._spread(number, min(rows or there, there)) for number in range(len(self._rows))
    ]
    self._chosen = np.concatenate(chosen_of) if source is None else chosen_of[source]
    self.rows = len(self._chosen)
    self._batch_size = batch_size
    self._local = np.arange(batch_size) if local is None else local

  def _spread(self, source, wanted):
    """Returns the rows of one source among `wanted` of all sources' rows."""
    first, end, there = self._first[source], self._first[source + 1], self._first[-1]
    # The same rows whichever source is asked for: spread over all, then those of this source.
    chosen = np.arange(wanted) * there // wanted
    chosen = chosen[(chosen >= first) & (chosen < end)]
    # A source with few rows may have none among them, and a loss of a few rows says nothing.
    least = min(_LEAST, end - first) if len(self._rows) > 1 else 0
    return chosen if len(chosen) >= least else first + np.arange(least) * (end - first) // least

  def __len__(self) -> int:
    return -(-self.rows // self._batch_size)

  def batch(self, i: int) -> batches.Batch:
    """Returns this process's part of batch i as numpy arrays."""
    row_B = self._chosen[i * self._batch_size : (i + 1) * self._batch_size]
    batch = _gather(self._rows, self._first, row_B, np.zeros(len(row_B)))
    store.check_ids(self._prepared, batch.tokens_BL)
    # Every batch has one shape, so that the evaluation is compiled once.
    empty = self._batch_size - len(row_B)

    def padded(array, fill):
      filler = np.full((empty, *array.shape[1:]), fill, array.dtype)
      return np.concatenate([array, filler])[self._local]

    stored = self._rows[0].columns
    return batches.Batch(
      padded(batch.tokens_BL, self._pad_id),
      padded(batch.starts_BS, -1),
      padded(batch.example_B2, 0),
      padded(batch.visit_B, 0),
      {name: padded(each, stored[name].fill) for name, each in batch.columns.items()},
    )
