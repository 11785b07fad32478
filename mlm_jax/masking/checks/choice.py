"""What is chosen: whole units, nothing special, each at its probability, rows within their
budget.
"""

import numpy as np

from mlm_jax.core import batches
from mlm_jax.masking import corruption
from mlm_jax.masking.checks import laws
from mlm_jax.masking.checks import results
from mlm_jax.masking.checks import weights

_LONGEST_CELL = 8  # lengths of units up to it have a cell each, above it each doubling


def exclusion(trial):
  policy, masked = trial.policy, trial.masked
  special_BL = np.isin(trial.batch.tokens_BL, policy.table.special_ids)
  action_BL, inputs_BL, targets_BL = masked.action_BL, masked.inputs_BL, masked.targets_BL
  replaced_BL = action_BL == corruption.RANDOM
  yield results.exact(
    'special tokens and padding stay', (masked.chosen_BL | trial.corrupted_BL) & special_BL
  )
  yield results.exact('only special tokens are no unit', (masked.units_BL < 0) != special_BL)
  yield results.exact('targets are the original tokens', targets_BL != trial.batch.tokens_BL)
  if policy.max_predict_fraction < 1:
    yield results.exact('only the corrupted are predicted', masked.chosen_BL & ~trial.corrupted_BL)
  else:
    yield results.exact(
      'an action where chosen, only there', trial.corrupted_BL != masked.chosen_BL
    )
  same_BL = np.isin(action_BL, (corruption.NONE, corruption.KEEP))
  yield results.exact(
    'inputs follow the action',
    ((action_BL == corruption.MASK) & (inputs_BL != policy.table.mask_id))
    | (same_BL & (inputs_BL != targets_BL)),
  )
  possible = laws.replacements(policy)[0]
  yield results.exact('replacements are ordinary ids', replaced_BL & ~np.isin(inputs_BL, possible))


def units(trial):
  masked, policy = trial.masked, trial.policy
  units_BL, first_BL = masked.units_BL, np.maximum(masked.units_BL, 0)
  number_BL = batches.segments(trial.batch.tokens_BL, trial.batch.starts_BS, -1)
  inside_BL = units_BL >= 0
  at_first = lambda values_BL: np.take_along_axis(np.asarray(values_BL), first_BL, axis=1)
  joined_BL = units_BL[:, 1:] == units_BL[:, :-1]
  starts_BL = np.concatenate([inside_BL[:, :1], ~joined_BL & inside_BL[:, 1:]], axis=1)
  if policy.unit != 'span':
    yield results.exact('units are those of the text', units_BL != trial.text_BL)
  yield results.exact('units are unbroken', starts_BL != (units_BL == np.arange(units_BL.shape[1])))
  yield results.exact(
    'units stay in their document', inside_BL & (at_first(number_BL) != number_BL)
  )
  for name, what_BL in (('chosen', trial.corrupted_BL), ('predicted', masked.chosen_BL)):
    yield results.exact(f'units are {name} whole', inside_BL & (at_first(what_BL) != what_BL))
  if policy.unit != 'token' and policy.corruption_per == 'unit':
    yield results.exact(
      'units have one action', inside_BL & (at_first(masked.action_BL) != masked.action_BL)
    )


def rate(name, trial):
  """Returns the Result of how many tokens are chosen in all."""
  total = max(trial.length_BL.sum(), 1)
  seen, expected = trial.corrupted_BL.sum(), (trial.pi_BL * trial.length_BL).sum()
  variance_B = laws.variance(trial.policy, trial.length_BL, trial.pi_BL)
  return results.normal(
    name,
    seen - expected,
    variance_B.sum(),
    f'{seen / total:.5f} of the tokens, expected {expected / total:.5f}',
  )


def rates(trial):
  def uniform(name, cells_BL):
    total = lambda x_BL: np.bincount(cells_BL.ravel(), weights=x_BL.ravel())
    return results.chi_squared(name, total(trial.excess_BL), total(trial.variance_BL))

  rows, length = trial.first_BL.shape
  yield rate('rate', trial)
  if trial.policy.unit != 'token':
    number = max(trial.first_BL.sum(), 1)
    seen, expected = (
      (trial.corrupted_BL & trial.first_BL).sum() / number,
      trial.pi_BL.sum() / number,
    )
    yield results.normal(
      'rate of units',
      trial.excess_BL.sum(),
      trial.variance_BL.sum(),
      f'{seen:.5f} of the units, expected {expected:.5f}',
    )
  yield uniform(
    'rate in each tenth of the row', np.tile(np.arange(length) * 10 // length, (rows, 1))
  )
  size = trial.policy.table.size
  yield uniform(
    'rate of each group of ids', trial.masked.targets_BL * min(results.CELLS, size) // size
  )
  if trial.policy.unit != 'token':
    longer_BL = np.log2(np.maximum(trial.length_BL, _LONGEST_CELL) / _LONGEST_CELL).astype(int)
    yield uniform(
      'rate of each unit length', np.minimum(trial.length_BL, _LONGEST_CELL) + longer_BL
    )
  if trial.policy.weight_V is not None:
    given_V, stated_V = (
      np.asarray(trial.policy.weight_V, np.float64),
      weights.of_pieces(trial.policy),
    )
    yield results.exact(
      'pieces weigh as their counts say',
      ~np.isclose(given_V / given_V.max(), stated_V, rtol=1e-4, atol=1e-30),
    )
  if trial.policy.selection != 'uniform':
    yield uniform('rate of each probability', (trial.pi_BL * 32).astype(int))
    missing_BL = trial.certain_BL & ~trial.corrupted_BL
    extra_BL = trial.first_BL & (trial.pi_BL == 0) & trial.corrupted_BL
    yield results.exact('certain and impossible units', missing_BL | extra_BL)


def budget(trial):
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
    longest_B = trial.length_BL.max(axis=1)
    yield results.exact(
      'each row keeps its budget',
      (np.abs(excess_B) >= longest_B + 0.01) & (longest_B > 0),
      f'off by {np.abs(excess_B).max():.2f} tokens at most',
    )
  else:
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


def row_rates(trial):
  low, high = sorted((float(trial.policy.rate), float(trial.policy.final_rate)))
  yield results.exact(
    'rates of rows keep their bounds', (trial.rate_B < low) | (trial.rate_B > high)
  )
  cell_B = np.clip((trial.rate_B - low) / (high - low) * 16, 0, 15).astype(int)
  yield results.multinomial(
    'rates of rows are uniform',
    np.bincount(cell_B, minlength=16).astype(np.float64),
    np.full(16, 1 / 16),
  )
