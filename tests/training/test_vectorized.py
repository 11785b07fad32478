"""Replicas: numbers that differ are stacked, and nothing else about a run changes."""

import jax
import numpy as np
import pytest

from mlm_jax import masking
from mlm_jax.core import rng
from mlm_jax.core import vocabulary
from mlm_jax.tasks import population
from mlm_jax.training import sharding
from mlm_jax.training import vectorized
from tests import toys


@pytest.mark.parametrize(
  'settings, arms',
  (
    (dict(unit='span'), (dict(span_p=0.2), dict(span_p=0.7, rate=0.5))),
    (
      dict(selection='frequency', sampling='bernoulli'),
      (dict(frequency_power=0.1), dict(frequency_power=2.0)),
    ),
    (
      dict(schedule='polynomial'),
      (
        dict(rate_power=0.5, final_rate=0.9, predict_fraction=0.5),
        dict(final_rate=0.4, mean_rate=0.3, corruption_probs=(0.2, 0.4, 0.4)),
      ),
    ),
  ),
)
def test_masks_of_replicas_are_those_of_the_runs_alone(settings, arms):
  table = vocabulary.table(toys.VOCAB, toys.MASK, toys.SPECIAL, counts_V=np.arange(toys.VOCAB) ** 3)
  batch = toys.batch(rows=32)
  policies = [masking.make(table, **settings | arm) for arm in arms]
  over = vectorized.Replicated(population.unify(policies), sharding.largest_mesh(1))
  mask = jax.jit(
    lambda policy, progress, batch, key: masking.mask_batch(policy, key, batch, progress)
  )
  together = jax.jit(over.vmap(mask, 1))(
    over.leaves, np.full(2, 0.3, np.float32), batch, rng.root_key(7)
  )
  for r, policy in enumerate(policies):
    one = mask(policy, np.float32(0.3), batch, rng.root_key(7))
    for name in ('inputs_BL', 'chosen_BL', 'action_BL'):
      np.testing.assert_array_equal(getattr(together, name)[r], getattr(one, name))
  assert (together.inputs_BL[0] != together.inputs_BL[1]).any()


def test_what_is_the_same_for_all_is_computed_once():
  mesh = sharding.largest_mesh(1)
  over = vectorized.Replicated([{'a': np.float32(1), 'b': np.float32(r)} for r in range(3)], mesh)
  assert [leaf.shape for leaf in over.leaves] == [(), (3,)]
