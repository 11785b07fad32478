"""The loss of sentence pairs: next-sentence prediction (NSP) or sentence-order prediction (SOP).

An auxiliary loss that classifies each pair as right or wrong by its [CLS]. How pairs and their
labels are made is in data/annotations/sentence_pairs.py.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import trees
from mlm_jax.data.annotations import sentence_pairs
from mlm_jax.models import Encoded
from mlm_jax.models import heads
from mlm_jax.models.architecture import Architecture
from mlm_jax.objectives import masked as masked_objective


@trees.dataclass
class Inputs:
  """The pairs of each row.

  Attributes:
    cls_BS: position of each pair's [CLS].
    label_BS: RIGHT or WRONG (data/annotations/sentence_pairs.py); 0 where there is no pair.
  """

  cls_BS: jax.Array
  label_BS: jax.Array


@dataclasses.dataclass(frozen=True)
class SentencePairLoss:
  """A masked_objective.AuxiliaryLoss.

  Attributes:
    architecture: of the encoder.
    coefficient: of the loss.
  """

  architecture: Architecture
  coefficient: float

  name = 'pairs'

  def init(self, key: jax.Array) -> masked_objective.Params:
    """Returns the parameters of the head."""
    return self._head.init(key, jnp.zeros((1, self.architecture.width)))['params']

  def prepare(self, batch: batches.Batch, masked: masking.Masked, index_GP: jax.Array) -> Inputs:
    """Returns Inputs, from the batch alone."""
    assert batch.pairs_BS is not None, 'objective.pairs_weight is refused for data without pairs'
    # Unused segments start at -1; they read position 0 and have no label.
    return Inputs(
      jnp.maximum(batch.starts_BS, 0), jnp.where(batch.starts_BS >= 0, batch.pairs_BS, 0)
    )

  def flops(self, predicted: Any) -> Any:
    """Returns 0: one [CLS] a pair is next to nothing beside the tokens between."""
    return 0

  def weight(self, inputs: Inputs, masked: masked_objective.Inputs) -> jax.Array:
    """Returns the number of pairs."""
    return (inputs.label_BS > 0).sum().astype(jnp.float32)

  def loss(
    self,
    params: masked_objective.Params,
    encoded: Encoded,
    inputs: Inputs,
    masked: masked_objective.Inputs,
  ) -> tuple[jax.Array, masked_objective.Metrics]:
    """Returns (sum of the loss, {metric: (sum, weight)})."""
    B, S = inputs.cls_BS.shape
    hidden_BSD = jnp.take_along_axis(encoded.hidden_BLD, inputs.cls_BS[:, :, None], axis=1)
    logits_P2 = self._head.apply({'params': params[self.name]}, hidden_BSD.reshape(B * S, -1))
    label_P = inputs.label_BS.reshape(-1).astype(jnp.int32)
    used_P, is_wrong_P = label_P > 0, (label_P == sentence_pairs.WRONG).astype(jnp.int32)
    log_P2 = jax.nn.log_softmax(logits_P2)
    # Computed for every segment; those without a label are left out of the sum.
    loss_P = -jnp.take_along_axis(log_P2, is_wrong_P[:, None], axis=1)[:, 0]
    loss = masked_objective.sum_and_weight(loss_P, used_P)
    accuracy = masked_objective.sum_and_weight(logits_P2.argmax(1) == is_wrong_P, used_P)
    return loss[0], {'pairs_loss': loss, 'pairs_accuracy': accuracy}

  @property
  def _head(self) -> Any:
    return heads.PairHead(self.architecture)
