"""The losses of similarity and regression: of one score, or of the cosine of two texts."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from mlm_jax.objectives import bi_encoder
from mlm_jax.objectives import classification
from mlm_jax.objectives import finetuning

SCORE = 'score_BS'  # float32, what is to be predicted, scaled; 0 where it is not known
PREDICTED = 'predicted_BS'  # float32, of an example, or of its first text


def _squared_error(
  outputs: dict[str, jax.Array], inputs: finetuning.Inputs
) -> tuple[jax.Array, jax.Array]:
  """Returns (sum, number) of the squared errors of a batch's examples."""
  squared_BS = jnp.square(outputs[PREDICTED] - inputs.columns[SCORE])
  return jnp.where(inputs.firsts_BS, squared_BS, 0).sum(dtype=jnp.float32), _number(inputs)


def _number(inputs: finetuning.Inputs) -> jax.Array:
  return inputs.firsts_BS.sum(dtype=jnp.float32)


@dataclasses.dataclass(frozen=True)
class RegressionHead(classification.SequenceScores):
  """A finetuning.Head of one score: the mean squared error, as of `transformers` for regression."""

  def outputs(
    self, params: Any, hidden_BLD: jax.Array, inputs: finetuning.Inputs, key: jax.Array | None
  ) -> dict[str, jax.Array]:
    """Returns {PREDICTED: float32 [B, S]}."""
    return {PREDICTED: self.scores(params, hidden_BLD, inputs, key)[..., 0]}

  def weight(self, inputs: finetuning.Inputs) -> jax.Array:
    return _number(inputs)

  def loss(self, outputs: dict[str, jax.Array], inputs: finetuning.Inputs) -> finetuning.Metrics:
    return {'loss': _squared_error(outputs, inputs)}


@dataclasses.dataclass(frozen=True)
class CosineHead:
  """A finetuning.Head of pairs whose texts are encoded alone, without parameters of its own.

  The loss is the mean squared error of the cosine of their vectors, CosineSimilarityLoss of
  sentence-transformers (arXiv:1908.10084).

  Attributes:
    pooled: of models/pooling.SEGMENT_MODES, what a text's vector is.
  """

  pooled: str

  def init(self, key: jax.Array) -> Any:
    return {}

  def outputs(
    self, params: Any, hidden_BLD: jax.Array, inputs: finetuning.Inputs, key: jax.Array | None
  ) -> dict[str, jax.Array]:
    """Returns {PREDICTED: float32 [B, S]}, the cosine at the place of a pair's first text."""
    vectors_BSD = bi_encoder.embeddings(self.pooled, hidden_BLD, inputs)
    return {PREDICTED: bi_encoder.cosines(vectors_BSD)}

  def weight(self, inputs: finetuning.Inputs) -> jax.Array:
    return _number(inputs)

  def loss(self, outputs: dict[str, jax.Array], inputs: finetuning.Inputs) -> finetuning.Metrics:
    return {'loss': _squared_error(outputs, inputs)}
