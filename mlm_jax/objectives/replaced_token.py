"""Replaced-token detection (RTD): find the tokens that a small generator has replaced.

Source: arXiv:2003.10555; with gradient-disentangled embeddings (GDES) arXiv:2111.09543. The
generator learns masked language modelling; a token is sampled from its distribution at each
chosen position, and the discriminator says of every token whether it is the original. Where the
sample equals the original, it counts as original. Special tokens are never sampled, as they never
are in `masking`: the discriminator would know them at sight.

The parameters are the discriminator's, and under `generator` the generator's.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.models import Model
from mlm_jax.objectives import masked
from mlm_jax.objectives.masked import Metrics
from mlm_jax.objectives.masked import Params
from mlm_jax.objectives.masked import Sums
from mlm_jax.objectives.masked import sum_and_weight

_COLUMNS = 128  # of a block of the vocabulary; divides the padded vocabulary of every head


@trees.dataclass
class Inputs:
  """What the generator is given, and what its samples depend on.

  Attributes:
    masked: masked.Inputs.
    tokens_BL: int32, the original tokens.
    uniform_GP: float32 in [0, 1), by which each prediction is sampled.
    size, special_ids: of the vocabulary's table.
  """

  masked: masked.Inputs
  tokens_BL: jax.Array
  uniform_GP: jax.Array
  size: int = dataclasses.field(metadata={'static': True})
  special_ids: tuple[int, ...] = dataclasses.field(metadata={'static': True})

  def drawable(self, columns: int) -> np.ndarray:
    """Returns bool [columns]: ids that may be sampled, of logits that may have more than `size`."""
    # A head is padded, and a model that was imported may have a larger table than its tokenizer.
    drawable_V = np.arange(columns) < self.size
    drawable_V[list(self.special_ids)] = False
    return drawable_V


@dataclasses.dataclass(frozen=True)
class Objective:
  """Masked language modelling of a generator, and the detection of what it replaced.

  Attributes:
    generator: masked.Objective of the generator.
    discriminator: the encoder and its head, which gives one logit a position.
    sharing: of the embeddings: 'tied' (the generator uses the discriminator's), 'none', or
      'gdes' (the discriminator's token table is the generator's, on which the discriminator's
      loss has no gradient, plus a difference that it learns).
    masked_weight, rtd_weight: coefficients of the two losses.
  """

  generator: masked.Objective
  discriminator: Model
  sharing: str
  masked_weight: float
  rtd_weight: float

  @property
  def coefficients(self) -> dict[str, float]:
    """{term: its coefficient in the total loss}."""
    return {'masked': self.masked_weight, 'rtd': self.rtd_weight}

  @property
  def mlm(self) -> masked.Objective:
    """The masked.Objective that predicts masked tokens; its parameters are `mlm_params`."""
    return self.generator

  @property
  def encoder(self) -> Model:
    """The Model that is used after pretraining; its parameters are `encoder_params`."""
    return self.discriminator

  def init(self, key: jax.Array) -> Params:
    """Returns the parameters of both."""
    # Keys by name: the generator's init does not depend on the discriminator.
    # Named as it was first: another name would draw other parameters.
    params = self.discriminator.init(rng.named(key, 'detector'))
    generator = self.generator.model.init(rng.named(key, 'generator'))
    if self.sharing == 'tied':
      # One set of tables, trained by both losses.
      del generator['embeddings']
    if self.sharing == 'gdes':
      # The difference starts at 0: at first both have the generator's table.
      params = _with_tokens(params, jnp.zeros_like(_tokens(params)))
    return params | {'generator': generator}

  def mlm_params(self, params: Params) -> Params:
    """Returns the parameters of `mlm`, from those that are trained."""
    generator = params['generator']
    return generator | {'embeddings': params['embeddings']} if self.sharing == 'tied' else generator

  def encoder_params(self, params: Params) -> Params:
    """Returns the parameters of `encoder`, from those that are trained."""
    if self.sharing != 'gdes':
      return params
    return _with_tokens(
      params, _tokens(params) + jax.lax.stop_gradient(_tokens(params['generator']))
    )

  def flops(self, tokens: Any, attended: Any, predicted: Any) -> Any:
    """Returns the FLOPs of one forward pass; see models/flops.py."""
    a = self.discriminator.architecture
    head = tokens * (2 * a.width**2 + 2 * a.width)  # of the discriminator, at every token
    # 0 predicted positions: the discriminator has no vocabulary head.
    return self.generator.flops(tokens, attended, predicted) + a.flops(tokens, attended, 0) + head

  def prepare(
    self, policy: masking.Policy, aux: Any, batch: batches.Batch, root_key: jax.Array, progress: Any
  ) -> Inputs:
    """Returns Inputs: no parameters, no gradient."""
    inputs = self.generator.prepare(policy, aux, batch, root_key, progress)
    keys_B = rng.example_keys(root_key, 'replaced', batch.visit_B, batch.example_B2)
    B, L = batch.tokens_BL.shape
    # A number for every position, of which the chosen ones are gathered: a sample depends on the
    # example and its position, never on its place in the prediction buffer.
    uniform_BL = jax.vmap(lambda key: jax.random.uniform(key, (L,)))(keys_B)
    uniform_GP = jnp.take_along_axis(
      uniform_BL.reshape(inputs.index_GP.shape[0], -1), inputs.index_GP, axis=1
    )
    size, special_ids = policy.table.size, policy.table.special_ids
    return Inputs(inputs, batch.tokens_BL.astype(jnp.int32), uniform_GP, size, special_ids)

  def weights(self, inputs: Inputs) -> Sums:
    """Returns {term: number of predictions}; the discriminator makes one at every token."""
    # A mean over the chosen and a mean over all tokens: each term has its own weight.
    return self.generator.weights(inputs.masked) | {
      'rtd': (inputs.masked.segments_BL > 0).sum().astype(jnp.float32)
    }

  def loss(
    self, params: Params, inputs: Inputs, dropout_key: jax.Array | None = None
  ) -> tuple[Sums, Metrics, Sums]:
    """Returns ({term: sum}, {metric: (sum, weight)}, counts); see masked.Objective."""
    # Dropout of the two models is independent.
    keys = (None, None) if dropout_key is None else jax.random.split(dropout_key)
    generator = self.mlm_params(params)
    logits_PV = self.generator.predict(
      generator, self.generator.encode(generator, inputs.masked, keys[0]), inputs.masked
    )
    sums, metrics, counts = self.generator.masked_loss(logits_PV, inputs.masked)
    # No gradient flows through sampling, so the discriminator's loss does not reach the generator.
    sampled_P = sample(
      jax.lax.stop_gradient(logits_PV),
      inputs.uniform_GP.reshape(-1),
      inputs.drawable(logits_PV.shape[1]),
    )
    tokens_BL = replace(sampled_P, inputs)
    detection, more = self._discriminate(self.encoder_params(params), tokens_BL, inputs, keys[1])
    return sums | {'rtd': detection}, metrics | more, counts

  def _discriminate(
    self, params: Params, tokens_BL: jax.Array, inputs: Inputs, dropout_key: jax.Array | None
  ) -> tuple[jax.Array, Metrics]:
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
    # The head takes a list of positions.
    B, L, D = encoded.hidden_BLD.shape
    # Every token, so there is nothing to compact.
    logits_BL = self.discriminator.head(params, encoded.hidden_BLD.reshape(B * L, D)).reshape(B, L)
    replaced_BL, is_token_BL = tokens_BL != inputs.tokens_BL, segments_BL > 0
    loss_BL = optax.sigmoid_binary_cross_entropy(logits_BL, replaced_BL.astype(logits_BL.dtype))
    detected_BL = logits_BL > 0
    loss = sum_and_weight(loss_BL, is_token_BL)
    return loss[0], {
      'rtd_loss': loss,
      'rtd_accuracy': sum_and_weight(detected_BL == replaced_BL, is_token_BL),
      # The accuracy of calling every token original is 1 minus this.
      'replaced_fraction': sum_and_weight(replaced_BL, is_token_BL),
      'rtd_recall': sum_and_weight(detected_BL, is_token_BL & replaced_BL),
      'rtd_precision': sum_and_weight(replaced_BL, is_token_BL & detected_BL),
    }

  def adapt(self, policy: masking.Policy, aux: Any, counts: Sums, step: Any, progress: Any) -> Any:
    """Returns what the policy has learned; see masked.Objective."""
    return self.generator.adapt(policy, aux, counts, step, progress)


def sample(logits_PV: jax.Array, uniform_P: jax.Array, drawable_V: np.ndarray) -> jax.Array:
  """Returns int32 tokens_P, each sampled by one uniform number from the softmax of its logits.

  That is the softmax over the columns where drawable_V holds; the others have no share in it. By
  the inverse of the distribution function, first among blocks of the vocabulary and then inside a
  block. That is one pass over the logits; Gumbel noise would need a random number for each of them.
  """
  P, V = logits_PV.shape
  # Before the maximum, which a column that is left out could lift far above all others. A minimum,
  # and not a choice by `where`, which XLA computes three times as slowly on a CPU.
  most_V = jnp.where(drawable_V, jnp.inf, -jnp.inf)
  logits_PV = jnp.minimum(logits_PV, most_V[None])
  # Probabilities without the division by their sum: the uniform number is scaled by it instead.
  share_PNC = jnp.exp(logits_PV - logits_PV.max(1, keepdims=True)).reshape(
    P, V // _COLUMNS, _COLUMNS
  )
  upto_PN = jnp.cumsum(share_PNC.sum(2), axis=1)  # shares of each block and all before it
  point_P = uniform_P * upto_PN[:, -1]
  block_P = jnp.minimum((upto_PN <= point_P[:, None]).sum(1), V // _COLUMNS - 1)
  before_P = jnp.where(
    block_P > 0, jnp.take_along_axis(upto_PN, block_P[:, None] - 1, axis=1)[:, 0], 0
  )
  inside_PC = jnp.take_along_axis(share_PNC, block_P[:, None, None], axis=1)[:, 0]
  below_PC = jnp.cumsum(inside_PC, axis=1) <= (point_P - before_P)[:, None]
  # Rounding may carry the point past the last token that has a share.
  last_P = _COLUMNS - 1 - jnp.argmax(inside_PC[:, ::-1] > 0, axis=1)
  return block_P * _COLUMNS + jnp.minimum(below_PC.sum(1), last_P)


def replace(sampled_P: jax.Array, inputs: Inputs) -> jax.Array:
  """Returns the original tokens_BL with the sampled ones at the predicted positions."""
  index_GP, (B, L) = inputs.masked.index_GP, inputs.tokens_BL.shape
  G = index_GP.shape[0]
  # Unused places of the buffer have index 0, where they must not write: moved behind the end,
  # where mode='drop' leaves them out.
  index_GP = jnp.where(inputs.masked.action_GP > 0, index_GP, B * L // G)
  write = lambda row_R, index_P, sampled_P: row_R.at[index_P].set(sampled_P, mode='drop')
  return jax.vmap(write)(
    inputs.tokens_BL.reshape(G, -1), index_GP, sampled_P.reshape(G, -1)
  ).reshape(B, L)


def _tokens(params: Params) -> jax.Array:
  """Returns the token table, [V, E]."""
  return params['embeddings']['token']['embedding']


def _with_tokens(params: Params, table_VE: jax.Array) -> Params:
  """Returns params with another table of tokens."""
  return params | {'embeddings': params['embeddings'] | {'token': {'embedding': table_VE}}}
