"""Sweeps whose arms are all equal: how often something is claimed."""

import dataclasses
import pathlib

import numpy as np
import pytest
import scipy.stats

from mlm_jax.report import comparisons
from mlm_jax.report import findings as findings_lib
from mlm_jax.report import sweep_results
from mlm_jax.report.comparisons import Comparison

ARMS = [f'arm{number}' for number in range(6)]
POLICIES = ARMS[:2]


def sweep(random, named, control):
  """Returns a sweep of six equal arms with three seeds, scored under two policies too."""
  shared = random.normal(0, 1, 3)  # what a seed does to every arm
  runs = []
  for arm in ARMS:
    own = shared + random.normal(0, 0.1, 3)
    for seed in range(3):
      under = {policy: {'loss': own[seed] + random.normal(0, 0.05)} for policy in POLICIES}
      values = {'reference_loss': own[seed], 'tokens': 1.0}
      place = pathlib.Path(f'{arm}_{seed}')
      of_plan = place.name, arm, seed, {'seed': seed}, 2, place
      runs.append(
        sweep_results.Run(*of_plan, 'done', '', values, {'data': 'd'}, {}, under, [(2, 4.0)], {})
      )
  return sweep_results.Sweep(
    pathlib.Path('sweep'),
    *('Which?', 'experiments/which', 'tokens', ARMS[0], control, 'reference_loss', 'min'),
    *({policy: {} for policy in POLICIES}, '', comparisons.Named(named), tuple(runs), {}),
  )


def within(count, trials, rate, chance=1e-6):
  """Whether a count of trials is one that a rate gives, but for a chance on either side."""
  low, high = scipy.stats.binom.interval(1 - 2 * chance, trials, rate)
  return low <= count <= high


SWEEPS = 400


def claims(named=(), control=None):
  """Returns how many of the null sweeps claim anything of the family, and of the control."""
  random = np.random.default_rng(14)
  family = alone = 0
  claimed = lambda found: any(each.verdict in ('lower', 'higher') for each in found.values())
  for _ in range(SWEEPS):
    found = findings_lib.find(sweep(random, tuple(named), control))
    family, alone = family + claimed(found.family), alone + claimed(found.control)
  return family, alone


def test_of_one_named_contrast_one_sweep_in_twenty_claims_something():
  family, alone = claims([Comparison('arm1', 'arm2')])
  assert within(family, SWEEPS, 0.05) and alone == 0


@pytest.mark.slow
@pytest.mark.parametrize('named', ((), (Comparison('arm1', 'arm2'), Comparison('arm3', 'arm4'))))
def test_a_family_claims_as_rarely_as_stated_beside_a_control_that_does_too(named):
  family, alone = claims(named, 'arm5')
  # Comparisons that share an arm claim together, so of many fewer sweeps than 5 % claim anything.
  assert family <= scipy.stats.binom.isf(1e-6, SWEEPS, 0.05)
  assert not named or within(family, SWEEPS, 0.05)
  assert within(alone, SWEEPS, 0.05)


def test_dropping_a_contrast_after_results_does_not_help():
  random = np.random.default_rng(3)
  one, other = Comparison('arm1', 'arm2'), Comparison('arm3', 'arm4')
  made = sweep(random, (one, other), None)
  kept = findings_lib.find(made).family[one]
  dropped = comparisons.Named((one, other), removed=(other,))
  assert findings_lib.find(dataclasses.replace(made, contrasts=dropped)).family[one] == kept
