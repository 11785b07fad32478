"""What stands on an encoder: the masked-language-model head, tied to the input embedding, and a
discriminator.
"""

import flax.linen as nn
import jax.numpy as jnp

from mlm_jax.models import layers


class MaskedHead(nn.Module):
  """Transform, then scores against every token's embedding (arXiv:1810.04805).

  The table is padded to a multiple of 128 rows for the matrix units; the
  columns of no token are -inf, so that they take no share of any softmax.
  """

  config: object
  use_bias: bool = True  # in the transform

  @nn.compact
  def __call__(self, hidden_PD, embedding_VE):
    """Returns float32 logits_PV."""
    config = self.config
    hidden_PE = layers.dense(config.embedding_width, config, 'transform', self.use_bias)(hidden_PD)
    hidden_PE = layers.layer_norm(config, use_bias=self.use_bias)(layers.gelu(hidden_PE))
    return scores(self, hidden_PE, embedding_VE)


def scores(module, hidden_PE, embedding_VE):
  """Returns logits_PV, float32 at least: the products with each token's embedding, and the module's
  bias.
  """
  config = module.config
  bias_V = module.param('bias', nn.initializers.zeros, (config.padded_vocab_size,), jnp.float32)
  logits_PV = (
    jnp.einsum(
      'PE,VE->PV',
      hidden_PE,
      embedding_VE.astype(config.dtype),
      preferred_element_type=layers.at_least_float32(config.dtype),
    )
    + bias_V[None]
  )
  alive_V = jnp.arange(config.padded_vocab_size) < config.vocab_size
  return jnp.where(alive_V[None], logits_PV, -jnp.inf)


class DiscriminatorHead(nn.Module):
  """Says of each position whether its token was put in for another (arXiv:2003.10555)."""

  config: object

  @nn.compact
  def __call__(self, hidden_PD, embedding_VE):
    """Returns logits_P, float32 at least; above 0 says that it was. The embeddings are not used."""
    hidden_PD = layers.gelu(layers.dense(self.config.width, self.config, 'transform')(hidden_PD))
    logits_P1 = layers.dense(1, self.config, 'out')(hidden_PD)
    return logits_P1[:, 0].astype(layers.at_least_float32(self.config.dtype))


class PairHead(nn.Module):
  """Tells two kinds of sentence pairs apart by their [CLS] (arXiv:1810.04805, section 3.1)."""

  config: object

  @nn.compact
  def __call__(self, hidden_PD):
    """Returns logits_P2, float32 at least; the first column stands for pairs that are right."""
    pooled_PD = jnp.tanh(layers.dense(self.config.width, self.config, 'pooler')(hidden_PD))
    logits_P2 = layers.dense(2, self.config, 'out')(pooled_PD)
    return logits_P2.astype(layers.at_least_float32(self.config.dtype))


class BoundaryHead(nn.Module):
  """Scores a token of a span by what stands at the span's two ends (arXiv:1907.10529, section
  3.2).
  """

  config: object
  places: int  # of a token in its span that are told apart

  @nn.compact
  def __call__(self, left_PD, right_PD, place_P, embedding_VE):
    """Returns logits_PV; place_P counts from 0 inside the span."""
    config = self.config
    table = nn.Embed(
      self.places,
      config.width,
      param_dtype=jnp.float32,
      name='place',
      embedding_init=nn.initializers.truncated_normal(config.init_std),
    )
    place_PD = table(jnp.minimum(place_P, self.places - 1)).astype(config.dtype)
    hidden_PX = jnp.concatenate([left_PD, right_PD, place_PD], axis=-1)
    for name, width in (('first', config.width), ('second', config.embedding_width)):
      hidden_PX = layers.gelu(layers.dense(width, config, name)(hidden_PX))
      hidden_PX = layers.layer_norm(config, f'{name}_norm')(hidden_PX)
    return scores(self, hidden_PX, embedding_VE)
