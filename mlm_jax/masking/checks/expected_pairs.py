"""What the definitions of the samplings choose of a trial's rows; numpy, in float64."""

import numpy as np

from mlm_jax.masking.checks import trial as trial_lib


def draw(trial: trial_lib.Trial, g: np.random.Generator) -> np.ndarray:
  """Returns bool_BL at units' first tokens: chosen by a draw of the policy's sampling."""
  if trial.policy.sampling == 'bernoulli':
    return trial.first_BL & (g.random(trial.pi_BL.shape) < trial.pi_BL)
  order_BL = np.argsort(np.where(trial.first_BL, g.random(trial.pi_BL.shape), 2), axis=1)
  in_order = lambda x_BL: np.take_along_axis(x_BL, order_BL, axis=1)
  length_BN, pi_BN = in_order(trial.length_BL), in_order(trial.pi_BL)
  choose = _in_window if trial.policy.selection.is_uniform else _by_pivot
  chosen_BL = np.zeros(order_BL.shape, bool)
  np.put_along_axis(chosen_BL, order_BL, choose(length_BN, pi_BN, trial.rate_B, g), axis=1)
  return chosen_BL & trial.first_BL


def _in_window(
  length_BN: np.ndarray, pi_BN: np.ndarray, rate_B: np.ndarray, g: np.random.Generator
) -> np.ndarray:
  """Returns bool_BN: units, in their order, that start in a window of a circle of the tokens."""
  del pi_BN
  n_B1 = np.maximum(length_BN.sum(axis=1, keepdims=True), 1)
  start_BN = np.cumsum(length_BN, axis=1) - length_BN
  place_B1 = g.random(n_B1.shape) * n_B1
  return (start_BN - place_B1) % n_B1 < rate_B[:, None] * n_B1


def _by_pivot(
  length_BN: np.ndarray, pi_BN: np.ndarray, rate_B: np.ndarray, g: np.random.Generator
) -> np.ndarray:
  """Returns bool_BN: units, in their order, by the pivotal method with their lengths balanced."""
  del rate_B
  rows = len(length_BN)
  row_B, number = np.arange(rows), (length_BN > 0).sum(axis=1).max()
  holds_BN = (length_BN * pi_BN).astype(np.float64)
  pivot_B = np.zeros(rows, int)
  for i in range(1, number):
    mine_B, all_B = holds_BN[row_B, pivot_B], length_BN[row_B, pivot_B]
    gain_B = np.minimum(all_B - mine_B, holds_BN[:, i])
    loss_B = np.minimum(mine_B, length_BN[:, i] - holds_BN[:, i])
    gains_B = g.random(rows) * (gain_B + loss_B) < loss_B
    change_B = np.where(gains_B, gain_B, -loss_B)
    holds_BN[row_B, pivot_B] += change_B
    holds_BN[:, i] -= change_B
    mine_B = holds_BN[row_B, pivot_B]
    decided_B = (mine_B < 1e-9) | (mine_B > all_B - 1e-9)
    pivot_B = np.where(decided_B, i, pivot_B)
  last_B = g.random(rows) * length_BN[row_B, pivot_B] < holds_BN[row_B, pivot_B]
  holds_BN[row_B, pivot_B] = last_B
  return holds_BN > 0.5
