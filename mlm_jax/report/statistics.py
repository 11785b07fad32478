"""Means over seeds, and paired differences between the arms of a sweep.

Runs of the same seed share initialisation, data order and, where that is possible, noise,
so arms are compared in pairs: Student's t on the differences. The comparisons of one family (see
`comparisons`) are tested together: p is adjusted after Holm (1979) and the intervals of differences
are simultaneous after Bonferroni, so that with 95 % confidence all of them hold. Both count every
planned comparison, finished or not. A difference is claimed only from three pairs on, and where the
simultaneous interval excludes 0; the adjusted p is then below .05. Nothing is claimed of an arm
that lost a run, or against one that did: the remaining runs are a selection of those that went
well.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math
from typing import Any
from typing import TypeGuard

import numpy as np
import scipy.stats

from mlm_jax.report.comparisons import Comparison

LEVEL = 0.95
LEAST = 3  # pairs of runs that a claim needs
# Logs have seven digits: a smaller relative variation is only rounding.
_RESOLUTION = 1e-6

# {seed: number}; None where a run has none yet, NaN where it failed.
_Values = Mapping[int, float | None]
# {policy: {arm: its values}}.
Tables = Mapping[str, Mapping[str, _Values]]


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
  """An arm minus another one, over the seeds that both have.

  Attributes:
    values: {seed: difference}.
    estimate: of the mean difference; its interval is simultaneous over the family, and None where
      the comparison is none of a family.
    p: of a mean difference of 0, two-sided; None where nothing can be tested.
    adjusted_p: after Holm.
    verdict: 'lower', 'higher', 'undecided', or 'untested'.
    reason: why it is untested, else ''.
    text: the same over seeds and held-out text, see text_interval; None where it is not known.
  """

  values: dict[int, float]
  estimate: Estimate
  p: float | None
  adjusted_p: float | None
  verdict: str
  reason: str = ''
  text: Estimate | None = None


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


def level(count: int) -> float:
  """Returns the level of each of so many intervals that hold together with LEVEL, Bonferroni."""
  # m intervals that each miss with probability .05 / m all hold with at least .95.
  return 1 - (1 - LEVEL) / max(count, 1)


def together(tables: Tables, family: Sequence[Comparison]) -> dict[Comparison, Difference]:
  """Returns {comparison: Difference} of comparisons that are tested together.

  Args:
    tables: {policy: {arm: {seed: number}}}, an entry for every planned arm; None where a run has no
      number yet, NaN where it failed and will have none.
    family: comparisons of arms and policies in the tables.
  """
  paired, reasons = {}, {}
  for each in family:
    ours, theirs = tables[each.under][each.arm], tables[each.under][each.other]
    paired[each] = _pairs(ours, theirs)
    reasons[each] = _untestable(each.other, ours, theirs, paired[each])
  p_of = {each: None if reasons[each] else _p(paired[each]) for each in family}
  # Over all of them together, so only when p of each is known.
  adjusted = _holm(p_of)
  found = {}
  for each in family:
    deltas = _deltas(paired[each])
    mean = estimate(deltas.values(), level(len(family)))
    verdict = 'untested' if reasons[each] else _verdict(mean)
    found[each] = Difference(deltas, mean, p_of[each], adjusted[each], verdict, reasons[each])
  return found


def described(tables: Tables, comparison: Comparison, reason: str) -> Difference:
  """Returns the Difference of a comparison that is not tested, for a reason: it has no interval."""
  table = tables[comparison.under]
  deltas = _deltas(_pairs(table[comparison.arm], table[comparison.other]))
  mean = Estimate(len(deltas), estimate(deltas.values()).mean)
  return Difference(deltas, mean, None, None, 'untested', reason)


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


def _deltas(paired: Mapping[int, tuple[float, float]]) -> dict[int, float]:
  """Returns {seed: our value minus theirs}."""
  return {seed: ours - theirs for seed, (ours, theirs) in paired.items()}


def _untestable(
  other: str, ours: _Values, theirs: _Values, paired: Mapping[int, tuple[float, float]]
) -> str:
  """Returns why an arm cannot be tested against an `other`, '' if it can."""
  for of, values in (('', ours), (f' of {other}', theirs)):
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
