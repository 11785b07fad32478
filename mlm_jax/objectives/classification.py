"""The loss of classification: one label an example, or several."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mlm_jax.models import heads
from mlm_jax.models import pooling
from mlm_jax.objectives import cross_entropy
from mlm_jax.objectives import finetuning

LABEL = 'label_BS'  # int32, the label; -1 where there is none
LABELS = 'labels_BSC'  # int8, of several labels an example: 1 for each that it has; -1 likewise


@dataclasses.dataclass(frozen=True)
class SequenceScores:
  """What a finetuning.Head of whole texts begins with: scores from one vector of each example.

  Attributes:
    module: what scores.
    pooled: of models/pooling.SEGMENT_MODES, what it reads.
  """

  module: heads.SequenceHead
  pooled: str

  def init(self, key: jax.Array) -> Any:
    hidden_NX = jnp.zeros((1, self.module.config.width))
    return self.module.init({'params': key}, hidden_NX, True)['params']

  def scores(
    self, params: Any, hidden_BLD: jax.Array, inputs: finetuning.Inputs, key: jax.Array | None
  ) -> jax.Array:
    """Returns float32 [B, S, C]; the arguments are those of Head.outputs."""
    B, S = inputs.starts_BS.shape
    hidden_BSD = pooling.pool_segments(
      self.pooled, hidden_BLD, inputs.segments_BL, inputs.starts_BS
    )
    scores_NC = finetuning.apply_module(self.module, params, hidden_BSD.reshape(B * S, -1), key)
    return scores_NC.reshape(B, S, -1)


@dataclasses.dataclass(frozen=True)
class ClassificationHead(SequenceScores):
  """A finetuning.Head: softmax over the labels, or a sigmoid of each.

  Losses and their divisors are those of PyTorch: of CrossEntropyLoss with weight and
  label_smoothing, and the mean of BCEWithLogitsLoss over examples and labels.

  Attributes:
    is_multilabel: whether an example may have several labels.
    weights: of the labels; () for 1 each.
    smoothing: share of the target that is spread over all labels.
  """

  is_multilabel: bool = False
  weights: tuple[float, ...] = ()
  smoothing: float = 0.0

  def outputs(
    self, params: Any, hidden_BLD: jax.Array, inputs: finetuning.Inputs, key: jax.Array | None
  ) -> dict[str, jax.Array]:
    """Returns {'logits_BSC': float32}."""
    return {'logits_BSC': self.scores(params, hidden_BLD, inputs, key)}

  def weight(self, inputs: finetuning.Inputs) -> jax.Array:
    if self.is_multilabel:
      labels_BSC = inputs.columns[LABELS]
      return (labels_BSC >= 0).sum(dtype=jnp.float32)
    return cross_entropy.weight(inputs.columns[LABEL], self.weights)

  def loss(self, outputs: dict[str, jax.Array], inputs: finetuning.Inputs) -> finetuning.Metrics:
    logits_BSC = outputs['logits_BSC']
    if self.is_multilabel:
      labels_BSC = inputs.columns[LABELS]
      has_BSC = labels_BSC >= 0
      loss_BSC = optax.sigmoid_binary_cross_entropy(logits_BSC, jnp.maximum(labels_BSC, 0))
      loss = jnp.where(has_BSC, loss_BSC * self._weights(logits_BSC.shape[-1]), 0).sum()
      right_BSC = (logits_BSC > 0) == (labels_BSC > 0)
      return {
        'loss': (loss, self.weight(inputs)),
        'accuracy': _sum(right_BSC.all(-1), has_BSC[..., 0]),
      }
    label_BS = inputs.columns[LABEL]
    return {
      'loss': cross_entropy.cross_entropy(logits_BSC, label_BS, self.weights, self.smoothing),
      'accuracy': cross_entropy.accuracy(logits_BSC, label_BS),
    }

  def _weights(self, labels: int) -> jax.Array:
    """Returns the weights of the labels as [1, 1, C]."""
    return jnp.array(self.weights or (1.0,) * labels, jnp.float32)[None, None]


def _sum(value_BS: jax.Array, where_BS: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns a metric's (sum, number) over where `where_BS` holds."""
  return jnp.where(where_BS, value_BS, 0).sum(dtype=jnp.float32), where_BS.sum(dtype=jnp.float32)
