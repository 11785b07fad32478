"""Scores from relative positions (arXiv:2006.03654, section 3.1), without a gather over pairs.

Every pair of positions needs the product of one's query (or key) with the embedding of
their distance. A product with all distances and a gather would do, but the gather's gradient
is a scatter over L x L numbers. Here a block of positions is multiplied with the distances
that it can have, and the rows are shifted against each other by cutting the flat list of
numbers into rows one shorter: out[r, j] = products[r, j + Q - 1 - r].
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax.models import layers

_BLOCK = 64  # positions; a block of Q multiplies with L + Q distances


def row_of_distance(distance: np.ndarray, span: int, buckets: tuple[int, int] | None) -> np.ndarray:
  """Returns which of the 2 x span rows of the table is a distance's.

  Distances of less than half the buckets have rows of their own, farther ones share rows on a
  logarithmic scale that ends at the farthest (arXiv:2006.03654, in its published code). In
  float32, as `transformers` has it: where a row begins at a whole number, rounding decides.

  Args:
    distance: int array, the query's position minus the key's.
    span: half the rows of the table.
    buckets: (number, farthest distance), or None where each distance has a row.
  """
  if buckets:
    number, farthest = buckets
    half = number // 2
    # The logarithm is of no use to near distances; the maximum keeps it from being one of 0.
    far = np.maximum(np.abs(distance), half)
    share = np.log(np.float32(far / half)) / np.log(np.float32((farthest - 1) / half))
    log = np.ceil(share * np.float32(half - 1)) + half
    distance = np.where(np.abs(distance) < half, distance, np.sign(distance) * log).astype(int)
  return np.clip(distance + span, 0, 2 * span - 1)


def scores(
  one_BLHK: jax.Array,
  position_SHK: jax.Array,
  row_of: Callable[[np.ndarray], np.ndarray],
  sign: int,
) -> jax.Array:
  """Returns [B, H, L, L]: each position's product with the embeddings of its distances to all.

  Args:
    one_BLHK: queries or keys.
    position_SHK: the projected table of relative positions, S = 2 x span rows.
    row_of: (int array of distances) -> rows of the table.
    sign: 1 for queries, whose distance is the row's position minus the column's; -1 for keys,
      whose distance is the column's minus the row's.
  """
  B, L, H, K = one_BLHK.shape
  Q = min(_BLOCK, L)
  N = -(-L // Q)
  # The rows of a block are one axis: with two, XLA on a CPU copies its operands for the product
  # that makes the table's gradient, which takes twice the time of all the rest.
  blocks_BNQHK = jnp.pad(one_BLHK, ((0, 0), (0, N * Q - L), (0, 0), (0, 0))).reshape(B, N, Q, H, K)
  blocks_NHRK = blocks_BNQHK.transpose(1, 3, 0, 2, 4).reshape(N, H, B * Q, K)
  # All distances that occur, from the largest down. Block n needs a run of L + Q of them, and the
  # last block's run begins first: its queries are the farthest from the row's start.
  distance_X = N * Q - 1 - np.arange(N * Q + L)
  position_HXK = position_SHK.swapaxes(0, 1)[:, row_of(sign * distance_X)]
  position_NHTK = jnp.stack([position_HXK[:, Q * n : Q * n + L + Q] for n in reversed(range(N))])
  products_NHRT = jnp.einsum(
    'NHRK,NHTK->NHRT',
    blocks_NHRK,
    position_NHTK,
    preferred_element_type=layers.at_least_float32(one_BLHK.dtype),
  )
  # Row r of a block wants its products from place Q - 1 - r on. Cutting the flat list, Q - 1
  # numbers of it left out, into rows that are one number shorter moves each row by one more.
  flat_NHBX = products_NHRT.reshape(N, H, B, -1)[..., Q - 1 :]
  width = L + Q - 1  # of a row after the shift; what is behind its L numbers is not used
  shifted_NHBQL = flat_NHBX[..., : Q * width].reshape(N, H, B, Q, width)[..., :L]
  return shifted_NHBQL.transpose(2, 1, 0, 3, 4).reshape(B, H, N * Q, L)[:, :, :L]


def gathered_scores(
  one_BLHK: jax.Array,
  position_SHK: jax.Array,
  row_of: Callable[[np.ndarray], np.ndarray],
  sign: int,
) -> jax.Array:
  """Returns what `scores` does, by products with the whole table and a gather: slow but plain."""
  L = one_BLHK.shape[1]
  products_BHLS = jnp.einsum(
    'BLHK,SHK->BHLS',
    one_BLHK,
    position_SHK,
    preferred_element_type=layers.at_least_float32(one_BLHK.dtype),
  )
  distance_LL = np.arange(L)[:, None] - np.arange(L)[None]
  rows_LL = jnp.asarray(row_of(sign * distance_LL))
  return jax.vmap(lambda x_BHS, rows_L: x_BHS[..., rows_L], (2, 0), 2)(products_BHLS, rows_LL)
