"""What a sweep can find: the difference that its seeds detect, and the seeds that one takes.

A comparison is a paired t-test over n seeds, one of m that hold together with 95 % (Bonferroni, as
the report claims), so at the level .05 / m. Where the true difference is d standard deviations of
the paired differences, t is noncentral with n - 1 degrees of freedom and noncentrality d sqrt(n)
(Cohen 1988, chapter 2).
"""

from collections.abc import Sequence
import math

import numpy as np
import scipy.optimize
import scipy.stats

from mlm_jax import config as config_lib
from mlm_jax.report import statistics
from mlm_jax.report import sweep_results

POWER = 0.8  # of what is called detectable
_MOST_SEEDS = 10_000
# A pilot whose pairs do not differ would promise that every difference is found.
_LEAST_SD = 1e-9


def power(difference: float, seeds: int, comparisons: int) -> float:
  """Returns the probability that a difference is found: claimed, and in its direction.

  Args:
    difference: in standard deviations of the paired differences.
    seeds: n, two at least.
    comparisons: m, those that are tested together.
  """
  bound = scipy.stats.t.isf((1 - statistics.level(comparisons)) / 2, seeds - 1)
  # The tail on its side alone: a claim in the wrong direction finds nothing.
  return float(scipy.stats.nct.sf(bound, seeds - 1, abs(difference) * math.sqrt(seeds)))


def detectable(seeds: int, comparisons: int) -> float:
  """Returns the difference that is found with POWER, in standard deviations of the pairs."""
  missing = lambda difference: power(difference, seeds, comparisons) - POWER
  most = 1.0
  while missing(most) < 0:
    most *= 2
  return float(scipy.optimize.root_scalar(missing, bracket=(0.0, most)).root)


def seeds_for(difference: float, comparisons: int) -> int | None:
  """Returns the least seeds with which a difference is found with POWER; None if too many.

  Args:
    difference: in standard deviations of the paired differences.
    comparisons: that are tested together.
  """
  # Less a rounding error, so that what some seeds detect takes these seeds.
  enough = lambda seeds: power(difference, seeds, comparisons) >= POWER - 1e-9
  if not enough(_MOST_SEEDS):
    return None
  # Power grows with the seeds: bisection between what is too few and what is enough.
  few, many = statistics.LEAST - 1, _MOST_SEEDS
  while many - few > 1:
    middle = (few + many) // 2
    few, many = (few, middle) if enough(middle) else (middle, many)
  return many


def pilot(sweep: sweep_results.Sweep, metric: str) -> tuple[float, int]:
  """Returns (standard deviation of the paired differences, its degrees of freedom) of a sweep.

  Pooled over the arms against the baseline; the negative control, which may vary otherwise, is
  left out where there are others.

  Raises:
    UserError: no arm has two seeds with the baseline, or these do not vary.
  """
  values = {
    arm: {run.seed: run.values.get(metric) for run in sweep.of(arm, 'done')} for arm in sweep.arms
  }
  base = values.pop(sweep.baseline)
  if len(values) > 1:
    values.pop(sweep.negative_control or '', None)
  deltas = [_paired(of_arm, base) for of_arm in values.values()]
  squares = sum(float(((each - each.mean()) ** 2).sum()) for each in deltas if len(each))
  freedom = sum(max(len(each) - 1, 0) for each in deltas)
  sd = math.sqrt(squares / freedom) if freedom else 0.0
  if sd < _LEAST_SD:
    raise config_lib.UserError(
      f'--pilot={sweep.folder}: no arm has two finished seeds whose {metric} differs from that of '
      f'{sweep.baseline} by different amounts; give the standard deviation with --sd'
    )
  return sd, freedom


def _paired(ours: dict, theirs: dict) -> np.ndarray:
  """Returns the differences over the seeds where both are numbers."""
  return np.array(
    [
      value - other
      for seed, value in ours.items()
      if statistics.is_finite(value) and statistics.is_finite(other := theirs.get(seed))
    ]
  )


def lines(
  seeds: int, comparisons: int, sd: float | None, source: str, difference: float | None
) -> Sequence[str]:
  """Returns lines on what a plan can find.

  Args:
    seeds, comparisons: of the plan.
    sd: of the paired differences; None where it is not known.
    source: where the standard deviation is from.
    difference: of which the seeds are asked; None for none.
  """
  together = f'{comparisons} comparisons at 5 % together' if comparisons > 1 else 'at 5 %'
  unit = 1.0 if sd is None else sd
  of_sd = ' standard deviations of the paired differences' if sd is None else ''
  text = []
  if seeds >= statistics.LEAST:
    text.append(
      f'{seeds} seeds find a difference of {detectable(seeds, comparisons) * unit:.3g}{of_sd} with '
      f'power {POWER} (paired t, {together}'
      + ('; --sd or --pilot gives it in units of the metric)' if sd is None else f'; {source})')
    )
  if difference is not None:
    needed = seeds_for(difference / unit, comparisons)
    takes = f'takes {needed:,} seeds' if needed else f'takes more than {_MOST_SEEDS:,} seeds'
    text.append(f'a difference of {difference:g} {takes}')
  return text
