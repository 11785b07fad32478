"""The rate that is measured is the stated one, and the battery finds the errors that it says it
finds.

Seeds are fixed. Each case masks as many tokens as keep 5.5 standard deviations below what is
allowed: false alarms of all together below 1e-6.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlm_jax import masking
from mlm_jax.core import rng
from mlm_jax.core import vocabulary
from mlm_jax.masking import checks
from mlm_jax.masking.checks import rates as rates_lib
from mlm_jax.masking.checks import trial
from tests.masking import conftest

RATES = (0.05, 0.15, 0.4, 0.8)
BUDGETS = ('fixed_count', 'bernoulli')
ALLOWED, DEVIATIONS = 0.01, 5.5
# Beside its settings each unit's mean squared length over its mean length, with short_units.
UNITS = {
  'token': (dict(unit='token'), 1.0),
  'word': (dict(unit='word'), 1.7),
  'collocation': (dict(unit='collocation'), 2.8),
  'sentence': (dict(unit='sentence'), 5.2),
  'span': (dict(unit='span', span_length_distribution='uniform', span_max=2), 2.6),
}


def short_units(size=200):
  """A vocabulary of short words and sentences: counts of tokens vary less the shorter units are."""
  g = np.random.default_rng(3)
  starts_V, ends_V, closes_V = (g.random(size) < share for share in (0.7, 0.1, 0.4))
  return vocabulary.table(size, conftest.MASK, range(5), starts_V, ends_V, closes_V=closes_V)


QUICK = ('token', 'word')
slow = lambda unit: pytest.param(unit, marks=pytest.mark.slow)


@jax.jit
def count(policy, visit_T, batch):
  """Returns (chosen tokens, maskable tokens) of all rows, each at T visits."""

  def at(visit):
    visit_B = jnp.full(len(batch.visit_B), visit)
    masked = masking.mask_batch(
      policy, rng.root_key(0), dataclasses.replace(batch, visit_B=visit_B)
    )
    return masked.chosen_BL.sum(), (masked.units_BL >= 0).sum()

  return jax.tree.map(jnp.sum, jax.vmap(at)(visit_T))


@pytest.mark.parametrize('budget', BUDGETS)
@pytest.mark.parametrize('unit', [each if each in QUICK else slow(each) for each in UNITS])
def test_the_measured_rate_is_within_one_percent_of_itself(unit, budget):
  settings, clustering = UNITS[unit]
  batch, visits = conftest.make_batch(rows=1024, length=128), 8
  for rate in RATES:
    policy = masking.make(short_units(), sampling=budget, **settings)
    policy = policy.with_rate(np.float32(rate))  # compiled once
    # Of n tokens, independent draws choose a number of variance n clustering rate (1 - rate), exact
    # budgets one of at most .3 of that.
    wanted = (
      clustering
      * (1 - rate)
      / rate
      * (DEVIATIONS / ALLOWED) ** 2
      * (0.3 if budget == 'fixed_count' else 1)
    )
    seen = maskable = visit = 0
    while maskable < wanted:
      more = count(policy, np.arange(visit, visit + visits, dtype=np.uint32), batch)
      seen, maskable, visit = seen + int(more[0]), maskable + int(more[1]), visit + visits
    assert seen / maskable == pytest.approx(rate, rel=ALLOWED)


def said_to_be_found(unit):
  """Returns the six numbers of the battery's table, percents: of exact, then of independent
  budgets.
  """
  row = next(line.split() for line in checks.__doc__.splitlines() if line.split()[:1] == [unit])
  return [float(each) for each in row[1:]]


@pytest.mark.parametrize('unit', [each if each == 'word' else slow(each) for each in UNITS])
def test_the_battery_finds_the_errors_of_the_rate_that_it_says_it_finds(table, unit):
  """Each lies 5.5 standard deviations beyond what has to be found."""
  batch, mask_batch = trial.synthetic_batch(table, 4096, 128, seed=0), jax.jit(masking.mask_batch)
  percents = said_to_be_found(unit)
  for (budget, rate), percent in zip(
    itertools.product(BUDGETS, (0.05, 0.15, 0.5)), percents, strict=True
  ):
    says = masking.make(table, unit=unit, sampling=budget).with_rate(np.float32(rate))
    for change in (1 + percent / 100, 1 - percent / 100):
      does = says.with_rate(np.float32(rate * change))
      masked = jax.tree.map(np.asarray, mask_batch(does, rng.root_key(0), batch))
      results = rates_lib.rates(trial.trial(says, batch, masked, seed=0, progress=0.0))
      found = {each.name for each in results if not each.passed}
      assert found & {'rate', 'rate of units'}, f'{budget} {rate} off by {percent} %'
