"""The span boundary objective (SBO): a hidden token is predicted from around its span.

An auxiliary loss (arXiv:1907.10529, section 3.2). A span is a run of hidden tokens: units that
touch are one span, as in the code published with the paper, so that both boundaries are visible
to the encoder.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import trees
from mlm_jax.models import Encoded
from mlm_jax.models import Model
from mlm_jax.models import heads
from mlm_jax.objectives import masked as masked_objective

_PLACES = 32  # of a token in its span that are distinguished


@trees.dataclass
class Inputs:
  """Of each of the P predictions of G groups, its span.

  Attributes:
    left_GP, right_GP: the positions just outside the span, in a group's rows laid end to end.
    place_GP: the token's place in the span, counted from 0.
  """

  left_GP: jax.Array
  right_GP: jax.Array
  place_GP: jax.Array


@dataclasses.dataclass(frozen=True)
class SpanBoundaryLoss:
  """A masked_objective.AuxiliaryLoss.

  Attributes:
    model: the encoder.
    coefficient: of the loss.
  """

  model: Model
  coefficient: float

  name = 'boundary'

  def init(self, key: jax.Array) -> masked_objective.Params:
    """Returns the parameters of the head."""
    a = self.model.architecture
    hidden_1D = jnp.zeros((1, a.width))
    # Flax needs arrays of the right shapes to make parameters; their values do not matter.
    return self._head.init(
      key,
      hidden_1D,
      hidden_1D,
      jnp.zeros(1, jnp.int32),
      jnp.zeros((a.padded_vocab_size, a.embedding_width)),
    )['params']

  def prepare(self, batch: batches.Batch, masked: masking.Masked, index_GP: jax.Array) -> Inputs:
    """Returns Inputs."""
    L = masked.action_BL.shape[1]
    left_BL, right_BL = _boundaries(masked.action_BL > 0)
    at_index = lambda x_BL: jnp.take_along_axis(x_BL.reshape(len(index_GP), -1), index_GP, axis=1)
    # Boundaries are positions in a row; a group's rows lie end to end, so each is moved by the
    # place where its row begins.
    left_GP, row_GP = at_index(left_BL), index_GP // L * L
    return Inputs(row_GP + left_GP, row_GP + at_index(right_BL), index_GP - row_GP - left_GP - 1)

  def flops(self, predicted: Any) -> Any:
    """Returns the FLOPs of one forward pass of the head; see models/flops.py."""
    a = self.model.architecture
    return predicted * 2 * (3 * a.width**2 + a.embedding_width * (a.width + a.vocab_size))

  def weight(self, inputs: Inputs, masked: masked_objective.Inputs) -> jax.Array:
    """Returns the number of hidden tokens that are predicted."""
    return masked.chosen_P.sum().astype(jnp.float32)

  def loss(
    self,
    params: masked_objective.Params,
    encoded: Encoded,
    inputs: Inputs,
    masked: masked_objective.Inputs,
  ) -> tuple[jax.Array, masked_objective.Metrics]:
    """Returns (sum of the loss, {metric: (sum, weight)})."""
    left_PD, right_PD = (
      masked_objective.gather(encoded.hidden_BLD, index_GP)
      for index_GP in (inputs.left_GP, inputs.right_GP)
    )
    logits_PV = self._head.apply(
      {'params': params[self.name]},
      left_PD,
      right_PD,
      inputs.place_GP.reshape(-1),
      # Tied, as the masked head is.
      params['embeddings']['token']['embedding'],
    )
    loss_P, rank_P, _ = masked_objective.score(logits_PV, masked)
    # With predict_all, tokens are predicted that lie in no span; they have no boundary.
    loss = masked_objective.sum_and_weight(loss_P, masked.chosen_P)
    accuracy = masked_objective.sum_and_weight(rank_P == 0, masked.chosen_P)
    return loss[0], {'boundary_loss': loss, 'boundary_accuracy': accuracy}

  @property
  def _head(self) -> Any:
    return heads.BoundaryHead(self.model.architecture, _PLACES)


def _boundaries(hidden_BL: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns (left_BL, right_BL): the nearest position on either side that is not hidden.

  There is always one, since each document begins with [CLS] and ends with [SEP].
  """
  L = hidden_BL.shape[1]
  index_1L = jnp.arange(L)[None]
  # The largest index so far of what is not hidden; and the smallest, read from the right.
  left_BL = jax.lax.cummax(jnp.where(hidden_BL, 0, index_1L), axis=1)
  return left_BL, jax.lax.cummin(jnp.where(hidden_BL, L - 1, index_1L), axis=1, reverse=True)
