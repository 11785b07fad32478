"""Random bits and exact integer arithmetic for the draws.

All of masking is integer arithmetic on 32-bit words, so that the same key gives
the same masks on every processor: floating-point sums and products may be fused
or reordered differently from one to the next, these may not.
"""

from typing import Any

import jax
import jax.numpy as jnp

SELECT, UNITS, PREDICT, DECIDE = 0, 2, 3, 4  # 1 is taken by the words of whole rows
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))  # as published, for each four rounds in turn


def threefry(
  key_2: tuple[jax.Array, jax.Array], counter_0: jax.Array, counter_1: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns two uint32 words for each pair of counters.

  Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as
  easy as 1, 2, 3"), the generator of `jax.random`, whose own entry point gives
  only one word for each pair of counters and on CPU runs the rounds as a loop
  over memory: written out, the rounds fuse into what uses them.

  Args:
    key_2: two uint32 arrays.
    counter_0, counter_1: uint32 arrays; all four broadcast against each other.
  """
  # 0x1BD11BDA is the parity constant of the Threefish cipher, as published for 32 bits.
  keys = (*key_2, key_2[0] ^ key_2[1] ^ jnp.uint32(0x1BD11BDA))
  a, b = counter_0 + keys[0], counter_1 + keys[1]
  for group in range(5):
    for rotation in _ROTATIONS[group % 2]:
      a = a + b
      b = ((b << rotation) | (b >> (32 - rotation))) ^ a
    # After each four rounds the key is mixed in again, with a count that breaks the symmetry.
    a = a + keys[(group + 1) % 3]
    b = b + keys[(group + 2) % 3] + jnp.uint32(group + 1)
  return a, b


def for_rows(keys_B: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns (offset_B, rate_B), independent uniform uint32 words; keys_B, a threefry key a row."""
  words_B2 = jax.random.key_data(keys_B)
  # Counter (0, 1): the second number is none of the purposes, so no word of a token is met again.
  return threefry((words_B2[:, 0], words_B2[:, 1]), jnp.uint32(0), jnp.uint32(1))


def for_tokens(keys_B: jax.Array, length: int, purpose: int) -> tuple[jax.Array, jax.Array]:
  """Returns two arrays of independent uniform uint32 words, each [B, length].

  Args:
    keys_B: one threefry key a row.
    length: tokens a row.
    purpose: SELECT (to choose by, to corrupt by), UNITS (lengths of spans, replacements by
      frequency), PREDICT (what is predicted, nothing) or DECIDE (between units of unequal
      weight, nothing).
  """
  words_B2 = jax.random.key_data(keys_B)
  counter_1L = jnp.arange(length, dtype=jnp.uint32)[None]
  return threefry((words_B2[:, :1], words_B2[:, 1:]), counter_1L, jnp.uint32(purpose))


def fixed_point(fraction: Any) -> jax.Array:
  """Returns a float32 array's values in [0, 1) times 2**32 as uint32, exactly.

  Values of 1 and above give 2**32 - 1, so a caller that compares with it treats them separately.
  """
  # In two halves of 16 bits: neither comes near the limits of a conversion from float.
  high = jnp.floor(fraction * 2.0**16)
  low = (fraction * 2.0**16 - high) * 2.0**16
  word = (high.astype(jnp.uint32) << 16) | low.astype(jnp.uint32)
  return jnp.where(fraction >= 1, jnp.uint32(2**32 - 1), word)


def multiply(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the (high, low) uint32 words of the 64-bit product of uint32 arrays."""
  # JAX has no 64-bit integers by default: long multiplication by halves of 16 bits, with carries.
  a_high, a_low, b_high, b_low = a >> 16, a & 0xFFFF, b >> 16, b & 0xFFFF
  cross_0, cross_1 = a_high * b_low, a_low * b_high
  middle = (a_low * b_low >> 16) + (cross_0 & 0xFFFF) + (cross_1 & 0xFFFF)
  high = a_high * b_high + (cross_0 >> 16) + (cross_1 >> 16) + (middle >> 16)
  return high, a * b
