"""All units alike."""

import jax

from mlm_jax.core import batches
from mlm_jax.core import trees
from mlm_jax.core import vocabulary
from mlm_jax.masking import selections


@trees.dataclass
class Uniform(selections.Selection):
  """All units weigh the same."""

  is_uniform = True

  def weights(self, table: vocabulary.Table, batch: batches.Batch, units_BL: jax.Array) -> None:
    return None
