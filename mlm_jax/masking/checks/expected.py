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


def variance(policy: policy_lib.Policy, length_BL: np.ndarray, pi_BL: np.ndarray) -> np.ndarray:
  """Returns float64 variance_B of the number of tokens that are chosen in a row."""
  if policy.sampling == 'bernoulli':
    return (length_BL**2 * pi_BL * (1 - pi_BL)).sum(axis=1)
  # Systematic sampling with an offset u has chosen floor(S + u) = S + u - frac(S + u) units at the
  # point of its order up to which probabilities sum to S. By parts, a row's tokens are their mean
  # plus the sum of frac(S + u) times how much longer units become at that point, of which terms
  # the covariance is that of two sawtooths, 1/12 - d (1 - d) / 2 with d = frac(S - T).
  order_BL = np.argsort(length_BL, axis=1, kind='stable')
  longer_BN = np.diff(np.take_along_axis(length_BL, order_BL, axis=1), axis=1, prepend=0, append=0)
  drawn_BL = np.take_along_axis(np.where(pi_BL < 1, pi_BL, 0), order_BL, axis=1)
  sum_BN = np.concatenate([np.zeros((len(pi_BL), 1)), np.cumsum(drawn_BL, axis=1)], axis=1)
  # Units become longer in few places; the others are left out.
  places = max((longer_BN != 0).sum(axis=1).max(), 1)
  where_BP = np.argsort(longer_BN == 0, axis=1, kind='stable')[:, :places]
  longer_BP, sum_BP = (np.take_along_axis(x_BN, where_BP, axis=1) for x_BN in (longer_BN, sum_BN))
  apart_BPP = (sum_BP[:, :, None] - sum_BP[:, None]) % 1
  # The 1/12 cancel: what units gain in length they lose at the end.
  variance_B = -np.einsum('bp,bpq,bq->b', longer_BP, apart_BPP * (1 - apart_BPP), longer_BP) / 2
  return np.maximum(variance_B, 0)


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
