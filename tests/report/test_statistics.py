"""Intervals, paired differences and their adjustment against formulas written out, and by
simulation.
"""

import math

import numpy as np
import pytest
import scipy.stats

from mlm_jax.report import statistics
from mlm_jax.report.comparisons import Comparison

BASE = {0: 4.0, 1: 4.3, 2: 3.9, 3: 4.1}


def differences(values, baseline):
  """Returns {arm: Difference to the baseline} of all arms, tested together."""
  family = [Comparison(arm, baseline) for arm in values if arm != baseline]
  return {each.arm: found for each, found in statistics.together({'': values}, family).items()}


def shifted(*deltas):
  return {seed: BASE[seed] + delta for seed, delta in enumerate(deltas)}


def test_the_interval_of_a_mean_is_students():
  found = statistics.estimate([1.0, 2.0, 4.0, 5.0])
  half = 3.182446305284263 * math.sqrt(10 / 3) / 2  # t(.975, 3); the sum of squares is 10
  assert (found.n, found.mean) == (4, 3.0)
  assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), rel=1e-12)


@pytest.mark.parametrize(
  'values, expected',
  (
    ((), (0, None, None, None)),
    ((None, math.nan), (0, None, None, None)),
    ((2.0,), (1, 2.0, None, None)),
    ((2.0, 2.0, None), (2, 2.0, 2.0, 2.0)),
  ),
)
def test_an_estimate_says_only_what_is_known(values, expected):
  found = statistics.estimate(values)
  assert (found.n, found.mean, found.low, found.high) == expected


def test_differences_are_paired_by_seed_and_tested_as_written_out():
  deltas = np.array([0.10, 0.14, 0.12, 0.16])
  found = differences({'base': BASE, 'one': shifted(*deltas)}, 'base')['one']
  error = deltas.std(ddof=1) / 2
  p = 2 * scipy.stats.t.sf(deltas.mean() / error, 3)
  half = scipy.stats.t.ppf(0.975, 3) * error
  assert found.values == pytest.approx(dict(enumerate(deltas)))
  assert found.p == pytest.approx(p, rel=1e-9) and found.adjusted_p == found.p
  assert found.estimate.low == pytest.approx(0.13 - half, rel=1e-9)
  assert found.estimate.high == pytest.approx(0.13 + half, rel=1e-9)
  assert found.verdict == 'higher'


def test_pairing_is_by_seed_not_by_place():
  ours = {seed: BASE[seed] + delta for seed, delta in ((3, -0.11), (0, -0.10), (2, -0.12))} | {
    7: 9.0
  }
  found = differences({'base': BASE, 'one': ours}, 'base')['one']
  assert found.values == pytest.approx({3: -0.11, 0: -0.10, 2: -0.12}) and found.verdict == 'lower'


def test_p_is_adjusted_after_holm_and_intervals_after_bonferroni():
  arms = {
    'base': BASE,
    'a': shifted(0.01, 0.03, 0.02, 0.01),
    'b': shifted(0.1, 0.13, 0.11, 0.1),
    'c': shifted(0.01, -0.03, 0.02, 0.01),
    'd': {},
  }
  found = differences(arms, 'base')
  b, a, c = (found[name].p for name in 'bac')
  assert b < a < c
  # Four comparisons are planned, of which one has no run yet.
  assert found['b'].adjusted_p == pytest.approx(4 * b)
  assert found['a'].adjusted_p == pytest.approx(max(4 * b, 3 * a))
  assert found['c'].adjusted_p == pytest.approx(min(1, max(3 * a, 2 * c)))
  assert found['d'].adjusted_p is None and found['d'].estimate.n == 0
  deltas = np.array([0.01, 0.03, 0.02, 0.01])
  half = scipy.stats.t.ppf(1 - 0.05 / 4 / 2, 3) * deltas.std(ddof=1) / 2
  assert found['a'].estimate.high - found['a'].estimate.mean == pytest.approx(half, rel=1e-9)


def test_nothing_is_claimed_whose_simultaneous_interval_includes_zero():
  # p = .044 alone; among two it is nothing, though the other one is beyond doubt.
  arms = {
    'base': BASE,
    'weak': shifted(0.01, 0.03, 0.02, 0.01),
    'strong': shifted(0.5, 0.51, 0.5, 0.49),
  }
  found = differences(arms, 'base')
  assert found['weak'].adjusted_p < 0.05 and found['weak'].estimate.low < 0
  assert found['weak'].verdict == 'undecided' and found['strong'].verdict == 'higher'


@pytest.mark.parametrize(
  'ours, reason',
  (
    ({}, '0 of the 3 seeds'),
    ({0: 3.0}, '1 of the 3 seeds'),
    ({0: 3.0, 1: 3.31}, '2 of the 3 seeds'),
    ({0: 3.0, 8: 3.0, 9: 3.0}, '1 of the 3 seeds'),
    ({0: 3.0, 1: None, 2: None}, '1 of the 3 seeds'),
    ({0: 3.0, 1: 3.3, 2: 2.9, 3: math.nan}, '1 of 4 runs failed'),
    ({0: 3.0, 1: 3.3, 2: math.inf, 3: math.nan}, '2 of 4 runs failed'),
    (dict(BASE), 'the same difference'),
    (shifted(-1.0, -1.0, -1.0 + 1e-7, -1.0), 'the same difference'),
  ),
)
def test_what_cannot_be_tested_is_shown_without_a_claim(ours, reason):
  found = differences({'base': BASE, 'one': ours}, 'base')['one']
  assert found.verdict == 'untested' and reason in found.reason
  assert found.p is None and found.adjusted_p is None


def test_a_baseline_that_diverged_leaves_nothing_to_claim():
  found = differences({'base': {**BASE, 3: math.nan}, 'one': shifted(1, 1.1, 1.2)}, 'base')['one']
  assert found.verdict == 'untested' and found.estimate.n == 3
  assert found.reason == '1 of 4 runs of base failed'


def test_a_sweep_of_one_arm_has_no_differences():
  assert differences({'base': BASE}, 'base') == {}


def test_false_claims_are_as_rare_as_stated():
  # Four arms that are all equal: in at most 5 % of sweeps may any be claimed. Of 400 sweeps with
  # a true 5 % more than 44 would be seen less than once in a million.
  random = np.random.default_rng(0)
  sweeps = 400
  claimed = 0
  for _ in range(sweeps):
    seed_S = random.normal(0, 1, 5)
    arms = {arm: dict(enumerate(seed_S + random.normal(0, 0.1, 5))) for arm in range(5)}
    found = differences(arms, 0)
    verdicts = [each.verdict in ('lower', 'higher') for each in found.values()]
    assert all(found[arm].adjusted_p < 0.05 for arm, claim in zip(found, verdicts) if claim)
    claimed += any(verdicts)
  assert 4 < claimed <= 44


def test_a_difference_of_three_deviations_is_found_with_five_seeds():
  # Student's t of a shift of 3 standard deviations has a power of .98 alone, of .86 among four.
  random = np.random.default_rng(1)
  found = 0
  for _ in range(200):
    seed_S = random.normal(0, 1, 5)
    arms = {
      arm: dict(enumerate(seed_S + random.normal(-0.4 * (arm == 1), 0.1, 5))) for arm in range(5)
    }
    found += differences(arms, 0)[1].verdict == 'lower'
  assert found > 120
