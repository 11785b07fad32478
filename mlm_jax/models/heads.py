"""The masked-language-model head, tied to the input embedding."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlm_jax.models import layers


class MaskedHead(nn.Module):
  """Transform, then scores against every token's embedding (arXiv:1810.04805).

  The table is padded to a multiple of 128 rows for the matrix units; the
  columns of no token are -inf, so that they take no share of any softmax.
  """
  config: object

  @nn.compact
  def __call__(self, hidden_PD, embedding_VD):
    """Returns float32 logits_PV."""
    config = self.config
    hidden_PD = layers.dense(config.width, config, 'transform')(hidden_PD)
    hidden_PD = layers.layer_norm(config)(layers.gelu(hidden_PD))
    bias_V = self.param('bias', nn.initializers.zeros, (config.padded_vocab_size,), jnp.float32)
    logits_PV = jnp.einsum('PD,VD->PV', hidden_PD, embedding_VD.astype(config.dtype),
                           preferred_element_type=jnp.float32) + bias_V[None]
    alive_V = jnp.arange(config.padded_vocab_size) < config.vocab_size
    return jnp.where(alive_V[None], logits_PV, -jnp.inf)
