"""Means over seeds, and paired differences between the arms of a sweep.

Runs of the same seed share initialisation, data order and, where that is possible, noise,
so arms are compared pair by pair: Student's t on the differences. The question is asked of
all arms at once: p is adjusted after Holm (1979) and the intervals of differences are
simultaneous after Bonferroni, so that with 95 % confidence all of them hold together. Both
count every planned arm, finished or not. A difference is claimed only where there are three
pairs or more and the simultaneous interval leaves 0 out; the adjusted p is then below .05.
Nothing is claimed of an arm that lost a run, or beside a baseline that did: the runs that
are left are those that went well.
"""

import dataclasses
import math

import numpy as np
import scipy.stats

LEVEL = 0.95
LEAST = 3  # pairs of runs that a claim needs
# Logs have seven digits: what varies less does not vary.
_RESOLUTION = 1e-6


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A mean over seeds and Student's interval of it.

  Attributes:
    n: how many values.
    mean: None without values.
    low, high: the interval; None with fewer than two values.
  """

  n: int
  mean: float | None = None
  low: float | None = None
  high: float | None = None


@dataclasses.dataclass(frozen=True)
class Difference:
  """An arm minus the baseline, over the seeds that both have.

  Attributes:
    values: {seed: difference}.
    estimate: of the mean difference; its interval is simultaneous over the arms.
    p: of a mean difference of 0, two-sided; None where nothing can be tested.
    adjusted_p: after Holm.
    verdict: 'lower', 'higher', 'undecided', or 'untested'.
    reason: why it is untested, else ''.
  """

  values: dict
  estimate: Estimate
  p: float | None
  adjusted_p: float | None
  verdict: str
  reason: str = ''


def estimate(values, level=LEVEL):
  """Returns the Estimate of the finite ones among values."""
  values = np.array([value for value in values if is_finite(value)], np.float64)
  n = len(values)
  if n == 0:
    return Estimate(0)
  mean = float(values.mean())
  if n == 1:
    return Estimate(1, mean)
  half = scipy.stats.t.ppf((1 + level) / 2, n - 1) * values.std(ddof=1) / math.sqrt(n)
  return Estimate(n, mean, float(mean - half), float(mean + half))


def differences(values, baseline):
  """Returns {arm: Difference} for all arms but the baseline.

  Args:
    values: {arm: {seed: number}}, an entry for every planned arm; None where a run has no
      number yet, NaN where it failed and will have none.
    baseline: one of the arms.
  """
  arms = [arm for arm in values if arm != baseline]
  level = 1 - (1 - LEVEL) / max(len(arms), 1)
  paired, reasons, p_of = {}, {}, {}
  for arm in arms:
    paired[arm] = _pairs(values[arm], values[baseline])
    reasons[arm] = _untestable(values[arm], values[baseline], paired[arm])
    p_of[arm] = None if reasons[arm] else _p(paired[arm])
  adjusted = _holm(p_of)
  found = {}
  for arm in arms:
    deltas = {seed: ours - theirs for seed, (ours, theirs) in paired[arm].items()}
    mean = estimate(deltas.values(), level)
    found[arm] = Difference(
      deltas,
      mean,
      p_of[arm],
      adjusted[arm],
      'untested' if reasons[arm] else _verdict(mean),
      reasons[arm],
    )
  return found


def is_finite(value):
  """Returns whether a value is there and a number."""
  return value is not None and math.isfinite(value)


def _pairs(ours, theirs):
  """Returns {seed: (our value, their value)} of the seeds where both are numbers."""
  return {
    seed: (ours[seed], theirs[seed])
    for seed in ours
    if seed in theirs and is_finite(ours[seed]) and is_finite(theirs[seed])
  }


def _untestable(ours, theirs, paired):
  """Returns why an arm cannot be tested, '' if it can."""
  for of, values in (('', ours), (' of the baseline', theirs)):
    lost = sum(value is not None and not math.isfinite(value) for value in values.values())
    if lost:
      return f'{lost} of {len(values)} runs{of} failed'
  if len(paired) < LEAST:
    return f'{len(paired)} of the {LEAST} seeds that a claim needs'
  both = np.array(list(paired.values()))
  delta = both[:, 0] - both[:, 1]
  if np.ptp(delta) <= _RESOLUTION * np.abs(both).max():
    return 'the same difference at every seed: nothing to test against'
  return ''


def _p(paired):
  ours, theirs = zip(*paired.values())
  return float(scipy.stats.ttest_rel(ours, theirs).pvalue)


def _holm(p_of):
  """Returns {arm: adjusted p}; an arm that is not tested yet counts as one with p = 1."""
  from statsmodels.stats import multitest  # a second to import, and only reports need it

  if not p_of:
    return {}
  adjusted = multitest.multipletests(
    [1.0 if p is None else p for p in p_of.values()], method='holm'
  )[1]
  return {arm: None if p is None else float(each) for (arm, p), each in zip(p_of.items(), adjusted)}


def _verdict(mean):
  if mean.low <= 0 <= mean.high:
    return 'undecided'
  return 'lower' if mean.mean < 0 else 'higher'
