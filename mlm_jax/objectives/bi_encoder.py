"""Texts that are encoded alone and compared by their vectors, as of arXiv:1908.10084.

Rows hold the texts of examples side by side, attention inside each. The column finetuning.TEXT says
which of its example's texts a segment is, and example_BS of which example. Texts of one example are
neighbours in a row where they were packed so (see data/examples/store.py, Encoded.together).
"""

import jax
import jax.numpy as jnp

from mlm_jax.data.examples import store
from mlm_jax.models import pooling
from mlm_jax.objectives import finetuning

_LEAST = 1e-24  # of a squared length


def embeddings(mode: str, hidden_BLD: jax.Array, inputs: finetuning.Inputs) -> jax.Array:
  """Returns float32 [B, S, D]: of each segment a vector of length 1; of unused ones anything.

  Args:
    mode: of models/pooling.SEGMENT_MODES.
    hidden_BLD: of the encoder.
    inputs: the rows.
  """
  pooled_BSD = pooling.pool_segments(
    mode, hidden_BLD.astype(jnp.float32), inputs.segments_BL, inputs.starts_BS
  )
  return normalised(pooled_BSD)


def normalised(x_BSD: jax.Array) -> jax.Array:
  """Returns the vectors with length 1; zeros, as of an unused place, stay."""
  # Not by a norm, whose gradient is NaN at zeros.
  squared_BS1 = jnp.square(x_BSD).sum(-1, keepdims=True)
  return x_BSD * jax.lax.rsqrt(jnp.maximum(squared_BS1, _LEAST))


def flat(
  values_BSX: jax.Array, inputs: finetuning.Inputs
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Returns (values [N, X], example_N, text_N) of the N = B x S places of a batch.

  example_N is the number of the example and text_N which of its texts it is, both -1 of unused
  places. So losses over a whole batch, such as of in-batch negatives, see it as one list.
  """
  B, S = inputs.starts_BS.shape
  number = lambda name: jnp.where(inputs.used_BS, inputs.columns[name], -1).reshape(B * S)
  values_NX = values_BSX.reshape(B * S, *values_BSX.shape[2:])
  return values_NX, number(store.EXAMPLE), number(finetuning.TEXT)


def cosines(embeddings_BSD: jax.Array) -> jax.Array:
  """Returns float32 [B, S]: the cosine of each segment and its right neighbour in the row.

  It is of a pair where its texts are neighbours and the segment is the first; 0 at the last place.
  """
  cosine_BS = (embeddings_BSD[:, :-1] * embeddings_BSD[:, 1:]).sum(-1)
  return jnp.pad(cosine_BS, ((0, 0), (0, 1)))
