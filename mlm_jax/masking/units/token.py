"""Each token by itself."""

import jax
import jax.numpy as jnp

from mlm_jax.core import batches
from mlm_jax.core import trees
from mlm_jax.core import vocabulary
from mlm_jax.masking import units


@trees.dataclass
class Token(units.Unit):
  """Each token is its own unit."""

  many_tokens = False

  def units(
    self, table: vocabulary.Table, batch: batches.Batch, words_BL: jax.Array | None = None
  ) -> jax.Array:
    maskable_BL = batches.maskable(batch.tokens_BL, table.special_ids)
    index_1L = jnp.arange(batch.tokens_BL.shape[1], dtype=jnp.int32)[None]
    return jnp.where(maskable_BL, index_1L, -1)

  def lengths(self, length: int) -> tuple[float, float]:
    return 1, 1
