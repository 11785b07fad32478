"""What is chosen: whole units that are those of the text, and nothing special."""

from collections.abc import Iterator

import numpy as np

from mlm_jax.core import batches
from mlm_jax.masking import corruption
from mlm_jax.masking.checks import expected
from mlm_jax.masking.checks import results
from mlm_jax.masking.checks import trial as trial_lib


def exclusion(trial: trial_lib.Trial) -> Iterator[results.Result]:
  """Yields Results about special tokens, targets and inputs."""
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
  # Of random replacements only the possible ids are known; how often each is drawn is in
  # checks/corruption.py.
  same_BL = np.isin(action_BL, (corruption.NONE, corruption.KEEP))
  yield results.exact(
    'inputs follow the action',
    ((action_BL == corruption.MASK) & (inputs_BL != policy.table.mask_id))
    | (same_BL & (inputs_BL != targets_BL)),
  )
  possible = expected.replacements(policy)[0]
  yield results.exact('replacements are ordinary ids', replaced_BL & ~np.isin(inputs_BL, possible))


def units(trial: trial_lib.Trial) -> Iterator[results.Result]:
  """Yields Results about where units are, and that what becomes of one becomes of all of it."""
  masked, policy = trial.masked, trial.policy
  units_BL, first_BL = masked.units_BL, np.maximum(masked.units_BL, 0)
  number_BL = batches.segments(trial.batch.tokens_BL, trial.batch.starts_BS, -1)
  inside_BL = units_BL >= 0
  at_first = lambda values_BL: np.take_along_axis(np.asarray(values_BL), first_BL, axis=1)
  joined_BL = units_BL[:, 1:] == units_BL[:, :-1]
  starts_BL = np.concatenate([inside_BL[:, :1], ~joined_BL & inside_BL[:, 1:]], axis=1)
  if trial.text_BL is not None and not policy.unit.draws_lengths:
    yield results.exact('units are those of the text', units_BL != trial.text_BL)
  yield results.exact('units are unbroken', starts_BL != (units_BL == np.arange(units_BL.shape[1])))
  yield results.exact(
    'units stay in their document', inside_BL & (at_first(number_BL) != number_BL)
  )
  for name, what_BL in (('chosen', trial.corrupted_BL), ('predicted', masked.chosen_BL)):
    yield results.exact(f'units are {name} whole', inside_BL & (at_first(what_BL) != what_BL))
  if policy.corruption.by_unit:
    yield results.exact(
      'units have one action', inside_BL & (at_first(masked.action_BL) != masked.action_BL)
    )
