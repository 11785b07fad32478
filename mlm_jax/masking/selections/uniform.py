"""All units alike."""

import dataclasses

import jax

from mlm_jax.masking import selections


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Uniform(selections.Selection):
  """All units weigh the same."""

  is_uniform = True

  def weights(self, table, batch, units_BL) -> None:
    return None
