"""Attention to a window of neighbours; time and memory grow with the row's length, not its square.

The row is cut into blocks of at least `reach` positions. All that a block's queries may see is then
in the block itself and in the two beside it, so each block needs one product with 3 blocks of keys.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from mlm_jax.models import layers

_LEAST_BLOCK = 32  # positions; smaller products are no faster


def near(length: int, reach: int) -> jax.Array:
  """Returns bool_LL: which positions are at most `reach` apart."""
  index_L = jnp.arange(length)
  return jnp.abs(index_L[:, None] - index_L[None]) <= reach


def attend(
  query_BLHK: jax.Array,
  key_BLHK: jax.Array,
  value_BLHK: jax.Array,
  segments_BL: jax.Array,
  reach: int,
  drop: Callable[[jax.Array], jax.Array] = lambda weights: weights,
) -> jax.Array:
  """Returns [B, L, H x K]: attention inside a document to positions at most `reach` away.

  Args:
    query_BLHK: already scaled.
    key_BLHK, value_BLHK: in the compute dtype.
    segments_BL: as batches.segments gives them; padding sees padding.
    reach: positions to either side.
    drop: of the attention weights.
  """
  B, L, H, K = query_BLHK.shape
  Q = max(reach, _LEAST_BLOCK)  # positions of a block
  N = -(-L // Q)  # blocks

  def blocks(x: jax.Array, outside: int = 0) -> jax.Array:
    """Returns N + 2 blocks: one of padding on either side, so that the outer ones have two."""
    width = ((0, 0), (Q, (N + 1) * Q - L), *((0, 0),) * (x.ndim - 2))
    return jnp.pad(x, width, constant_values=outside).reshape(B, N + 2, Q, *x.shape[2:])

  def with_neighbours(x: jax.Array) -> jax.Array:
    """Returns, for each of N blocks, it and the two beside it as one axis of 3 Q positions."""
    return jnp.concatenate([x[:, :-2], x[:, 1:-1], x[:, 2:]], axis=2)

  # Segment -1 is of no document. Queries behind the row's end see each other, so that no row of
  # the softmax is empty.
  segments_BNQ = blocks(segments_BL, outside=-1)
  # M = 3 Q keys; key 0 is Q positions before the block's first query.
  distance_QM = jnp.arange(Q)[:, None] + Q - jnp.arange(3 * Q)[None]
  visible_BNQM = (segments_BNQ[:, 1:-1, :, None] == with_neighbours(segments_BNQ)[:, :, None]) & (
    jnp.abs(distance_QM) <= reach
  )[None, None]
  scores_BHNQM = jnp.einsum(
    'BNQHK,BNMHK->BHNQM',
    blocks(query_BLHK)[:, 1:-1],
    with_neighbours(blocks(key_BLHK)),
    preferred_element_type=layers.at_least_float32(query_BLHK.dtype),
  )
  scores_BHNQM = jnp.where(visible_BNQM[:, None], scores_BHNQM, jnp.finfo(scores_BHNQM.dtype).min)
  weights_BHNQM = jax.nn.softmax(scores_BHNQM, axis=-1).astype(value_BLHK.dtype)
  mixed_BNQHK = jnp.einsum(
    'BHNQM,BNMHK->BNQHK', drop(weights_BHNQM), with_neighbours(blocks(value_BLHK))
  )
  return mixed_BNQHK.reshape(B, N * Q, H * K)[:, :L]
