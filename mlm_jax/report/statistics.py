"""Means over seeds, and paired differences between the arms of a sweep.

Runs of the same seed share initialisation, data order and, where that is possible, noise,
so arms are compared in pairs: Student's t on the differences. All arms are tested together, and
under all the masks that they are scored under: p is adjusted after Holm (1979) and the intervals of
differences are simultaneous after Bonferroni, so that with 95 % confidence all of them hold. Both
count every planned arm, finished or not. A difference is claimed only from three pairs on, and
where the simultaneous interval excludes 0; the adjusted p is then below .05. Nothing is claimed of
an arm that lost a run, or against a baseline that did: the remaining runs are a selection of those
that went well.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import math
from typing import Any
from typing import TypeGuard

import numpy as np
import scipy.stats

LEVEL = 0.95
LEAST = 3  # pairs of runs that a claim needs
# Logs have seven digits: a smaller relative variation is only rounding.
_RESOLUTION = 1e-6

# {seed: number}; None where a run has none yet, NaN where it failed.
_Values = Mapping[int, float | None]


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A mean over seeds and its Student interval.

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

  values: dict[int, float]
  estimate: Estimate
  p: float | None
  adjusted_p: float | None
  verdict: str
  reason: str = ''


def estimate(values: Iterable[float | None], level: float = LEVEL) -> Estimate:
  """Returns the Estimate of the finite ones among values."""
  finite = np.array([value for value in values if is_finite(value)], np.float64)
  n = len(finite)
  if n == 0:
    return Estimate(0)
  mean = float(finite.mean())
  if n == 1:  # one value says nothing of the spread
    return Estimate(1, mean)
  # ddof=1 for the unbiased variance of a sample, n - 1 degrees of freedom for its estimate.
  half = scipy.stats.t.ppf((1 + level) / 2, n - 1) * finite.std(ddof=1) / math.sqrt(n)
  return Estimate(n, mean, float(mean - half), float(mean + half))


def differences(values: Mapping[str, _Values], baseline: str) -> dict[str, Difference]:
  """Returns {arm: Difference} for all arms but the baseline.

  Args:
    values: {arm: {seed: number}}, an entry for every planned arm; None where a run has no
      number yet, NaN where it failed and will have none.
    baseline: one of the arms.
  """
  return differences_under({'': values}, baseline)['']


def differences_under(
  tables: Mapping[str, Mapping[str, _Values]], baseline: str
) -> dict[str, dict[str, Difference]]:
  """Returns {table: what `differences` gives}, of several tables of the same runs.

  All arms in all tables are tested together.
  """
  cells = [(name, arm) for name, values in tables.items() for arm in values if arm != baseline]
  # Bonferroni: m intervals that each miss with probability .05 / m all hold with at least .95.
  level = 1 - (1 - LEVEL) / max(len(cells), 1)
  paired, reasons, p_of = {}, {}, {}
  for cell in cells:
    name, arm = cell
    ours, theirs = tables[name][arm], tables[name][baseline]
    paired[cell] = _pairs(ours, theirs)
    reasons[cell] = _untestable(ours, theirs, paired[cell])
    p_of[cell] = None if reasons[cell] else _p(paired[cell])
  # Over all of them together, so only when p of each is known.
  adjusted = _holm(p_of)
  found: dict[str, dict[str, Difference]] = {name: {} for name in tables}
  for cell in cells:
    name, arm = cell
    deltas = {seed: ours - theirs for seed, (ours, theirs) in paired[cell].items()}
    mean = estimate(deltas.values(), level)
    found[name][arm] = Difference(
      deltas,
      mean,
      p_of[cell],
      adjusted[cell],
      'untested' if reasons[cell] else _verdict(mean),
      reasons[cell],
    )
  return found


def is_finite(value: float | None) -> TypeGuard[float]:
  """Whether a value is known and finite."""
  return value is not None and math.isfinite(value)


def _pairs(ours: _Values, theirs: _Values) -> dict[int, tuple[float, float]]:
  """Returns {seed: (our value, their value)} of the seeds where both are numbers."""
  return {
    seed: (value, other)
    for seed, value in ours.items()
    if is_finite(value) and is_finite(other := theirs.get(seed))
  }


def _untestable(ours: _Values, theirs: _Values, paired: Mapping[int, tuple[float, float]]) -> str:
  """Returns why an arm cannot be tested, '' if it can."""
  for of, values in (('', ours), (' of the baseline', theirs)):
    # Not None: a run that is not finished may still end well.
    lost = sum(value is not None and not math.isfinite(value) for value in values.values())
    if lost:
      return f'{lost} of {len(values)} runs{of} failed'
  if len(paired) < LEAST:
    return f'{len(paired)} of the {LEAST} seeds that a claim needs'
  both = np.array(list(paired.values()))
  delta = both[:, 0] - both[:, 1]
  # Without variance t is infinite and p is 0, whatever the number of seeds: two runs that share
  # all their randomness, or settings that change nothing, are not evidence.
  if np.ptp(delta) <= _RESOLUTION * np.abs(both).max():
    return 'the same difference at every seed: nothing to test against'
  return ''


def _p(paired: Mapping[int, tuple[float, float]]) -> float:
  ours, theirs = zip(*paired.values())
  return float(scipy.stats.ttest_rel(ours, theirs).pvalue)


def _holm(p_of: Mapping[Any, float | None]) -> dict[Any, float | None]:
  """Returns {cell: adjusted p}; one that is not tested yet counts as one with p = 1.

  So an adjusted p can only fall when the other arms are finished.
  """
  filled = {arm: 1.0 if p is None else p for arm, p in p_of.items()}
  adjusted, largest = {}, 0.0
  # The k-th smallest of m is multiplied by m - k + 1; none falls below one before it, or passes 1.
  for before, cell in enumerate(sorted(filled, key=filled.__getitem__)):
    largest = max(largest, min(1.0, (len(filled) - before) * filled[cell]))
    adjusted[cell] = largest
  return {cell: None if p is None else adjusted[cell] for cell, p in p_of.items()}


def _verdict(mean: Estimate) -> str:
  assert mean.mean is not None and mean.low is not None and mean.high is not None  # 3 pairs
  # By the interval alone: where it excludes 0, Holm's p is below .05 too, since Bonferroni is the
  # stricter of the two.
  if mean.low <= 0 <= mean.high:
    return 'undecided'
  return 'lower' if mean.mean < 0 else 'higher'
