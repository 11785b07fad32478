"""Heads on an encoder: the masked-language-model head, a discriminator's, and two auxiliary ones.

All that score tokens do so against the input embedding (tied weights); only the masked head may
have a table of its own.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlm_jax.models import layers
from mlm_jax.models.architecture import Architecture


class MaskedHead(nn.Module):
  """Transform, then scores against every token's embedding (arXiv:1810.04805).

  The table is padded to a multiple of 128 rows for the matrix units; the
  columns of no token are -inf, so that they take no share of any softmax.
  """

  config: Architecture
  use_bias: bool = True  # in the transform

  @nn.compact
  def __call__(self, hidden_PD: jax.Array, embedding_VE: jax.Array) -> jax.Array:
    """Returns float32 logits_PV."""
    config, act = self.config, layers.ACTIVATIONS[self.config.head_activation]
    # To the width of the table, which may be narrower than the layers.
    hidden_PE = layers.dense(config.embedding_width, config, 'transform', self.use_bias)(hidden_PD)
    hidden_PE = layers.layer_norm(config, use_bias=self.use_bias)(act(hidden_PE))
    if not config.tied_head:
      init = nn.initializers.truncated_normal(config.init_std)
      embedding_VE = self.param('table', init, embedding_VE.shape, jnp.float32)
    return _vocabulary_logits(self, config, hidden_PE, embedding_VE)


def _vocabulary_logits(
  module: nn.Module, config: Architecture, hidden_PE: jax.Array, embedding_VE: jax.Array
) -> jax.Array:
  """Returns logits_PV, float32 at least: products with each token's embedding, plus a bias.

  The bias becomes a parameter of `module`.
  """
  bias_V = module.param('bias', nn.initializers.zeros, (config.padded_vocab_size,), jnp.float32)
  # Operands in the compute dtype, the sum in float32: bfloat16 logits would round the loss.
  logits_PV = (
    jnp.einsum(
      'PE,VE->PV',
      hidden_PE,
      embedding_VE.astype(config.dtype),
      preferred_element_type=layers.at_least_float32(config.dtype),
    )
    + bias_V[None]
  )
  is_token_V = jnp.arange(config.padded_vocab_size) < config.vocab_size
  return jnp.where(is_token_V[None], logits_PV, -jnp.inf)


class DiscriminatorHead(nn.Module):
  """Says of each position whether its token was replaced (arXiv:2003.10555)."""

  config: Architecture

  @nn.compact
  def __call__(self, hidden_PD: jax.Array, embedding_VE: jax.Array) -> jax.Array:
    """Returns logits_P, float32 at least; above 0 means replaced. The embeddings are not used."""
    hidden_PD = layers.dense(self.config.width, self.config, 'transform')(hidden_PD)
    hidden_PD = layers.ACTIVATIONS[self.config.activation](hidden_PD)
    logits_P1 = layers.dense(1, self.config, 'out')(hidden_PD)
    return logits_P1[:, 0].astype(layers.at_least_float32(self.config.dtype))


class PairHead(nn.Module):
  """Classifies a sentence pair by its [CLS] as right or wrong (arXiv:1810.04805, section 3.1)."""

  config: Architecture

  @nn.compact
  def __call__(self, hidden_PD: jax.Array) -> jax.Array:
    """Returns logits_P2, float32 at least; the first column is the class of right pairs."""
    pooled_PD = jnp.tanh(layers.dense(self.config.width, self.config, 'pooler')(hidden_PD))
    logits_P2 = layers.dense(2, self.config, 'out')(pooled_PD)
    return logits_P2.astype(layers.at_least_float32(self.config.dtype))


class BoundaryHead(nn.Module):
  """Predicts a token of a span from the span's two boundaries (arXiv:1907.10529, section 3.2)."""

  config: Architecture
  places: int  # of a token in its span that are distinguished; later ones share the last

  @nn.compact
  def __call__(
    self, left_PD: jax.Array, right_PD: jax.Array, place_P: jax.Array, embedding_VE: jax.Array
  ) -> jax.Array:
    """Returns logits_PV; place_P counts from 0 inside the span."""
    config = self.config
    table = nn.Embed(
      self.places,
      config.width,
      param_dtype=jnp.float32,
      name='place',
      embedding_init=nn.initializers.truncated_normal(config.init_std),
    )
    # Longer spans than `places` are rare; their last tokens share an embedding.
    place_PD = table(jnp.minimum(place_P, self.places - 1)).astype(config.dtype)
    hidden_PX = jnp.concatenate([left_PD, right_PD, place_PD], axis=-1)
    for name, width in (('first', config.width), ('second', config.embedding_width)):
      hidden_PX = layers.gelu(layers.dense(width, config, name)(hidden_PX))
      hidden_PX = layers.layer_norm(config, f'{name}_norm')(hidden_PX)
    return _vocabulary_logits(self, config, hidden_PX, embedding_VE)


class TokenHead(nn.Module):
  """Scores a token from its vector: dropout, then a score for each output.

  So do the classes of `transformers` for token classification, but for ModernBERT's, which has the
  layer of SequenceHead.
  """

  config: Architecture
  outputs: int

  @nn.compact
  def __call__(self, hidden_ND: jax.Array, deterministic: bool) -> jax.Array:
    """Returns [N, outputs], float32 at least."""
    hidden_ND = layers.Dropout(self.config.dropout)(hidden_ND, deterministic)
    scores_NX = layers.dense(self.outputs, self.config, 'out')(hidden_ND)
    return scores_NX.astype(layers.at_least_float32(self.config.dtype))


class SequenceHead(nn.Module):
  """Scores a text from one vector of it: a layer, dropout, a score for each output.

  The family says how, as the classes of `transformers` for sequence classification do.

  Attributes:
    config: as said.
    outputs: how many scores.
    activation: behind the layer; '' for that of the masked head.
    has_norm: whether a norm follows, and the layer has no biases.
    drops_input: whether there is dropout before the layer too.
  """

  config: Architecture
  outputs: int
  activation: str
  has_norm: bool = False
  drops_input: bool = False

  @nn.compact
  def __call__(self, hidden_ND: jax.Array, deterministic: bool) -> jax.Array:
    """Returns [N, outputs], float32 at least."""
    config, drop = self.config, layers.Dropout(self.config.dropout)
    if self.drops_input:
      hidden_ND = drop(hidden_ND, deterministic)
    hidden_ND = layers.dense(config.width, config, 'layer', not self.has_norm)(hidden_ND)
    hidden_ND = layers.ACTIVATIONS[self.activation or config.head_activation](hidden_ND)
    if self.has_norm:
      hidden_ND = layers.layer_norm(config, 'norm', use_bias=False)(hidden_ND)
    scores_NX = layers.dense(self.outputs, config, 'out')(drop(hidden_ND, deterministic))
    return scores_NX.astype(layers.at_least_float32(config.dtype))


class SpanHead(nn.Module):
  """Scores each token as the first and as the last of an answer, as `qa_outputs` does."""

  config: Architecture

  @nn.compact
  def __call__(self, hidden_ND: jax.Array, deterministic: bool) -> jax.Array:
    """Returns [N, 2], float32 at least; nothing is dropped."""
    scores_N2 = layers.dense(2, self.config, 'out')(hidden_ND)
    return scores_N2.astype(layers.at_least_float32(self.config.dtype))
