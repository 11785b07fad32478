"""How much is chosen: each unit at its probability, and rows within their budget."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mlm_jax.masking.checks import expected_weights
from mlm_jax.masking.checks import results
from mlm_jax.masking.checks import trial as trial_lib

_LONGEST_CELL = 8  # lengths of units up to it have a cell each, above it each doubling


def rate(name: str, trial: trial_lib.Trial) -> results.Result:
  """Returns the Result of how many tokens are chosen in all."""
  total = max(trial.length_BL.sum(), 1)
  seen, stated = trial.corrupted_BL.sum(), (trial.pi_BL * trial.length_BL).sum()
  excess_B = (trial.excess_BL * trial.length_BL).sum(axis=1)
  if trial.policy.sampling == 'bernoulli':
    variance_B = (trial.length_BL**2 * trial.variance_BL).sum(axis=1)
  else:
    # Under a fixed count the units of a row depend on each other, in a way that has no closed form;
    # rows do not, so what they are off by shows how much their sum may be.
    variance_B = excess_B**2
  return results.normal(
    name,
    excess_B.sum(),
    variance_B.sum(),
    f'{seen / total:.5f} of the tokens, expected {stated / total:.5f}',
  )


def rates(trial: trial_lib.Trial) -> Iterator[results.Result]:
  """Yields Results about rates, in all and by place, id, length of unit and probability."""

  def uniform(name: str, cells_BL: np.ndarray) -> results.Result:
    total = lambda x_BL: np.bincount(cells_BL.ravel(), weights=x_BL.ravel())
    return results.chi_squared(name, total(trial.excess_BL), total(trial.variance_BL))

  rows, length = trial.first_BL.shape
  yield rate('rate', trial)
  if trial.policy.unit.many_tokens:
    number = max(trial.first_BL.sum(), 1)
    seen, stated = (
      (trial.corrupted_BL & trial.first_BL).sum() / number,
      trial.pi_BL.sum() / number,
    )
    yield results.normal(
      'rate of units',
      trial.excess_BL.sum(),
      trial.variance_BL.sum(),
      f'{seen:.5f} of the units, expected {stated:.5f}',
    )
  yield uniform(
    'rate in each tenth of the row', np.tile(np.arange(length) * 10 // length, (rows, 1))
  )
  size = trial.policy.table.size
  yield uniform(
    'rate of each group of ids', trial.masked.targets_BL * min(results.CELLS, size) // size
  )
  if trial.policy.unit.many_tokens:
    # Long units are few: with a cell for each length none would have enough of them.
    longer_BL = np.log2(np.maximum(trial.length_BL, _LONGEST_CELL) / _LONGEST_CELL).astype(int)
    yield uniform(
      'rate of each unit length', np.minimum(trial.length_BL, _LONGEST_CELL) + longer_BL
    )
  stated_V = expected_weights.of_pieces(trial.policy.selection, trial.policy.table)
  if stated_V is not None:
    selection: Any = trial.policy.selection  # by pieces, so it has `weight_V`
    given_V = np.asarray(selection.weight_V, np.float64)
    yield results.exact(
      'pieces weigh as their counts say',
      ~np.isclose(given_V / given_V.max(), stated_V, rtol=1e-4, atol=1e-30),
    )
  if not trial.policy.selection.is_uniform:
    yield uniform('rate of each probability', (trial.pi_BL * 32).astype(int))
    # What has the probability 1 or 0 is not drawn, so a single exception is a fault.
    missing_BL = trial.certain_BL & ~trial.corrupted_BL
    extra_BL = trial.first_BL & (trial.pi_BL == 0) & trial.corrupted_BL
    yield results.exact('certain and impossible units', missing_BL | extra_BL)


def budget(trial: trial_lib.Trial) -> Iterator[results.Result]:
  """Yields Results about the tokens of each row, and the prediction buffer."""
  policy, masked, pi_BL = trial.policy, trial.masked, trial.pi_BL
  cap = policy.cap(*masked.units_BL.shape)
  yield results.exact(
    'the prediction buffer suffices',
    masked.chosen_BL.sum() > cap,
    f'{masked.chosen_BL.sum()} tokens, room for {cap}',
  )
  if policy.sampling == 'fixed_count':
    expected_B = (pi_BL * trial.length_BL).sum(axis=1)
    excess_B = trial.corrupted_BL.sum(axis=1) - expected_B
    # Systematic sampling is off by less than the longest unit; 0.01 is for rounding of pi.
    longest_B = trial.length_BL.max(axis=1)
    yield results.exact(
      'each row keeps its budget',
      (np.abs(excess_B) >= longest_B + 0.01) & (longest_B > 0),
      f'off by {np.abs(excess_B).max():.2f} tokens at most',
    )
  else:
    # The square of a sum of independent draws has the mean v, its variance, and itself the
    # variance 2 v^2 + k, k the sum of the draws' fourth cumulants v_i (1 - 6 v_i).
    variance_B = trial.variance_BL.sum(axis=1)
    used_B = variance_B > 0.5
    squares_B = trial.excess_BL.sum(axis=1)[used_B] ** 2 / variance_B[used_B]
    fourth_B = (trial.variance_BL * (1 - 6 * trial.variance_BL)).sum(axis=1)[used_B]
    yield results.normal(
      'counts vary as independent draws',
      np.sum(squares_B - 1),
      np.sum(2 + fourth_B / variance_B[used_B] ** 2),
      f'{squares_B.sum() / max(used_B.sum(), 1):.3f} of the binomial variance',
    )


def row_rates(trial: trial_lib.Trial) -> Iterator[results.Result]:
  """Yields Results about the rates that rows have drawn."""
  low, high = sorted(map(float, trial.policy.schedule.ends()))
  yield results.exact(
    'rates of rows keep their bounds', (trial.rate_B < low) | (trial.rate_B > high)
  )
  cell_B = np.clip((trial.rate_B - low) / (high - low) * 16, 0, 15).astype(int)
  yield results.multinomial(
    'rates of rows are uniform',
    np.bincount(cell_B, minlength=16).astype(np.float64),
    np.full(16, 1 / 16),
  )
