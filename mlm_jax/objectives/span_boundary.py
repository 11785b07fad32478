"""An added loss: each hidden token is predicted from what stands around its span (arXiv:1907.10529,
section 3.2).

A span is what is hidden in one run: units that touch are one, as in the code published with the
paper, so that what stands around it is seen.
"""

import dataclasses

import jax
import jax.numpy as jnp

from mlm_jax.models import Model
from mlm_jax.models import heads
from mlm_jax.objectives import masked as masked_objective

_PLACES = 32  # of a token in its span that are told apart


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Inputs:
  """Of the P predictions of G groups: where what stands left and right of its span does, and its
  place in that.
  """

  left_GP: jax.Array
  right_GP: jax.Array
  place_GP: jax.Array


@dataclasses.dataclass(frozen=True)
class Term:
  """A term of masked.Objective, see pairs.Term.

  Attributes:
    model: the encoder.
    weight: coefficient of the loss.
  """

  model: Model
  weight: float

  name = 'boundary'

  def init(self, key):
    """Returns the parameters of the head."""
    a = self.model.architecture
    hidden_1D = jnp.zeros((1, a.width))
    return self._head.init(
      key,
      hidden_1D,
      hidden_1D,
      jnp.zeros(1, jnp.int32),
      jnp.zeros((a.padded_vocab_size, a.embedding_width)),
    )['params']

  def prepare(self, batch, masked, index_GP):
    """Returns Inputs."""
    L = masked.action_BL.shape[1]
    left_BL, right_BL = _around(masked.action_BL > 0)
    at = lambda x_BL: jnp.take_along_axis(x_BL.reshape(len(index_GP), -1), index_GP, axis=1)
    left_GP, row_GP = at(left_BL), index_GP // L * L
    return Inputs(row_GP + left_GP, row_GP + at(right_BL), index_GP - row_GP - left_GP - 1)

  def flops(self, predicted):
    """Returns the FLOPs of one forward pass; see models/flops.py."""
    a = self.model.architecture
    return predicted * 2 * (3 * a.width**2 + a.embedding_width * (a.width + a.vocab_size))

  def total(self, inputs, masked):
    """Returns the number of hidden tokens that are predicted."""
    return masked.hidden_P.sum().astype(jnp.float32)

  def loss(self, params, encoded, inputs, masked):
    """Returns (sum of the loss, {metric: (sum, weight)})."""
    ends = [
      masked_objective.gathered(encoded.hidden_BLD, index_GP)
      for index_GP in (inputs.left_GP, inputs.right_GP)
    ]
    logits_PV = self._head.apply(
      {'params': params[self.name]},
      *ends,
      inputs.place_GP.reshape(-1),
      params['embeddings']['token']['embedding'],
    )
    loss_P, better_P, _ = masked_objective.score(logits_PV, masked)
    total = jnp.where(masked.hidden_P, loss_P, 0).sum(dtype=jnp.float32)
    number = masked.hidden_P.sum(dtype=jnp.float32)
    right = (masked.hidden_P & (better_P == 0)).sum(dtype=jnp.float32)
    return total, {'boundary_loss': (total, number), 'boundary_accuracy': (right, number)}

  @property
  def _head(self):
    return heads.BoundaryHead(self.model.architecture, _PLACES)


def _around(hidden_BL):
  """Returns (left_BL, right_BL): the nearest position on either side that is not hidden.

  There is one: [CLS] and [SEP] stand around each document.
  """
  L = hidden_BL.shape[1]
  index_1L = jnp.arange(L)[None]
  left_BL = jax.lax.cummax(jnp.where(hidden_BL, 0, index_1L), axis=1)
  return left_BL, jax.lax.cummin(jnp.where(hidden_BL, L - 1, index_1L), axis=1, reverse=True)
