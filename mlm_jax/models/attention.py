"""Self-attention inside a document."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlm_jax.models import layers
from mlm_jax.models.architecture import Architecture

DETAILS = 'intermediates'  # the collection in which a module leaves what is asked for


def same_document(segments_BL: jax.Array) -> jax.Array:
  """Returns bool_B1LL: which pairs of positions may see each other.

  Padding (segment 0) sees padding, so that no row of the softmax is empty.
  """
  return segments_BL[:, None, :, None] == segments_BL[:, None, None, :]


def scores(query_BLHK: jax.Array, key_BLHK: jax.Array) -> jax.Array:
  """Returns scores_BHLL, float32 at least: each query's product with each key (the last axis)."""
  return jnp.einsum(
    'BLHK,BMHK->BHLM',
    query_BLHK,
    key_BLHK,
    preferred_element_type=layers.at_least_float32(query_BLHK.dtype),
  )


def softmax(scores_BHLL: jax.Array, visible_B1LL: jax.Array, dtype: Any) -> jax.Array:
  """Returns weights_BHLL in `dtype`: the softmax over what is visible, 0 elsewhere."""
  # The lowest finite number, not -inf: a row with nothing visible would give NaN, also in the
  # gradient of rows that nobody reads.
  scores_BHLL = jnp.where(visible_B1LL, scores_BHLL, jnp.finfo(scores_BHLL.dtype).min)
  return jax.nn.softmax(scores_BHLL, axis=-1).astype(dtype)


def weighted_sum(weights_BHLL: jax.Array, value_BLHK: jax.Array) -> jax.Array:
  """Returns [B, L, H x K]: the values, summed by the attention weights, the heads side by side."""
  # In the compute dtype: the weights sum to 1, so nothing can overflow.
  mixed_BLHK = jnp.einsum('BHLM,BMHK->BLHK', weights_BHLL, value_BLHK)
  return mixed_BLHK.reshape(*mixed_BLHK.shape[:2], -1)


def attend(
  module: nn.Module,
  dropout: float,
  scores_BHLL: jax.Array,
  visible_B1LL: jax.Array,
  value_BLHK: jax.Array,
  deterministic: bool,
) -> jax.Array:
  """Returns [B, L, H x K]: softmax of the scores, dropout of the weights, sum of the values.

  Args:
    module: keeps the weights where they are asked for, and gives the key of the dropout.
    dropout: rate at which weights are dropped.
    scores_BHLL: scaled already.
    visible_B1LL: bool.
    value_BLHK: in the compute dtype.
    deterministic: whether nothing is dropped.
  """
  weights_BHLL = softmax(scores_BHLL, visible_B1LL, value_BLHK.dtype)
  # Kept before dropout: who looks at attention wants the distribution that sums to 1.
  module.sow(DETAILS, 'weights_BHLL', weights_BHLL)
  return weighted_sum(layers.Dropout(dropout)(weights_BHLL, deterministic), value_BLHK)


def split_heads(x_BLD: jax.Array, heads: int) -> jax.Array:
  """Returns x_BLHK; any number of leading axes."""
  return x_BLD.reshape(*x_BLD.shape[:-1], heads, -1)


class SelfAttention(nn.Module):
  """Multi-head attention (arXiv:1706.03762, section 3.2); softmax in float32."""

  config: Architecture

  @nn.compact
  def __call__(
    self, hidden_BLD: jax.Array, visible_B1LL: jax.Array, deterministic: bool
  ) -> jax.Array:
    config = self.config
    project = lambda name: split_heads(
      layers.dense(config.width, config, name)(hidden_BLD), config.heads
    )
    query_BLHK, key_BLHK, value_BLHK = project('query'), project('key'), project('value')
    # Scaling the query instead of the scores touches L x K numbers, not L x L.
    scores_BHLL = scores(query_BLHK * (config.width // config.heads) ** -0.5, key_BLHK)
    mixed_BLD = attend(
      self, config.attention_dropout, scores_BHLL, visible_B1LL, value_BLHK, deterministic
    )
    return layers.dense(config.width, config, 'out')(mixed_BLD)
