"""Self-attention inside a document."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlm_jax.models import layers


def same_document(segments_BL):
  """Returns bool_B1LL: which pairs of positions may see each other.

  Padding (segment 0) sees padding, so that no row of the softmax is empty.
  """
  return (segments_BL[:, None, :, None] == segments_BL[:, None, None, :])


class SelfAttention(nn.Module):
  """Multi-head attention (arXiv:1706.03762, section 3.2); softmax in float32."""
  config: object

  @nn.compact
  def __call__(self, hidden_BLD, visible_B1LL, deterministic):
    config = self.config
    B, L, D = hidden_BLD.shape
    H, K = config.heads, config.width // config.heads

    def heads(name):
      return layers.dense(D, config, name)(hidden_BLD).reshape(B, L, H, K)

    query_BLHK, key_BLHK, value_BLHK = heads('query'), heads('key'), heads('value')
    # Scaling the query instead of the scores touches L x K numbers, not L x L.
    scores_BHLL = jnp.einsum('BLHK,BMHK->BHLM', query_BLHK * K ** -0.5, key_BLHK,
                             preferred_element_type=jnp.float32)
    scores_BHLL = jnp.where(visible_B1LL, scores_BHLL, jnp.finfo(jnp.float32).min)
    weights_BHLL = jax.nn.softmax(scores_BHLL, axis=-1).astype(config.dtype)
    self.sow('intermediates', 'weights_BHLL', weights_BHLL)   # kept only where it is asked for
    weights_BHLL = layers.Dropout(config.dropout)(weights_BHLL, deterministic)
    mixed_BLHK = jnp.einsum('BHLM,BMHK->BLHK', weights_BHLL, value_BLHK)
    return layers.dense(D, config, 'out')(mixed_BLHK.reshape(B, L, D))
