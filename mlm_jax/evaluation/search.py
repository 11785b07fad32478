"""Exact search: the documents whose vectors have the largest products with a query's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

_DOCUMENTS, _QUERIES = 1 << 14, 1 << 10  # whose scores are on the device together


def top(
  queries_QD: np.ndarray,
  documents_ND: np.ndarray,
  k: int,
  documents: int = _DOCUMENTS,
  queries: int = _QUERIES,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns (float32 scores [Q, k], int32 numbers of documents [Q, k]), the best first.

  Of documents with one score the first one comes first. Where there are fewer than k documents, the
  result has as many columns as there are.

  Args:
    queries_QD, documents_ND: float32 vectors.
    k: how many are wanted.
    documents, queries: how many are compared at once.
  """
  k, found = min(k, len(documents_ND)), []
  documents = max(k, min(documents, len(documents_ND)))
  for first in range(0, len(queries_QD), queries):
    block_QD = jnp.asarray(queries_QD[first : first + queries])
    score_QK = jnp.full((len(block_QD), k), -jnp.inf, jnp.float32)
    number_QK = jnp.zeros((len(block_QD), k), jnp.int32)
    for begin in range(0, len(documents_ND), documents):
      part_ND = documents_ND[begin : begin + documents]
      # One shape, so that it is compiled once; what fills it up is no document.
      filler = np.zeros((documents - len(part_ND), part_ND.shape[1]), part_ND.dtype)
      part_ND = np.concatenate([part_ND, filler])
      score_QK, number_QK = _merged(
        k, score_QK, number_QK, block_QD, part_ND, np.int32(begin), np.int32(len(documents_ND))
      )
    found.append(jax.device_get((score_QK, number_QK)))
  scores, numbers = zip(*found)
  return np.concatenate(scores), np.concatenate(numbers)


@functools.partial(jax.jit, static_argnums=0)
def _merged(
  k: int,
  score_QK: jax.Array,
  number_QK: jax.Array,
  queries_QD: jax.Array,
  documents_ND: jax.Array,
  begin: jax.Array,
  end: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  """Returns the best so far, with the documents from number `begin` on seen too."""
  number_N = begin + jnp.arange(len(documents_ND), dtype=jnp.int32)
  product_QN = jnp.matmul(queries_QD, documents_ND.T, precision='highest')
  product_QN = jnp.where((number_N < end)[None], product_QN, -jnp.inf)
  # Of equal numbers `top_k` takes the first: those found so far are of earlier documents.
  score_QK, place_QK = jax.lax.top_k(jnp.concatenate([score_QK, product_QN], 1), k)
  all_QN = jnp.concatenate(
    [number_QK, jnp.broadcast_to(number_N[None], (len(queries_QD), len(number_N)))], 1
  )
  return score_QK, jnp.take_along_axis(all_QN, place_QK, axis=1)
