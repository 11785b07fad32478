"""The tokens of one sentence together."""

import jax
import jax.numpy as jnp

from mlm_jax.core import batches
from mlm_jax.core import trees
from mlm_jax.core import vocabulary
from mlm_jax.masking import boundaries
from mlm_jax.masking import units


@trees.dataclass
class Sentence(units.Unit):
  """Up to a piece that closes a sentence (. ! ? and the like) and the punctuation after it.

  An abbreviation's dot closes one too. A sentence may be as long as a row.
  """

  def units(
    self, table: vocabulary.Table, batch: batches.Batch, words_BL: jax.Array | None = None
  ) -> jax.Array:
    tokens_BL = batch.tokens_BL
    maskable_BL, fresh_BL = boundaries.stretches(table, batch)
    closes_BL = jnp.asarray(table.closes_V)[tokens_BL] & maskable_BL
    # Punctuation behind the end, such as a quotation mark, is still in the sentence.
    aside_BL = jnp.asarray(table.ends_V)[tokens_BL] & ~closes_BL & maskable_BL & ~fresh_BL
    index_1L = jnp.arange(tokens_BL.shape[1], dtype=jnp.int32)[None]
    last_close_BL = jax.lax.cummax(jnp.where(closes_BL, index_1L, -1), axis=1)
    last_word_BL = jax.lax.cummax(jnp.where(~aside_BL & ~closes_BL, index_1L, -1), axis=1)
    # A sentence is closed where, looking back, a piece that closes one is met before a word.
    closed_BL = boundaries.after(last_close_BL > last_word_BL)
    return boundaries.from_starts(fresh_BL | closed_BL & ~aside_BL & ~closes_BL, maskable_BL)
