"""All units alike."""

import dataclasses

import jax

from mlm_jax.core import batches
from mlm_jax.core import vocabulary
from mlm_jax.masking import selections


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Uniform(selections.Selection):
  """All units weigh the same."""

  is_uniform = True

  def weights(self, table: vocabulary.Table, batch: batches.Batch, units_BL: jax.Array) -> None:
    return None
