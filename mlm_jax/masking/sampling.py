"""Choosing: which units of a row are predicted.

The meaning of a rate: every unit is chosen with a stated probability pi, which
for uniform selection is the rate whatever the unit's length and position. An
exact budget also fixes how many: the tokens chosen in a row differ from
rate * n, n = its maskable tokens, by less than the longest unit of the row.
Taking units from a random order until the budget is full would starve the long
ones, so no sampler here does.
"""

import jax
import jax.numpy as jnp

from mlm_jax.masking import boundaries
from mlm_jax.masking import random_words

# Fewest random bits that order units of one length. Ties are broken by position,
# which leaves each unit's probability exact and only ties pairs of units together.
_RANDOM_BITS = 10
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
  precision = 31 - L.bit_length()  # bits of a probability, so that a row's sum fits a word
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


def independent_tokens(rate_B: jax.Array, units_BL: jax.Array, select_BL: jax.Array) -> jax.Array:
  """Returns chosen_BL: each token by itself with probability `rate_B`.

  Args:
    rate_B: float32 in [0, 1]; its probability is exact to 2**-32.
    units_BL: int32, -1 where nothing may be chosen.
    select_BL: uniform uint32 words.
  """
  # A rate of 1 is not a 32-bit fraction, hence the second comparison.
  rate_B1 = rate_B[:, None]
  return (units_BL >= 0) & ((select_BL < random_words.fixed_point(rate_B1)) | (rate_B1 >= 1))


def exact_tokens(
  rate_B: jax.Array, units_BL: jax.Array, offset_B: jax.Array, select_BL: jax.Array
) -> jax.Array:
  """Returns chosen_BL: floor(rate_B * n + u) tokens of each row, u uniform in [0, 1).

  They are those with the smallest random words. The words are made unique by the
  position in their lowest bits, and the largest of the chosen is found bit by
  bit, which is faster than sorting.

  Args:
    rate_B: float32 in [0, 1].
    units_BL: int32, -1 where nothing may be chosen.
    offset_B: uniform uint32 words, u * 2**32.
    select_BL: uniform uint32 words.
  """
  length = units_BL.shape[1]
  maskable_BL = units_BL >= 0
  n_B = maskable_BL.sum(axis=1, dtype=jnp.uint32)
  high_B, low_B = random_words.multiply(n_B, random_words.fixed_point(rate_B))
  # The sum of fraction and offset is smaller than the offset where the word overflowed: the carry.
  count_B = high_B + (low_B + offset_B < offset_B).astype(jnp.uint32)
  count_B = jnp.where(rate_B >= 1, n_B, count_B).astype(jnp.int32)

  index_1L = jnp.arange(length, dtype=jnp.uint32)[None]
  low_bits = (length - 1).bit_length()
  score_BL = (select_BL >> (1 + low_bits) << low_bits) | index_1L
  # Scores have 31 bits, so what cannot be chosen lies above all of them.
  score_BL = jnp.where(maskable_BL, score_BL, jnp.uint32(2**32 - 1))

  # The largest word that fewer than `count` scores lie below is the count-th score.
  def add_bit(i: jax.Array, last_B: jax.Array) -> jax.Array:
    trial_B = last_B | (jnp.uint32(1) << (30 - i).astype(jnp.uint32))
    below_B = (score_BL < trial_B[:, None]).sum(axis=1, dtype=jnp.int32)
    return jnp.where(below_B < count_B, trial_B, last_B)

  last_B = jax.lax.fori_loop(0, 31, add_bit, jnp.zeros_like(offset_B))
  return (score_BL <= last_B[:, None]) & (count_B > 0)[:, None]


def independent_units(pi_BL: jax.Array, units_BL: jax.Array, select_BL: jax.Array) -> jax.Array:
  """Returns chosen_BL: each unit by itself with the probability at its first token.

  Args:
    pi_BL: float32, read at each unit's first token.
    units_BL: int32, the position of the first token of each token's unit, or -1.
    select_BL: uniform uint32 words.
  """
  return boundaries.spread((select_BL < random_words.fixed_point(pi_BL)) | (pi_BL >= 1), units_BL)


def exact_units(
  pi_BL: jax.Array, units_BL: jax.Array, offset_B: jax.Array, select_BL: jax.Array
) -> jax.Array:
  """Returns chosen_BL: units by systematic sampling, each with its own probability.

  The units are put in a random order within each length, lengths ascending, and
  their probabilities are summed in 32-bit fixed point from a random offset; a
  unit is chosen where the sum passes an integer, that is where the word
  overflows. So each is chosen with exactly its probability, whatever the order,
  and because equal lengths are next to each other the number of tokens stays within one
  unit of its mean (summation by parts).

  Source: Madow 1949, "On the theory of systematic sampling, II".

  Args:
    pi_BL: float32, read at each unit's first token; 1 and above is always chosen.
    units_BL: int32, the position of the first token of each token's unit, or -1.
    offset_B: uniform uint32 words.
    select_BL: uniform uint32 words.
  """
  first_BL = boundaries.lengths(units_BL) > 0
  index_BL = _by_length(units_BL, select_BL)
  # A token that does not begin a unit sorts first and adds nothing.
  step_BL = jnp.where(first_BL & (pi_BL < 1), random_words.fixed_point(pi_BL), jnp.uint32(0))
  step_BL = jnp.take_along_axis(step_BL, index_BL, axis=1)
  sum_BL = offset_B[:, None] + jnp.cumsum(step_BL, axis=1, dtype=jnp.uint32)
  # Smaller than what was added last: the word has overflowed, the sum passed an integer.
  passed_BL = (
    jnp.zeros_like(first_BL)
    .at[jnp.arange(units_BL.shape[0])[:, None], index_BL]
    .set(sum_BL < step_BL, unique_indices=True)
  )
  return boundaries.spread(passed_BL | (pi_BL >= 1), units_BL)


def _by_length(units_BL: jax.Array, select_BL: jax.Array) -> jax.Array:
  """Returns index_BL: positions by the length of the unit that starts there, ties at random.

  Positions where no unit starts come first.
  """
  length = units_BL.shape[1]
  # One word to sort by: the unit's length in the high bits, random bits below it.
  length_BL = boundaries.lengths(units_BL).astype(jnp.uint32) << (32 - length.bit_length())
  random_BL = select_BL >> length.bit_length()
  index_BL = jnp.broadcast_to(jnp.arange(length, dtype=jnp.uint32)[None], units_BL.shape)
  low_bits = (length - 1).bit_length()
  if 32 - length.bit_length() - low_bits < _RANDOM_BITS:
    return jax.lax.sort((length_BL | random_BL, index_BL), dimension=1, num_keys=1)[1]
  # On CPU one word sorts five times faster than a word with a companion.
  word_BL = length_BL | (random_BL >> low_bits << low_bits) | index_BL
  return jax.lax.sort(word_BL, dimension=1) & ((1 << low_bits) - 1)
