"""An added loss: are the two sentences of a pair what they seem? See
data/annotations/sentence_pairs.py.
"""

import dataclasses

import jax
import jax.numpy as jnp

from mlm_jax.data.annotations import sentence_pairs
from mlm_jax.models import heads


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Inputs:
  """Where each pair's [CLS] stands, and its label (see data/annotations/sentence_pairs.py); 0 where
  there is none.
  """

  cls_BS: jax.Array
  label_BS: jax.Array


@dataclasses.dataclass(frozen=True)
class Term:
  """A term of masked.Objective: a loss on its encoding, with a sum and a weight of its own.

  Attributes:
    architecture: of the encoder.
    weight: coefficient of the loss.
  """

  architecture: object
  weight: float

  name = 'pairs'

  def init(self, key):
    """Returns the parameters of the head."""
    return self._head.init(key, jnp.zeros((1, self.architecture.width)))['params']

  def prepare(self, batch, masked, index_GP):
    """Returns Inputs."""
    return Inputs(
      jnp.maximum(batch.starts_BS, 0), jnp.where(batch.starts_BS >= 0, batch.pairs_BS, 0)
    )

  def flops(self, predicted):
    """Returns 0: one [CLS] a pair is next to nothing beside the tokens between."""
    return 0

  def total(self, inputs, masked):
    """Returns the number of pairs."""
    return (inputs.label_BS > 0).sum().astype(jnp.float32)

  def loss(self, params, encoded, inputs, masked):
    """Returns (sum of the loss, {metric: (sum, weight)})."""
    B, S = inputs.cls_BS.shape
    hidden_BSD = jnp.take_along_axis(encoded.hidden_BLD, inputs.cls_BS[:, :, None], axis=1)
    logits_P2 = self._head.apply({'params': params[self.name]}, hidden_BSD.reshape(B * S, -1))
    label_P = inputs.label_BS.reshape(-1).astype(jnp.int32)
    used_P, is_wrong_P = label_P > 0, (label_P == sentence_pairs.WRONG).astype(jnp.int32)
    log_P2 = jax.nn.log_softmax(logits_P2)
    loss_P = jnp.where(used_P, -jnp.take_along_axis(log_P2, is_wrong_P[:, None], axis=1)[:, 0], 0)
    total, number = loss_P.sum(dtype=jnp.float32), used_P.sum(dtype=jnp.float32)
    right = (used_P & (logits_P2.argmax(1) == is_wrong_P)).sum(dtype=jnp.float32)
    return total, {'pairs_loss': (total, number), 'pairs_accuracy': (right, number)}

  @property
  def _head(self):
    return heads.PairHead(self.architecture)
