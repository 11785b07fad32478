"""What a policy chooses as a whole: which tokens belong together.

Units are told by where they start: `units_BL` holds the position of the first
token of the unit that a token belongs to, and -1 for a token of no unit
(special tokens and padding).
"""

import jax
import jax.numpy as jnp

from mlm_jax import batches


def tokens(table, batch):
  """Returns units_BL, int32: every token its own unit."""
  maskable_BL = batches.maskable(batch.tokens_BL, table.special_ids)
  index_1L = jnp.arange(batch.tokens_BL.shape[1], dtype=jnp.int32)[None]
  return jnp.where(maskable_BL, index_1L, -1)


def words(table, batch):
  """Returns units_BL, int32: the tokens of one word together.

  A word starts at a token that can be chosen and that starts a word by the
  vocabulary, follows the end of one, follows a special token, or is the first of
  its row or document. In scripts without spaces every piece starts a word, so
  there a unit is a piece.
  """
  tokens_BL = batch.tokens_BL
  maskable_BL = batches.maskable(tokens_BL, table.special_ids)
  index_L = jnp.arange(tokens_BL.shape[1], dtype=jnp.int32)
  ended_BL = jnp.asarray(table.ends_V)[tokens_BL] | ~maskable_BL
  before_BL = jnp.pad(ended_BL[:, :-1], ((0, 0), (1, 0)), constant_values=True)
  document_BL = batches.begins(batch.starts_BS, tokens_BL.shape[1])
  starts_BL = jnp.asarray(table.starts_V)[tokens_BL] | before_BL | document_BL
  first_BL = jax.lax.cummax(jnp.where(starts_BL, index_L[None], 0), axis=1)
  return jnp.where(maskable_BL, first_BL, -1)


def lengths(units_BL):
  """Returns int32_BL: at a unit's first token its number of tokens, elsewhere 0."""
  length = units_BL.shape[1]
  index_1L = jnp.arange(length, dtype=jnp.int32)[None]
  # The first position, from here on, that the token before does not share a unit with.
  changes_BL = jnp.pad(units_BL[:, 1:] != units_BL[:, :-1], ((0, 0), (0, 1)), constant_values=True)
  end_BL = jax.lax.cummin(jnp.where(changes_BL, index_1L + 1, length), axis=1, reverse=True)
  return jnp.where(units_BL == index_1L, end_BL - index_1L, 0)
