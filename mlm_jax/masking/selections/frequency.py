"""Rare pieces before frequent ones."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax.core import batches
from mlm_jax.core import trees
from mlm_jax.core import vocabulary
from mlm_jax.masking import selections


@trees.dataclass
class Frequency(selections.Selection):
  """A piece weighs (count + 1) to minus a power.

  Attributes:
    power: float32.
    weight_V: float32, from the power; the largest is 1.
  """

  power: batches.Array
  weight_V: batches.Array

  reads = ('frequency_power',)

  @classmethod
  def make(cls, masking: Any, table: vocabulary.Table, rate: float) -> 'Frequency':
    power = float(masking.frequency_power)
    # + 1: a piece that training never saw would otherwise weigh without bound.
    weight_V = (np.asarray(table.counts_V, np.float64) + 1) ** -power
    return cls(np.float32(power), (weight_V / weight_V.max()).astype(np.float32))

  def weights(
    self, table: vocabulary.Table, batch: batches.Batch, units_BL: jax.Array
  ) -> jax.Array:
    return jnp.asarray(self.weight_V)[batch.tokens_BL]
