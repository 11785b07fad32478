"""Rotary positions (arXiv:2104.09864): queries and keys are rotated by their position."""

import jax
import jax.numpy as jnp
import numpy as np


def angles(positions_BL: jax.Array, size: int, theta: float) -> tuple[jax.Array, jax.Array]:
  """Returns (cosine_BLX, sine_BLX), float32, X half the head size.

  Args:
    positions_BL: counted from 0 inside each document.
    size: of a head, even.
    theta: base of the wavelengths, which go from 2 pi to 2 pi x theta positions.
  """
  # float32 throughout, as in `transformers`: at far positions float64 would give other angles than
  # those that published weights were trained with.
  frequency_X = np.float32(1) / np.float32(theta) ** (
    np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
  )
  angle_BLX = positions_BL[:, :, None].astype(jnp.float32) * frequency_X[None, None]
  return jnp.cos(angle_BLX), jnp.sin(angle_BLX)


def rotate(x_BLHK: jax.Array, cosine_BLX: jax.Array, sine_BLX: jax.Array) -> jax.Array:
  """Returns queries or keys, rotated.

  Element i of the first half and element i of the second half make a pair, which is rotated by
  angle i. The original paper pairs neighbouring elements; published models pair halves.
  """
  a_BLHX, b_BLHX = jnp.split(
    x_BLHK.astype(jnp.promote_types(x_BLHK.dtype, jnp.float32)), 2, axis=-1
  )
  cosine_BL1X, sine_BL1X = cosine_BLX[:, :, None], sine_BLX[:, :, None]
  rotated_BLHK = jnp.concatenate(
    [a_BLHX * cosine_BL1X - b_BLHX * sine_BL1X, b_BLHX * cosine_BL1X + a_BLHX * sine_BL1X], axis=-1
  )
  return rotated_BLHK.astype(x_BLHK.dtype)
