"""Self-attention inside a document."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlm_jax.models import layers

DETAILS = 'intermediates'  # the collection in which a module leaves what is asked for


def same_document(segments_BL):
  """Returns bool_B1LL: which pairs of positions may see each other.

  Padding (segment 0) sees padding, so that no row of the softmax is empty.
  """
  return segments_BL[:, None, :, None] == segments_BL[:, None, None, :]


def scores(query_BLHK, key_BLHK):
  """Returns [B, H, L, L], float32 at least: each query's (second to last axis) product with each
  key.
  """
  return jnp.einsum(
    'BLHK,BMHK->BHLM',
    query_BLHK,
    key_BLHK,
    preferred_element_type=layers.at_least_float32(query_BLHK.dtype),
  )


def softmax(scores_BHLL, visible_B1LL, dtype):
  """Returns the shares in `dtype` that the scores give to what is visible."""
  scores_BHLL = jnp.where(visible_B1LL, scores_BHLL, jnp.finfo(scores_BHLL.dtype).min)
  return jax.nn.softmax(scores_BHLL, axis=-1).astype(dtype)


def mean(weights_BHLL, value_BLHK):
  """Returns [B, L, H x K]: the values, weighed."""
  mixed_BLHK = jnp.einsum('BHLM,BMHK->BLHK', weights_BHLL, value_BLHK)
  return mixed_BLHK.reshape(*mixed_BLHK.shape[:2], -1)


def mix(module, scores_BHLL, visible_B1LL, value_BLHK, deterministic):
  """Returns [B, L, H x K]: the mean of what is visible to each position, weighed by the softmax of
  its scores.

  `module` keeps the weights where they are asked for, and draws the dropout.
  """
  weights_BHLL = softmax(scores_BHLL, visible_B1LL, value_BLHK.dtype)
  module.sow(DETAILS, 'weights_BHLL', weights_BHLL)
  return mean(layers.Dropout(module.config.dropout)(weights_BHLL, deterministic), value_BLHK)


def by_heads(x_BLD, heads):
  """Returns [B, L, H, K]."""
  return x_BLD.reshape(*x_BLD.shape[:-1], heads, -1)


class SelfAttention(nn.Module):
  """Multi-head attention (arXiv:1706.03762, section 3.2); softmax in float32."""

  config: object

  @nn.compact
  def __call__(self, hidden_BLD, visible_B1LL, deterministic):
    config = self.config
    project = lambda name: by_heads(
      layers.dense(config.width, config, name)(hidden_BLD), config.heads
    )
    query_BLHK, key_BLHK, value_BLHK = project('query'), project('key'), project('value')
    # Scaling the query instead of the scores touches L x K numbers, not L x L.
    scores_BHLL = scores(query_BLHK * (config.width // config.heads) ** -0.5, key_BLHK)
    mixed_BLD = mix(self, scores_BHLL, visible_B1LL, value_BLHK, deterministic)
    return layers.dense(config.width, config, 'out')(mixed_BLD)
