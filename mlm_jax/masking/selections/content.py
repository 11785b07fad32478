"""Content words before function words, without a tagger."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax.core import batches
from mlm_jax.core import trees
from mlm_jax.core import vocabulary
from mlm_jax.masking import selections


@trees.dataclass
class Content(selections.Selection):
  """The most frequent pieces, which make up half of the text, weigh less than the others.

  They are function words and punctuation, on the whole.

  Attributes:
    function_weight: float32, of those; the others weigh 1.
    weight_V: float32.
  """

  function_weight: batches.Array
  weight_V: batches.Array

  reads = ('function_weight',)

  @classmethod
  def make(cls, masking: Any, table: vocabulary.Table, rate: float) -> 'Content':
    weight = masking.function_weight
    weight_V = np.where(_frequent(table), weight, 1).astype(np.float32)
    return cls(np.float32(weight), weight_V)

  def weights(
    self, table: vocabulary.Table, batch: batches.Batch, units_BL: jax.Array
  ) -> jax.Array:
    return jnp.asarray(self.weight_V)[batch.tokens_BL]


def _frequent(table: vocabulary.Table) -> np.ndarray:
  """Returns bool_V: the fewest ordinary pieces that make up half of the text."""
  counts_V = np.array(table.counts_V, np.float64)
  counts_V[list(table.special_ids)] = 0  # never masked, so not part of the text that is halved
  order = np.argsort(-counts_V, kind='stable')
  before = np.cumsum(counts_V[order]) - counts_V[order]
  frequent_V = np.zeros(table.size, bool)
  frequent_V[order] = before < counts_V.sum() / 2
  return frequent_V
