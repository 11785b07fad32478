"""Attention to a window of neighbours, in time and memory that grow with the row's length and not
its square.
"""

import jax
import jax.numpy as jnp

from mlm_jax.models import layers

_LEAST_BLOCK = 32  # positions; smaller products are no faster


def near(length, reach):
  """Returns bool_LL: which positions are no more than `reach` apart."""
  index_L = jnp.arange(length)
  return jnp.abs(index_L[:, None] - index_L[None]) <= reach


def mix(query_BLHK, key_BLHK, value_BLHK, segments_BL, reach):
  """Returns [B, L, H x K]: attention to what is of the same document and no more than `reach` away.

  A block of positions sees itself and the blocks beside it, which hold all that is near enough.

  Args:
    query_BLHK: already scaled.
    key_BLHK, value_BLHK: in the compute dtype.
    segments_BL: as batches.segments gives them; padding sees padding.
    reach: positions to either side.
  """
  B, L, H, K = query_BLHK.shape
  Q = max(reach, _LEAST_BLOCK)
  N = -(-L // Q)
  blocks = lambda x, outside=0: jnp.pad(
    x,
    ((0, 0), (Q, (N + 1) * Q - L), *((0, 0),) * (x.ndim - 2)),
    constant_values=outside,
  ).reshape(B, N + 2, Q, *x.shape[2:])
  three = lambda x: jnp.concatenate([x[:, :-2], x[:, 1:-1], x[:, 2:]], axis=2)
  segments_BNQ = blocks(segments_BL, outside=-1)
  # Queries behind the row's end see each other, so that no row of the softmax is empty.
  apart_QM = jnp.arange(Q)[:, None] + Q - jnp.arange(3 * Q)[None]
  visible_BNQM = (segments_BNQ[:, 1:-1, :, None] == three(segments_BNQ)[:, :, None]) & (
    jnp.abs(apart_QM) <= reach
  )[None, None]
  scores_BHNQM = jnp.einsum(
    'BNQHK,BNMHK->BHNQM',
    blocks(query_BLHK)[:, 1:-1],
    three(blocks(key_BLHK)),
    preferred_element_type=layers.at_least_float32(query_BLHK.dtype),
  )
  scores_BHNQM = jnp.where(visible_BNQM[:, None], scores_BHNQM, jnp.finfo(scores_BHNQM.dtype).min)
  weights_BHNQM = jax.nn.softmax(scores_BHNQM, axis=-1).astype(value_BLHK.dtype)
  mixed_BNQHK = jnp.einsum('BHNQM,BNMHK->BNQHK', weights_BHNQM, three(blocks(value_BLHK)))
  return mixed_BNQHK.reshape(B, N * Q, H * K)[:, :L]
