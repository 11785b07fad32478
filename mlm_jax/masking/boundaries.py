"""Where units begin and end: what units of all kinds are made with, and read with."""

import jax
import jax.numpy as jnp

from mlm_jax.core import batches
from mlm_jax.core import vocabulary

WORD_TOKENS = 3  # of a word inside a longer unit, at most on the whole; see units.Unit.lengths


def stretches(table: vocabulary.Table, batch: batches.Batch) -> tuple[jax.Array, jax.Array]:
  """Returns (maskable_BL, fresh_BL): where a unit may be, and where one must start if so."""
  # Whatever kind a unit is of, it ends at a special token and at the end of its document.
  maskable_BL = batches.maskable(batch.tokens_BL, table.special_ids)
  document_BL = batches.begins(batch.starts_BS, batch.tokens_BL.shape[1])
  return maskable_BL, maskable_BL & (after(~maskable_BL) | document_BL)


def word_starts(table: vocabulary.Table, batch: batches.Batch) -> jax.Array:
  """Returns bool_BL: where a word starts by the vocabulary alone."""
  tokens_BL = batch.tokens_BL
  return jnp.asarray(table.starts_V)[tokens_BL] | after(jnp.asarray(table.ends_V)[tokens_BL])


def after(holds_BL: jax.Array) -> jax.Array:
  """Returns bool_BL: what holds at the token before; True at the first of a row."""
  return jnp.pad(holds_BL[:, :-1], ((0, 0), (1, 0)), constant_values=True)


def from_starts(starts_BL: jax.Array, maskable_BL: jax.Array) -> jax.Array:
  """Returns units_BL from where units start."""
  # The largest index of a start so far is the start of the unit that a token is in.
  index_1L = jnp.arange(starts_BL.shape[1], dtype=jnp.int32)[None]
  first_BL = jax.lax.cummax(jnp.where(starts_BL, index_1L, 0), axis=1)
  return jnp.where(maskable_BL, first_BL, -1)


def lengths(units_BL: jax.Array) -> jax.Array:
  """Returns int32_BL: at a unit's first token its number of tokens, elsewhere 0."""
  length = units_BL.shape[1]
  index_1L = jnp.arange(length, dtype=jnp.int32)[None]
  # The first position, from here on, that the token before does not share a unit with.
  changes_BL = jnp.pad(units_BL[:, 1:] != units_BL[:, :-1], ((0, 0), (0, 1)), constant_values=True)
  end_BL = jax.lax.cummin(jnp.where(changes_BL, index_1L + 1, length), axis=1, reverse=True)
  return jnp.where(units_BL == index_1L, end_BL - index_1L, 0)


def spread(first_BL: jax.Array, units_BL: jax.Array) -> jax.Array:
  """Returns bool_BL: what holds at each unit's first token, at all its tokens."""
  return (units_BL >= 0) & jnp.take_along_axis(first_BL, jnp.maximum(units_BL, 0), axis=1)
