"""What a policy states, computed apart from the device's code: in float64, by other algorithms.

Taken from the policy itself are what rates rows have drawn (tested are their bounds, that they
are uniform, and that masks follow them) and what `expected_weights` names.
"""

import functools
from typing import Any

import numpy as np

from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.masking import policy as policy_lib
from mlm_jax.masking import schedules
from mlm_jax.masking.checks import expected_weights


def rate(policy: policy_lib.Policy, progress: float) -> float | None:
  """Returns the stated rate at a share of the training; None where each row has its own."""
  if policy.schedule.per_row:
    return None
  a, b = policy.schedule.ends()
  return _rate(policy.schedule, float(a), float(b), progress)


@functools.singledispatch
def _rate(schedule: schedules.Schedule, a: float, b: float, t: float) -> float:
  """Returns the rate on the way from a to b; of a schedule not known here, what it says itself."""
  del a, b
  return float(schedule.mean_at(t))


@_rate.register
def _(schedule: schedules.Constant, a, b, t):
  return a


@_rate.register
def _(schedule: schedules.Linear, a, b, t):
  return a + (b - a) * t


@_rate.register
def _(schedule: schedules.Cosine, a, b, t):
  return b + (a - b) * (1 + np.cos(np.pi * t)) / 2


@_rate.register
def _(schedule: schedules.Polynomial, a, b, t):
  return a + (b - a) * t ** float(schedule.rate_power)


@_rate.register
def _(schedule: schedules.EarlyPolynomial, a, b, t):
  return b + (a - b) * (1 - t) ** float(schedule.rate_power)


@_rate.register
def _(schedule: schedules.Step, a, b, t):
  return a if t < 0.5 else b


def rates(
  policy: policy_lib.Policy, seed: int, batch: batches.Batch, progress: float
) -> np.ndarray:
  """Returns float64 rate_B: what is stated, or what each row has drawn."""
  stated = rate(policy, progress)
  if stated is not None:
    return np.full(len(batch.visit_B), stated)
  return np.asarray(policy_lib.row_rates(policy, rng.root_key(seed), batch, progress), np.float64)


def lengths(units_BL: np.ndarray) -> np.ndarray:
  """Returns int_BL: at a unit's first token its number of tokens, elsewhere 0."""
  B, L = units_BL.shape
  # First tokens numbered over the whole batch, so that one count does for all rows.
  first_BL = units_BL + L * np.arange(B)[:, None]
  return np.bincount(first_BL[units_BL >= 0], minlength=B * L).reshape(B, L)


def demand(
  policy: policy_lib.Policy, batch: batches.Batch, units_BL: np.ndarray, rate_B: np.ndarray
) -> np.ndarray:
  """Returns float64_BL, at each unit's first token c weight, elsewhere 0.

  Its probability is min(1, c weight).

  c is such that the expected number of tokens is rate * n; 1e9 for units that weigh
  anything where all such together are too few.
  """
  length_BL = lengths(units_BL)
  weight_BL = expected_weights.of_tokens(policy, batch, units_BL)
  if weight_BL is None:
    return np.where(length_BL > 0, rate_B[:, None], 0.0)
  weight_BL = np.where(length_BL > 0, _heaviest(weight_BL, units_BL), 0)
  # From the heaviest unit on: those that are certain come first.
  order_BL = np.argsort(-weight_BL, axis=1, kind='stable')
  sorted_BL, tokens_BL = (
    np.take_along_axis(x_BL, order_BL, axis=1) for x_BL in (weight_BL, length_BL)
  )
  # c if the units before this one, heavier than it, are certain and it and those behind are not.
  certain_BL = np.cumsum(tokens_BL, axis=1) - tokens_BL
  rest_BL = np.cumsum((sorted_BL * tokens_BL)[:, ::-1], axis=1)[:, ::-1]
  budget_B1 = (rate_B * length_BL.sum(axis=1))[:, None]
  factor_BL = (budget_B1 - certain_BL) / np.where(rest_BL > 0, rest_BL, 1)
  fits_BL = (factor_BL * sorted_BL <= 1) & (rest_BL > 0)
  # The first place where what follows is not certain: with fewer certain units c would be too
  # large for the next one.
  factor_B1 = np.take_along_axis(factor_BL, fits_BL.argmax(axis=1)[:, None], axis=1)
  return np.where(
    fits_BL.any(axis=1)[:, None], factor_B1 * weight_BL, np.where(weight_BL > 0, 1e9, 0)
  )


def _heaviest(weight_BL: np.ndarray, units_BL: np.ndarray) -> np.ndarray:
  """Returns float64_BL: at a unit's first token the largest weight among its tokens."""
  heaviest_BL = np.zeros(weight_BL.shape)
  rows_BL = np.broadcast_to(np.arange(len(units_BL))[:, None], units_BL.shape)
  inside_BL = units_BL >= 0
  np.maximum.at(heaviest_BL, (rows_BL[inside_BL], units_BL[inside_BL]), weight_BL[inside_BL])
  return heaviest_BL


def unit_lengths(unit: Any) -> np.ndarray:
  """Returns float64 probabilities of the lengths 1, 2, ... of a unit that draws_lengths."""
  return np.diff([0, *np.asarray(unit.below_K) / 2.0**32, 1])


def replacements(policy: policy_lib.Policy) -> tuple[np.ndarray, np.ndarray]:
  """Returns (ids, share): what random replacements may be, and how often each is."""
  ids = np.setdiff1d(np.arange(policy.table.size), policy.table.special_ids)
  counts = np.asarray(policy.table.counts_V, np.float64)[ids]
  if policy.corruption.alias is None or not counts.any():
    counts = np.ones(len(ids))
  return ids[counts > 0], counts[counts > 0] / counts.sum()
