"""Keys: every random draw is a function of what it is for.

Keys are threefry, whose `fold_in` gives the same bits under `vmap`, on any
device and at any batch size; the `rbg` generators do not.
"""

import zlib

import jax

from mlm_jax.core import batches


def root_key(seed: int) -> jax.Array:
  """Returns the key from which all of a run's draws descend; 0 <= seed < 2**32."""
  if not 0 <= seed < 2**32:
    raise ValueError(f'seed {seed}: must be between 0 and 2**32 - 1')
  return jax.random.key(seed, impl='threefry2x32')


def named(key: jax.Array, name: str) -> jax.Array:
  """Returns the key for one purpose; it depends on the name's CRC-32."""
  # Not `hash`, which Python salts differently in each process.
  return jax.random.fold_in(key, zlib.crc32(name.encode()))


def example_keys(
  key: jax.Array, name: str, visit_B: batches.Array, example_B2: batches.Array
) -> jax.Array:
  """Returns keys_B, a function of (key, name, visit, source, row) alone."""
  key = named(key, name)

  # Folded in one by one: neither the batch that a row is in nor its place there has a part in it.
  def one(visit: jax.Array, example: jax.Array) -> jax.Array:
    return jax.random.fold_in(
      jax.random.fold_in(jax.random.fold_in(key, visit), example[0]), example[1]
    )

  return jax.vmap(one)(visit_B, example_B2)


def step_key(
  key: jax.Array, name: str, step: jax.Array | int, micro_batch: jax.Array | int
) -> jax.Array:
  """Returns the key of one micro-batch of one step."""
  return jax.random.fold_in(jax.random.fold_in(named(key, name), step), micro_batch)
