"""Choosing which units of a row are predicted, where all have the same probability.

The meaning of a rate: every unit is chosen with a stated probability pi, which
for uniform selection is the rate whatever the unit's length and position. A fixed count
also says how many: the tokens chosen in a row differ from rate * n, n = its maskable
tokens, by less than the longest unit of the row. Taking units from a random order until the
budget is full would starve the long ones, so no sampler here does. Units that differ in
probability are in weighted_sampling.py.
"""

import jax
import jax.numpy as jnp

from mlm_jax.masking import boundaries
from mlm_jax.masking import random_words

_SCORE_BITS = 31  # of a random score; the lowest are the position, so that no two are equal


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
  maskable_BL = units_BL >= 0
  n_B = maskable_BL.sum(axis=1, dtype=jnp.uint32)
  high_B, low_B = random_words.multiply(n_B, random_words.fixed_point(rate_B))
  # The sum of fraction and offset is smaller than the offset where the word overflowed: the carry.
  count_B = high_B + (low_B + offset_B < offset_B).astype(jnp.uint32)
  count_B = jnp.where(rate_B >= 1, n_B, count_B).astype(jnp.int32)

  # Scores have 31 bits, so what cannot be chosen lies above all of them.
  score_BL = jnp.where(maskable_BL, _scores(select_BL), jnp.uint32(2**32 - 1))

  # The largest word that fewer than `count` scores lie below is the count-th score.
  def add_bit(i: jax.Array, last_B: jax.Array) -> jax.Array:
    trial_B = last_B | (jnp.uint32(1) << (_SCORE_BITS - 1 - i).astype(jnp.uint32))
    below_B = (score_BL < trial_B[:, None]).sum(axis=1, dtype=jnp.int32)
    return jnp.where(below_B < count_B, trial_B, last_B)

  last_B = jax.lax.fori_loop(0, _SCORE_BITS, add_bit, jnp.zeros_like(offset_B))
  return (score_BL <= last_B[:, None]) & (count_B > 0)[:, None]


def independent_units(pi_BL: jax.Array, units_BL: jax.Array, select_BL: jax.Array) -> jax.Array:
  """Returns chosen_BL: each unit by itself with the probability at its first token.

  Args:
    pi_BL: float32, read at each unit's first token.
    units_BL: int32, the position of the first token of each token's unit, or -1.
    select_BL: uniform uint32 words.
  """
  return boundaries.spread((select_BL < random_words.fixed_point(pi_BL)) | (pi_BL >= 1), units_BL)


def window_units(
  rate_B: jax.Array, units_BL: jax.Array, offset_B: jax.Array, select_BL: jax.Array
) -> jax.Array:
  """Returns chosen_BL: units that start in a window of rate * n tokens at a random place.

  The row's units stand in a random order around a circle of its n maskable tokens. The window is
  as likely to begin at one point of the circle as at another, so whatever the order each unit's
  first token lies in it with probability rate * n / n. The tokens chosen are those from the first
  unit that starts in the window to the end of the last: either end is off by a part of one unit, in
  opposite directions, so both together by less than the longest. And as the order is random, any
  two units may be chosen together, be they long or short, near or far.

  Nothing is sorted: what starts in the window has random scores between two bounds, which are found
  bit by bit from the tokens of all units with smaller scores.

  Args:
    rate_B: float32 in [0, 1]; a unit's probability is exact to 2**-32.
    units_BL: int32, the position of the first token of each token's unit, or -1.
    offset_B: uniform uint32 words.
    select_BL: uniform uint32 words.
  """
  length_BL = boundaries.lengths(units_BL)
  n_B = length_BL.sum(axis=1, dtype=jnp.uint32)
  # The window as numbers of 64 bits, of which the lower 32 are fractions of a token.
  begin_B, begin_low_B = random_words.multiply(n_B, offset_B)
  size_B, size_low_B = random_words.multiply(n_B, random_words.fixed_point(rate_B))
  end_low_B = begin_low_B + size_low_B
  end_B = begin_B + size_B + (end_low_B < size_low_B).astype(jnp.uint32)  # with the carry
  # Units start at whole tokens: those of the window are from its ends, rounded up.
  begin_B += (begin_low_B > 0).astype(jnp.uint32)
  end_B += (end_low_B > 0).astype(jnp.uint32)
  wraps_B = end_B > n_B
  edges_2B = jnp.stack([begin_B, jnp.where(wraps_B, end_B - n_B, end_B)]).astype(jnp.int32)

  score_1BL = _scores(select_BL).astype(jnp.int32)[None]
  before_2B = lambda last_2B: jnp.where(score_1BL < last_2B[..., None], length_BL[None], 0).sum(
    axis=-1
  )

  # The largest score with fewer tokens before it than the edge: units above it start behind.
  def add_bit(i: jax.Array, last_2B: jax.Array) -> jax.Array:
    trial_2B = last_2B | (jnp.int32(1) << (_SCORE_BITS - 1 - i))
    return jnp.where(before_2B(trial_2B) < edges_2B, trial_2B, last_2B)

  last_2B = jax.lax.fori_loop(0, _SCORE_BITS, add_bit, jnp.zeros_like(edges_2B))
  last_2B = jnp.where(edges_2B > 0, last_2B, -1)  # behind an edge at 0 are all
  from_begin_BL, from_end_BL = score_1BL > last_2B[..., None]
  inside_BL = jnp.where(
    wraps_B[:, None], from_begin_BL | ~from_end_BL, from_begin_BL & ~from_end_BL
  )
  return boundaries.spread(inside_BL | (rate_B >= 1)[:, None], units_BL)


def _scores(select_BL: jax.Array) -> jax.Array:
  """Returns uint32 scores of 31 bits, random and, by the position in the lowest bits, unique."""
  length = select_BL.shape[1]
  low_bits = (length - 1).bit_length()
  index_1L = jnp.arange(length, dtype=jnp.uint32)[None]
  return (select_BL >> (32 - _SCORE_BITS + low_bits) << low_bits) | index_1L
