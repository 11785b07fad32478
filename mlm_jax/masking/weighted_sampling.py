"""Choosing which units of a row are predicted, where some are preferred to others."""

import jax
import jax.numpy as jnp

from mlm_jax.masking import boundaries
from mlm_jax.masking import random_words

_INFINITY = 0x7F800000  # the bits of the float
_WEIGHT_BITS = 26  # of the factor of the weights that are looked for, from the highest


def inclusion(rate_B: jax.Array, weight_BL: jax.Array, units_BL: jax.Array) -> jax.Array:
  """Returns pi_BL, float32: min(1, c weight) of each token's unit, c by the budget of its row.

  The sum of pi over the maskable tokens is rate * n; where too few tokens weigh anything,
  all of those are taken. A unit weighs as its heaviest token. c is found bit by bit, sums
  being of integers, so that the same weights give the same pi on every processor.

  Args:
    rate_B: float32 in [0, 1].
    weight_BL: float32, not negative.
    units_BL: int32, the position of the first token of each token's unit, or -1.
  """
  B, L = units_BL.shape
  maskable_BL, first_BL = units_BL >= 0, jnp.maximum(units_BL, 0)
  weight_BL = jnp.where(maskable_BL, weight_BL, 0)
  heaviest_BL = jnp.zeros_like(weight_BL).at[jnp.arange(B)[:, None], first_BL].max(weight_BL)
  weight_BL = jnp.where(maskable_BL, jnp.take_along_axis(heaviest_BL, first_BL, axis=1), 0)
  precision = _precision(L)
  # The budget is rate * n in units of 2**-precision, from a product of 64 bits.
  high_B, low_B = random_words.multiply(
    maskable_BL.sum(axis=1, dtype=jnp.uint32), random_words.fixed_point(rate_B)
  )
  budget_B = (high_B << precision) | (low_B >> (32 - precision))
  budget_B = jnp.where(
    rate_B >= 1, maskable_BL.sum(axis=1, dtype=jnp.uint32) << precision, budget_B
  )
  as_float = lambda word_B: jax.lax.bitcast_convert_type(word_B, jnp.float32)
  pi_BL = lambda word_B: jnp.minimum(as_float(word_B)[:, None] * weight_BL, 1)

  # Positive floats are ordered as their bits are, so c is found like an integer: from the highest
  # bit, each is kept if the row stays within its budget.
  def add_bit(i: jax.Array, last_B: jax.Array) -> jax.Array:
    trial_B = last_B | (jnp.uint32(1) << (30 - i).astype(jnp.uint32))
    spent_B = (pi_BL(trial_B) * 2.0**precision).astype(jnp.uint32).sum(axis=1, dtype=jnp.uint32)
    return jnp.where((trial_B < _INFINITY) & (spent_B <= budget_B), trial_B, last_B)

  return pi_BL(jax.lax.fori_loop(0, _WEIGHT_BITS, add_bit, jnp.zeros(B, jnp.uint32)))


def pivotal_units(
  pi_BL: jax.Array,
  units_BL: jax.Array,
  offset_B: jax.Array,
  select_BL: jax.Array,
  decide_BL: jax.Array,
) -> jax.Array:
  """Returns chosen_BL: units of any lengths and probabilities, in a fixed number of tokens.

  A unit of l tokens holds l * pi tokens of the budget. The units of a row come forward in a random
  order; the one that is undecided and the next to come play for what they hold: one gives to the
  other until it has nothing, and is not chosen, or the other has all of its tokens, and is. Who
  gives is drawn such that nobody gains on average, so each unit keeps its probability; what all
  hold together never changes, so that the row's tokens differ from the sum of l * pi by what the
  last undecided unit is rounded by, less than its length.

  Source: the pivotal method of Deville and Tille 1998, "Unequal probability sampling without
  replacement through a splitting method", with the lengths as the balancing variable of their cube
  method (2004, "Efficient balanced sampling").

  Args:
    pi_BL: float32, read at each unit's first token; 1 and above is always chosen.
    units_BL: int32, the position of the first token of each token's unit, or -1.
    offset_B: uniform uint32 words, which round the last unit.
    select_BL: uniform uint32 words, which put the units in order.
    decide_BL: uniform uint32 words, which say who gives.
  """
  B, L = units_BL.shape
  low_bits = (L - 1).bit_length()
  index_BL = jnp.broadcast_to(jnp.arange(L, dtype=jnp.uint32)[None], (B, L))
  # One word sorts several times faster than a word with a companion: the position is within it.
  order_BL = jax.lax.sort((select_BL >> low_bits << low_bits) | index_BL, dimension=1)
  order_BL = order_BL & ((1 << low_bits) - 1)
  precision = _precision(L)
  size_BL = boundaries.lengths(units_BL).astype(jnp.uint32)
  share_BL = (jnp.minimum(pi_BL, 1) * 2.0**precision).astype(jnp.uint32)
  in_order = lambda x_BL: jnp.take_along_axis(x_BL, order_BL, axis=1).T
  arrays = order_BL.T, in_order(size_BL << precision), in_order(size_BL * share_BL), decide_BL.T

  def play(state: tuple[jax.Array, ...], unit: tuple[jax.Array, ...]) -> tuple:
    (index_B, all_B, held_B), (next_B, next_all_B, next_held_B, word_B) = state, unit
    gain_B = jnp.minimum(all_B - held_B, next_held_B)
    loss_B = jnp.minimum(held_B, next_all_B - next_held_B)
    # Gains with probability loss / (gain + loss), by 64-bit integers: equal on every device.
    high_B, low_B = random_words.multiply(gain_B + loss_B, word_B)
    gains_B = high_B < loss_B
    held_B = jnp.where(gains_B, held_B + gain_B, held_B - loss_B)
    next_held_B = jnp.where(gains_B, next_held_B - gain_B, next_held_B + loss_B)
    decided_B = (held_B == 0) | (held_B == all_B)
    mine, other = (index_B, all_B, held_B), (next_B, next_all_B, next_held_B)
    either = lambda a, b: tuple(jnp.where(decided_B, x, y) for x, y in zip(a, b))
    out_B, _, out_held_B = either(mine, other)
    return either(other, mine), (out_B, out_held_B > 0)

  nobody = jnp.full(B, L, jnp.uint32), jnp.zeros(B, jnp.uint32), jnp.zeros(B, jnp.uint32)
  (last_B, all_B, held_B), (index_LB, holds_LB) = jax.lax.scan(play, nobody, arrays)
  last_chosen_B = random_words.multiply(all_B, offset_B)[0] < held_B
  # Every unit is decided once; `nobody` is put beyond the row, and dropped.
  chosen_BL = (
    jnp.zeros((B, L), bool).at[jnp.arange(B)[:, None], index_LB.T].set(holds_LB.T, mode='drop')
  )
  chosen_BL = chosen_BL.at[jnp.arange(B), last_B].set(last_chosen_B, mode='drop')
  return boundaries.spread(chosen_BL | (pi_BL >= 1), units_BL)


def _precision(length: int) -> int:
  """Returns the bits of a probability with which the sum over a row's tokens fits a word."""
  return 31 - length.bit_length()
