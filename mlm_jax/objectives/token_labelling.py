"""The loss of token labelling: a label at the first token of each word."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from mlm_jax.models import heads
from mlm_jax.objectives import cross_entropy
from mlm_jax.objectives import finetuning

LABEL = 'label_BL'  # int32, at the first token of a word its label; -1 elsewhere
WORD = 'word_BL'  # int32, there the number of the word; -1 elsewhere


@dataclasses.dataclass(frozen=True)
class TokenLabellingHead:
  """A finetuning.Head: softmax over the labels at each token.

  The loss and its divisor are those of PyTorch's CrossEntropyLoss over the tokens with a label.

  Attributes:
    module: what scores the labels.
    weights: of the labels; () for 1 each.
    smoothing: share of the target that is spread over all labels.
  """

  module: heads.TokenHead | heads.SequenceHead
  weights: tuple[float, ...] = ()
  smoothing: float = 0.0

  def init(self, key: jax.Array) -> Any:
    hidden_NX = jnp.zeros((1, self.module.config.width))
    return self.module.init({'params': key}, hidden_NX, True)['params']

  def outputs(
    self, params: Any, hidden_BLD: jax.Array, inputs: finetuning.Inputs, key: jax.Array | None
  ) -> dict[str, jax.Array]:
    """Returns {'logits_BLC': float32, 'word_BL': int32}."""
    B, L, D = hidden_BLD.shape
    logits_NC = finetuning.apply_module(self.module, params, hidden_BLD.reshape(B * L, D), key)
    return {'logits_BLC': logits_NC.reshape(B, L, -1), WORD: inputs.columns[WORD]}

  def weight(self, inputs: finetuning.Inputs) -> jax.Array:
    return cross_entropy.weight(inputs.columns[LABEL], self.weights)

  def loss(self, outputs: dict[str, jax.Array], inputs: finetuning.Inputs) -> finetuning.Metrics:
    logits_BLC, label_BL = outputs['logits_BLC'], inputs.columns[LABEL]
    return {
      'loss': cross_entropy.cross_entropy(logits_BLC, label_BL, self.weights, self.smoothing),
      'accuracy': cross_entropy.accuracy(logits_BLC, label_BL),
    }
