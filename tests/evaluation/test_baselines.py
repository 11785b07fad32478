"""The unigram and bigram baselines against counting by hand."""

import collections
import types

import jax
import numpy as np
import pytest

from mlm_jax.evaluation import baselines
from mlm_jax.evaluation import heldout
from tests import toys


def prepared_of(batch):
  """Returns what the baselines read of a preparation, with the batch as training rows."""
  counts_V = np.bincount(batch.tokens_BL.ravel(), minlength=toys.VOCAB)
  tokenizer = types.SimpleNamespace(size=toys.VOCAB, special_ids=toys.SPECIAL)
  rows = type(
    'Rows', (), {'tokens_RL': batch.tokens_BL, '__len__': lambda self: len(self.tokens_RL)}
  )()
  return types.SimpleNamespace(
    counts_V=counts_V, tokenizer=tokenizer, train=(rows,), table=toys.table()
  )


class OneBatch:
  def __init__(self, batch):
    self._batch = batch

  def __len__(self):
    return 1

  def batch(self, i):
    return self._batch


def test_the_baselines_equal_counting_by_hand():
  train, validation = toys.batch(rows=40, seed=1), toys.batch(rows=12, seed=2)
  found = baselines.score(prepared_of(train), OneBatch(validation))
  counts = collections.Counter(t for t in train.tokens_BL.ravel() if t not in toys.SPECIAL)
  total = sum(counts.values()) + toys.VOCAB - len(toys.SPECIAL)
  unigram = {t: (counts[t] + 1) / total for t in range(toys.VOCAB) if t not in toys.SPECIAL}
  follow = collections.defaultdict(collections.Counter)
  for row in train.tokens_BL:
    for left, right in zip(row, row[1:]):
      if right not in toys.SPECIAL:
        follow[left][right] += 1
  drawn = jax.device_get(
    toys.mask(heldout.reference_policy(toys.table()), heldout.reference_key(), validation, 0.0)
  )
  losses, bigram_losses, hits = [], [], []
  for b, l in zip(*np.nonzero(drawn.chosen_BL)):
    left, target = validation.tokens_BL[b, l - 1], validation.tokens_BL[b, l]
    losses.append(-np.log(unigram[target]))
    seen = follow[left]
    p = {t: (seen[t] + len(seen) * unigram[t]) / (seen.total() + len(seen)) for t in unigram}
    assert sum(p.values()) == pytest.approx(1)
    bigram_losses.append(-np.log(p[target]))
    hits.append(max(p, key=p.get) == target)
  assert found['unigram']['loss'] == pytest.approx(np.mean(losses), rel=1e-9)
  assert found['bigram'] == pytest.approx(
    {'loss': np.mean(bigram_losses), 'accuracy': np.mean(hits)}, rel=1e-9
  )


def test_a_left_neighbour_never_seen_falls_back_to_the_unigram():
  train, validation = toys.batch(rows=1, length=8, documents=1, seed=1), toys.batch(rows=20, seed=2)
  found = baselines.score(prepared_of(train), OneBatch(validation))
  assert np.isfinite(found['bigram']['loss'])


def test_a_baseline_of_nothing_has_no_loss(recwarn):
  """The mean of no tokens is not a number: there is none, and no warning of one."""
  validation = toys.batch(rows=1)
  validation.tokens_BL[:] = toys.PAD
  found = baselines.score(prepared_of(toys.batch(rows=4, seed=1)), OneBatch(validation))
  assert found == {'unigram': {}, 'bigram': {}} and not recwarn
