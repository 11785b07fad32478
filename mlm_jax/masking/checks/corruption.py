"""What becomes of the chosen: actions, predictions, replacements."""

from collections.abc import Iterator

import numpy as np

from mlm_jax.masking import corruption
from mlm_jax.masking.checks import expected
from mlm_jax.masking.checks import results
from mlm_jax.masking.checks import trial as trial_lib


def action_shares(trial: trial_lib.Trial) -> Iterator[results.Result]:
  """Yields Results about the shares of [MASK], random and kept."""
  policy, action_BL = trial.policy, trial.masked.action_BL
  by_unit = policy.corruption.by_unit
  action = action_BL[trial.corrupted_BL & (trial.first_BL if by_unit else True)]
  for number, name, share in zip(
    (corruption.MASK, corruption.RANDOM, corruption.KEEP),
    ('[MASK]', 'random', 'kept'),
    policy.corruption.probs_3,
  ):
    seen, share = np.sum(action == number), float(share)
    yield results.normal(
      f'share {name}',
      seen - share * len(action),
      len(action) * share * (1 - share),
      f'{seen / max(len(action), 1):.4f}, expected {share:.4f}',
    )
  if policy.unit.many_tokens and not by_unit:
    # Whichever action is the most even one; of neighbours in one unit.
    number = 1 + np.argmin(np.abs(np.asarray(policy.corruption.probs_3, np.float64) - 0.5))
    share = float(policy.corruption.probs_3[number - 1])
    pairs_BL = trial.corrupted_BL[:, 1:] & (
      trial.masked.units_BL[:, 1:] == trial.masked.units_BL[:, :-1]
    )
    # Of independent actions the product of neighbours' deviations has mean 0.
    score_BL = (action_BL == number) - share
    product = (score_BL[:, 1:] * score_BL[:, :-1])[pairs_BL].sum()
    yield results.normal(
      'actions differ within a unit',
      product,
      pairs_BL.sum() * (share * (1 - share)) ** 2,
      f'{pairs_BL.sum()} pairs of tokens',
    )


def predicted(trial: trial_lib.Trial) -> Iterator[results.Result]:
  """Yields Results about which of the chosen are predicted."""
  if trial.policy.max_predict_fraction == 1:
    return
  share = float(trial.policy.predict_fraction)
  # Units are counted by their first tokens, since a unit is predicted as a whole.
  drawn_BL = trial.first_BL & trial.corrupted_BL
  excess_BL = np.where(drawn_BL, trial.masked.chosen_BL - share, 0)
  yield results.normal(
    'share predicted',
    excess_BL.sum(),
    drawn_BL.sum() * share * (1 - share),
    f'{trial.masked.chosen_BL[drawn_BL].mean():.4f}, expected {share:.4f}',
  )
  total = lambda x_BL: np.bincount(trial.masked.action_BL.ravel(), weights=x_BL.ravel())
  yield results.chi_squared(
    'share predicted of each action', total(excess_BL), total(drawn_BL * share * (1 - share))
  )


def replacements(trial: trial_lib.Trial) -> Iterator[results.Result]:
  """Yields Results about the random ids."""
  policy = trial.policy
  ids, share = expected.replacements(policy)
  drawn = trial.masked.inputs_BL[trial.masked.action_BL == corruption.RANDOM]
  counts = np.bincount(np.clip(drawn, 0, policy.table.size - 1), minlength=policy.table.size)[ids]
  name = (
    'replacements are uniform over ids'
    if policy.corruption.alias is None
    else 'replacements are as frequent as in the text'
  )
  yield results.multinomial(name, counts.astype(np.float64), share, f'{len(ids)} ids')
