"""No batch has two rows of one group, and as many rows are used as can be."""

import hypothesis
from hypothesis import strategies
import numpy as np
import pytest

from mlm_jax.data import distinct


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(
  strategies.lists(strategies.integers(0, 8), min_size=1, max_size=40), strategies.integers(1, 9)
)
def test_a_batch_has_each_group_once_and_an_epoch_each_row(groups, batch_size):
  group_N = np.array(groups)
  batches_KB = distinct.epoch(group_N, batch_size, 3, 1)
  assert len(batches_KB) == distinct.steps(group_N, batch_size)
  assert len(np.unique(batches_KB)) == batches_KB.size
  for row_B in batches_KB:
    assert len(set(group_N[row_B])) == batch_size
  # A greedy choice of the largest groups left is optimal: it makes no more batches.
  counts, made = np.bincount(group_N), 0
  while (counts > 0).sum() >= batch_size:
    counts[np.argsort(-counts, kind='stable')[:batch_size]] -= 1
    made += 1
  assert made == len(batches_KB)


def test_epochs_and_seeds_differ_and_repeat_themselves():
  group_N = np.arange(60) // 2
  one = distinct.epoch(group_N, 4, 0, 0)
  assert (one == distinct.epoch(group_N, 4, 0, 0)).all()
  for other in (distinct.epoch(group_N, 4, 0, 1), distinct.epoch(group_N, 4, 1, 0)):
    assert (one != other).mean() > 0.8


def test_the_loader_gives_batches_of_the_epochs(prepared):
  group_N = np.arange(len(prepared.split('train')[0])) // 3
  loader = distinct.Loader(prepared, 'train', 4, 0, group_N)
  K = distinct.steps(group_N, 4)
  for step in (0, K - 1, K, 2 * K + 1):
    wanted_B = distinct.epoch(group_N, 4, 0, step // K)[step % K]
    batch = loader.batch(step)
    assert (batch.example_B2[:, 1] == wanted_B).all() and (batch.visit_B == step // K).all()
    assert (loader.examples(step)[:, 1] == wanted_B).all()
  half = distinct.Loader(prepared, 'train', 4, 0, group_N, local=np.array([1, 3]))
  assert (half.batch(1).tokens_BL == loader.batch(1).tokens_BL[[1, 3]]).all()
  with pytest.raises(Exception, match='must be at most 2, the documents that differ'):
    distinct.Loader(prepared, 'train', 4, 0, group_N % 2)
