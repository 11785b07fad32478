"""Rotary positions (arXiv:2104.09864): queries and keys turn with their position."""

import jax.numpy as jnp
import numpy as np


def angles(positions_BL, size, theta):
  """Returns (cosine_BLX, sine_BLX), float32, X half the head size; theta is the base of the
  wavelengths.
  """
  frequency_X = np.float32(1) / np.float32(theta) ** (
    np.arange(0, size, 2, dtype=np.float32) / np.float32(size)
  )
  angle_BLX = positions_BL[:, :, None].astype(jnp.float32) * frequency_X[None, None]
  return jnp.cos(angle_BLX), jnp.sin(angle_BLX)


def turn(x_BLHK, cosine_BLX, sine_BLX):
  """Returns queries or keys turned: element i of the first half and of the second one are a
  pair.
  """
  a_BLHX, b_BLHX = jnp.split(
    x_BLHK.astype(jnp.promote_types(x_BLHK.dtype, jnp.float32)), 2, axis=-1
  )
  cosine_BL1X, sine_BL1X = cosine_BLX[:, :, None], sine_BLX[:, :, None]
  turned_BLHK = jnp.concatenate(
    [a_BLHX * cosine_BL1X - b_BLHX * sine_BL1X, b_BLHX * cosine_BL1X + a_BLHX * sine_BL1X], axis=-1
  )
  return turned_BLHK.astype(x_BLHK.dtype)
