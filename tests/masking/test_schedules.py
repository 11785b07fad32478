"""Rates by progress, against the formulas in float64 and their means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlm_jax import config
from mlm_jax import masking
from mlm_jax.core import rng
from mlm_jax.masking import policy as policy_lib
from mlm_jax.masking import schedules
from mlm_jax.masking.checks import expected as expected_lib
from tests.masking import conftest

FORMULAS = {
  'constant': lambda a, b, t: a + 0 * t,
  'linear': lambda a, b, t: (1 - t) * a + t * b,
  'cosine': lambda a, b, t: (a + b) / 2 + (a - b) / 2 * np.cos(np.pi * t),
  'polynomial': lambda a, b, t: a - (a - b) * t**3,
  'early_polynomial': lambda a, b, t: b + (a - b) * (1 - t) ** 3,
  'step': lambda a, b, t: np.where(t < 0.5, a, b),
}
VARYING = [name for name in FORMULAS if name != 'constant']


def varying(schedule, a, b):
  power = {'rate_power': 3.0} if 'polynomial' in schedule else {}
  return (
    {'rate': a}
    if schedule == 'constant'
    else dict(rate=a, final_rate=b, schedule=schedule, **power)
  )


def make(table, schedule, a=0.32, b=0.02, **settings):
  return masking.make(table, **varying(schedule, a, b), **settings)


_at = jax.jit(lambda schedule, t, word_B: schedule.at(t, word_B))


def at(policy, t):
  return float(_at(policy.schedule, t, jnp.zeros(1, jnp.uint32))[0])


@pytest.mark.parametrize('a, b', ((0.32, 0.02), (0.0, 0.3), (1.0, 0.15)))
@pytest.mark.parametrize('schedule', FORMULAS)
def test_rates_are_those_of_the_formula_and_the_batterys(table, schedule, a, b):
  if schedule == 'constant' and not a:
    a = 0.15
  policy = make(table, schedule, a, b)
  for t in (0.0, 0.1, 0.25, 0.5, 0.7, 1.0):
    expected = FORMULAS[schedule](np.float64(a), np.float64(b), np.float64(t))
    assert at(policy, t) == pytest.approx(expected, abs=1e-5)
    assert expected_lib.rate(policy, t) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('schedule', VARYING)
@pytest.mark.parametrize('a, b', ((0.3, 0.15), (0.33, 0.1), (0.0, 0.7)))
def test_the_ends_are_reached_and_never_passed(table, schedule, a, b):
  """The prediction buffer is sized by them; rates are multiples of 2**-16."""
  policy = make(table, schedule, max(a, b), min(a, b))
  assert at(policy, 0.0) == pytest.approx(policy.rate, abs=2**-16)
  assert at(policy, 1.0) == pytest.approx(policy.schedule.final_rate, abs=2**-16)
  seen = [at(policy, t) for t in np.linspace(0, 1, 50)]
  assert (
    min(seen) >= policy.schedule.final_rate and max(seen) <= policy.rate <= policy.max_rate + 1e-7
  )


@pytest.mark.parametrize('schedule', VARYING)
@pytest.mark.parametrize('a, b', ((0.3, 0.0), (0.0, 0.3), (0.32, 0.02)))
def test_the_mean_rate_is_that_of_the_whole_training(table, schedule, a, b):
  t_N = (np.arange(100_000) + 0.5) / 100_000
  settings = config.masking(varying(schedule, a, b))
  assert schedules.mean_rate(settings) == pytest.approx(
    FORMULAS[schedule](a, b, t_N).mean(), rel=1e-6
  )
  settings = config.masking(varying(schedule, a, b) | {'mean_rate': 0.15})
  assert schedules.mean_rate(settings) == pytest.approx(0.15)
  policy = make(table, schedule, a, b, mean_rate=0.15)
  seen = [at(policy, (i + 0.5) / 100) for i in range(100)]
  assert np.mean(seen) == pytest.approx(0.15, rel=1e-3)
  assert float(policy.rate) * b == pytest.approx(float(policy.schedule.final_rate) * a)


def test_a_mean_that_needs_rates_above_one_is_refused_in_one_line(table):
  with pytest.raises(config.UserError, match='mean_rate = 0.6.* would reach 1.2') as caught:
    masking.make(table, schedule='linear', rate=0.3, final_rate=0.0, mean_rate=0.6)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('a, b', ((0.0, 1.0), (0.6, 0.2)))
def test_rates_of_rows_are_uniform_and_belong_to_example_and_visit(table, a, b):
  policy = make(table, 'row', a, b)
  words_B = np.linspace(0, 2**32 - 1, 1001).astype(np.uint32)
  rate_B = np.asarray(policy.schedule.at(0.0, words_B))
  np.testing.assert_allclose(rate_B, a + (b - a) * np.linspace(0, 1, 1001), atol=1e-5)
  batch = conftest.make_batch(rows=6)
  key = rng.root_key(0)
  together = np.asarray(policy_lib.row_rates(policy, key, batch))
  part = jax.tree.map(lambda x: x[[4, 1]], batch)
  assert np.array_equal(policy_lib.row_rates(policy, key, part), together[[4, 1]])
  assert len(set(together.tolist())) == 6


def test_progress_reaches_the_masks(table):
  batch = conftest.make_batch(rows=200)
  policy = make(table, 'linear', 0.8, 0.1)
  mask_batch = jax.jit(masking.mask_batch)
  shares = []
  for t in (0.0, 0.5, 1.0):
    masked = mask_batch(policy, rng.root_key(0), batch, t)
    shares.append(float(masked.chosen_BL.sum() / (masked.units_BL >= 0).sum()))
  assert shares == pytest.approx([0.8, 0.45, 0.1], abs=0.01)
