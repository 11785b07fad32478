"""The outcome of one statistical test, and the tests themselves."""

import dataclasses
from typing import Any

import numpy as np
from scipy import special

FALSE_ALARM = 1e-6  # of a whole battery
TESTS = 40  # of a battery at most, of which each may use an equal part
EXPECTED = 20  # variance of a count at least, for chi-squared to hold
CELLS = 256  # of a chi-squared at most


@dataclasses.dataclass(frozen=True)
class Result:
  """One test's outcome.

  Attributes:
    name: the property.
    statistic: z, chi-squared, or the number of violations.
    p_value: two-sided, or of the upper tail for chi-squared; None where not one
      violation is allowed.
    passed: whether the property holds.
    detail: what was seen and what was expected.
  """

  name: str
  statistic: float
  p_value: float | None
  passed: bool
  detail: str

  def __str__(self) -> str:
    p = 'exact' if self.p_value is None else f'p = {self.p_value:.2g}'
    return f'{"ok  " if self.passed else "FAIL"}  {self.name:<38}  {p:<12}  {self.detail}'


def exact(name: str, violations: Any, detail: str = '') -> Result:
  """Of `violations`, a boolean array, none may hold."""
  count = int(np.sum(violations))
  return Result(
    name, count, None, count == 0, f'{count} violations' + (f'; {detail}' if detail else '')
  )


def normal(name: str, difference: Any, variance: Any, detail: str) -> Result:
  """Tests a difference from its mean, normal with the given variance."""
  if variance == 0:  # nothing was drawn: any difference is an error
    return exact(name, difference != 0, detail)
  z = difference / np.sqrt(variance)
  return _statistical(name, z, special.erfc(abs(z) / np.sqrt(2)), f'{detail}, z = {z:.2f}')


def corrected(name: str, z: float, p_value: float, detail: str) -> Result:
  """Tests a z of which the p-value is already that of all that it was picked from."""
  return _statistical(name, z, p_value, f'{detail}, z = {z:.2f}')


def chi_squared(name: str, difference_C: np.ndarray, variance_C: np.ndarray) -> Result:
  """Tests differences from their means, cell by cell, each with its variance.

  Cells with too small a variance for the approximation are left out.
  """
  used_C = variance_C >= EXPECTED
  difference_C, variance_C = difference_C[used_C], variance_C[used_C]
  if not len(variance_C):
    return exact(name, [], 'nothing to test')
  score_C = difference_C / np.sqrt(variance_C)
  detail = f'{len(score_C)} cells, z from {score_C.min():.1f} to {score_C.max():.1f}'
  return _statistical(
    name, np.sum(score_C**2), special.chdtrc(len(score_C), np.sum(score_C**2)), detail
  )


def multinomial(name: str, counts_C: np.ndarray, share_C: np.ndarray, detail: str = '') -> Result:
  """Tests counts that share out their sum; neighbouring cells are joined until large enough."""
  expected_C = share_C * counts_C.sum()
  cuts, room = [], 0.0
  for cell, expected in enumerate(expected_C):
    if room >= max(2 * EXPECTED, counts_C.sum() / CELLS):
      cuts.append(cell)
      room = 0.0
    room += expected
  if cuts and room < 2 * EXPECTED:
    cuts.pop()
  if not cuts:
    return exact(name, [], 'nothing to test')
  seen_G, expected_G = (np.add.reduceat(x_C, [0, *cuts]) for x_C in (counts_C, expected_C))
  # Pearson's statistic; one degree of freedom is lost, since the counts share out their sum.
  statistic = np.sum((seen_G - expected_G) ** 2 / expected_G)
  detail = f'{counts_C.sum():.0f} in {len(seen_G)} cells' + (detail and f'; {detail}')
  return _statistical(name, statistic, special.chdtrc(len(seen_G) - 1, statistic), detail)


def _statistical(name: str, statistic: Any, p_value: Any, detail: str) -> Result:
  # Each test may use an equal part of the battery's false alarms (Bonferroni).
  return Result(
    name, float(statistic), float(p_value), bool(p_value >= FALSE_ALARM / TESTS), detail
  )
