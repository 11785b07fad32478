"""Replaced-token detection: tell which tokens a small generator put in the place of the original.

Source: arXiv:2003.10555; with gradient-disentangled embeddings arXiv:2111.09543. The generator
learns masked language modelling; a token is drawn from its distribution at each chosen
position, and the discriminator says of every token whether it is the original. Where the draw
hits the original, it counts as original.

The parameters are the discriminator's, and under `generator` the generator's.
"""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from mlm_jax.core import rng
from mlm_jax.models import Model
from mlm_jax.objectives import masked

_COLUMNS = 128  # of a block of the vocabulary, in which the draw is sought second


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Inputs:
  """What the generator is given, and what the draws hang on.

  Attributes:
    masked: masked.Inputs.
    tokens_BL: int32, the original tokens.
    uniform_GP: float32 in [0, 1), of each prediction.
  """

  masked: masked.Inputs
  tokens_BL: jax.Array
  uniform_GP: jax.Array


@dataclasses.dataclass(frozen=True)
class Objective:
  """Masked language modelling of a generator, and the detection of what it put in.

  Attributes:
    generator: masked.Objective of the generator.
    discriminator: the encoder and its head, which gives one logit a position.
    sharing: of the embeddings: 'tied' (the generator uses the discriminator's), 'none', or
      'gdes' (the discriminator's token table is a difference to the generator's, which
      the discriminator's loss does not move).
    masked_weight, rtd_weight: coefficients of the two losses.
  """

  generator: masked.Objective
  discriminator: Model
  sharing: str
  masked_weight: float
  rtd_weight: float

  @property
  def coefficients(self):
    return {'masked': self.masked_weight, 'rtd': self.rtd_weight}

  @property
  def mlm(self):
    return self.generator

  @property
  def encoder(self):
    return self.discriminator

  def init(self, key):
    """Returns the parameters of both."""
    params = self.discriminator.init(rng.named(key, 'discriminator'))
    generator = self.generator.model.init(rng.named(key, 'generator'))
    if self.sharing == 'tied':
      del generator['embeddings']
    if self.sharing == 'gdes':
      params = _with_tokens(params, jnp.zeros_like(_tokens(params)))
    return params | {'generator': generator}

  def mlm_params(self, params):
    """Returns the parameters of `mlm`."""
    generator = params['generator']
    return generator | {'embeddings': params['embeddings']} if self.sharing == 'tied' else generator

  def encoder_params(self, params):
    """Returns the parameters of `encoder`."""
    if self.sharing != 'gdes':
      return params
    return _with_tokens(
      params, _tokens(params) + jax.lax.stop_gradient(_tokens(params['generator']))
    )

  def flops(self, tokens, attended, predicted):
    """Returns the FLOPs of one forward pass; see models/flops.py."""
    a = self.discriminator.architecture
    head = tokens * (2 * a.width**2 + 2 * a.width)
    return self.generator.flops(tokens, attended, predicted) + a.flops(tokens, attended, 0) + head

  def prepare(self, policy, aux, batch, root_key, progress):
    """Returns Inputs: no parameters, no gradient."""
    inputs = self.generator.prepare(policy, aux, batch, root_key, progress)
    keys_B = rng.example_keys(root_key, 'replaced', batch.visit_B, batch.example_B2)
    B, L = batch.tokens_BL.shape
    uniform_BL = jax.vmap(lambda key: jax.random.uniform(key, (L,)))(keys_B)
    uniform_GP = jnp.take_along_axis(
      uniform_BL.reshape(inputs.index_GP.shape[0], -1), inputs.index_GP, axis=1
    )
    return Inputs(inputs, batch.tokens_BL.astype(jnp.int32), uniform_GP)

  def weights(self, inputs):
    """Returns {term: number of predictions}; every token is one of the discriminator's."""
    return self.generator.weights(inputs.masked) | {
      'rtd': (inputs.masked.segments_BL > 0).sum().astype(jnp.float32)
    }

  def loss(self, params, inputs, dropout_key=None):
    """Returns ({term: sum}, {metric: (sum, weight)}, counts); see masked.Objective."""
    keys = (None, None) if dropout_key is None else jax.random.split(dropout_key)
    generator = self.mlm_params(params)
    logits_PV = self.generator.predict(
      generator, self.generator.encode(generator, inputs.masked, keys[0]), inputs.masked
    )
    sums, metrics, counts = self.generator.loss_of(logits_PV, inputs.masked)
    tokens_BL = put_in(
      draw(jax.lax.stop_gradient(logits_PV), inputs.uniform_GP.reshape(-1)), inputs
    )
    detected, more = self._discriminate(self.encoder_params(params), tokens_BL, inputs, keys[1])
    return sums | {'rtd': detected}, metrics | more, counts

  def _discriminate(self, params, tokens_BL, inputs, dropout_key):
    """Returns (sum of the discriminator's loss, its metrics)."""
    segments_BL = inputs.masked.segments_BL
    encoded = self.discriminator.apply(
      params,
      tokens_BL,
      segments_BL,
      inputs.masked.positions_BL,
      inputs.masked.types_BL,
      dropout_key=dropout_key,
    )
    B, L, D = encoded.hidden_BLD.shape
    logits_BL = self.discriminator.head(params, encoded.hidden_BLD.reshape(B * L, D)).reshape(B, L)
    replaced_BL, seen_BL = tokens_BL != inputs.tokens_BL, segments_BL > 0
    loss_BL = optax.sigmoid_binary_cross_entropy(logits_BL, replaced_BL.astype(logits_BL.dtype))
    total = lambda value_BL, where_BL: (
      jnp.where(where_BL, value_BL, 0).sum(dtype=jnp.float32),
      where_BL.sum(dtype=jnp.float32),
    )
    said_BL = logits_BL > 0
    loss = total(loss_BL, seen_BL)
    return loss[0], {
      'rtd_loss': loss,
      'rtd_accuracy': total(said_BL == replaced_BL, seen_BL),
      'replaced_fraction': total(
        replaced_BL, seen_BL
      ),  # 1 - this is right who says that all are originals
      'rtd_recall': total(said_BL, seen_BL & replaced_BL),
      'rtd_precision': total(replaced_BL, seen_BL & said_BL),
    }

  def adapt(self, policy, aux, counts, step, progress):
    """Returns what the policy has learned; see masked.Objective."""
    return self.generator.adapt(policy, aux, counts, step, progress)


def draw(logits_PV, uniform_P):
  """Returns int32 tokens_P, each drawn from the softmax of its logits by one uniform number.

  By the inverse of the distribution function, sought first among blocks of the vocabulary and
  then in a block: a pass over the logits, where adding Gumbel noise draws a number for each.
  """
  P, V = logits_PV.shape
  share_PNC = jnp.exp(logits_PV - logits_PV.max(1, keepdims=True)).reshape(
    P, V // _COLUMNS, _COLUMNS
  )
  block_PN = jnp.cumsum(share_PNC.sum(2), axis=1)
  point_P = uniform_P * block_PN[:, -1]
  chosen_P = jnp.minimum((block_PN <= point_P[:, None]).sum(1), V // _COLUMNS - 1)
  before_P = jnp.where(
    chosen_P > 0, jnp.take_along_axis(block_PN, chosen_P[:, None] - 1, axis=1)[:, 0], 0
  )
  inside_PC = jnp.take_along_axis(share_PNC, chosen_P[:, None, None], axis=1)[:, 0]
  below_PC = jnp.cumsum(inside_PC, axis=1) <= (point_P - before_P)[:, None]
  # Rounding may carry the point past the last token that has a share.
  last_P = _COLUMNS - 1 - jnp.argmax(inside_PC[:, ::-1] > 0, axis=1)
  return chosen_P * _COLUMNS + jnp.minimum(below_PC.sum(1), last_P)


def put_in(tokens_P, inputs):
  """Returns the original tokens_BL with the drawn ones in their places."""
  index_GP, (B, L) = inputs.masked.index_GP, inputs.tokens_BL.shape
  G = index_GP.shape[0]
  # What is not used stands at place 0; it must not write there.
  index_GP = jnp.where(inputs.masked.action_GP > 0, index_GP, B * L // G)
  write = lambda row_R, index_P, drawn_P: row_R.at[index_P].set(drawn_P, mode='drop')
  return jax.vmap(write)(
    inputs.tokens_BL.reshape(G, -1), index_GP, tokens_P.reshape(G, -1)
  ).reshape(B, L)


def _tokens(params):
  return params['embeddings']['token']['embedding']


def _with_tokens(params, table_VE):
  """Returns params with another table of tokens."""
  return params | {'embeddings': params['embeddings'] | {'token': {'embedding': table_VE}}}
