"""Which tokens belong together, by reading a text from token to token; numpy."""

import functools
from typing import Any

import numpy as np

from mlm_jax.core import batches
from mlm_jax.core import vocabulary
from mlm_jax.masking import units as units_lib
from mlm_jax.masking.units import collocation
from mlm_jax.masking.units import sentence
from mlm_jax.masking.units import span
from mlm_jax.masking.units import token
from mlm_jax.masking.units import word


def units(unit: units_lib.Unit, table: vocabulary.Table, batch: batches.Batch) -> np.ndarray | None:
  """Returns int units_BL: the position of the first token of each token's unit; -1 = no unit.

  Of spans, the words or tokens that they are made of. None for a unit that is not known here.

  Args:
    unit, table: of the policy.
    batch: batches.Batch of numpy arrays.
  """
  begins = _reader(unit, table, batch)
  if begins is None:
    return None
  B, L = batch.tokens_BL.shape
  units_BL, unit_B = np.full((B, L), -1), np.full(B, -1)
  special_V = np.isin(np.arange(table.size), table.special_ids)
  for i, token_B in enumerate(batch.tokens_BL.T):
    # Behind a special token (or at the start of a row) and at a document's start.
    fresh_B = (unit_B < 0) | (batch.starts_BS == i).any(axis=1)
    begins_B = fresh_B | begins(i, fresh_B)
    unit_B = np.where(special_V[token_B], -1, np.where(begins_B, i, unit_B))
    units_BL[:, i] = unit_B
  return units_BL


@functools.singledispatch
def _reader(unit: units_lib.Unit, table: vocabulary.Table, batch: batches.Batch) -> Any:
  """Returns (i, fresh_B) -> begins_B: where units begin at i, called for one token after another.

  None for a unit that is not known here. fresh_B: where one must begin whatever is returned.
  """
  return None


@_reader.register
def _(unit: token.Token, table, batch):
  return lambda i, fresh_B: True


@_reader.register
def _(unit: word.Word, table, batch):
  starts_V, ends_V = np.asarray(table.starts_V), np.asarray(table.ends_V)
  tokens_BL = batch.tokens_BL
  # At i = 0 this looks at the end of the row, which does not matter: there `fresh_B` holds.
  return lambda i, fresh_B: starts_V[tokens_BL[:, i]] | ends_V[tokens_BL[:, i - 1]]


@_reader.register
def _(unit: span.Span, table, batch):
  return _reader(word.Word() if unit.of == 'word' else token.Token(), table, batch)


@_reader.register
def _(unit: collocation.Collocation, table, batch):
  of_words = _reader(word.Word(), table, batch)
  return lambda i, fresh_B: of_words(i, fresh_B) & ~batch.joins_BL[:, i]


@_reader.register
def _(unit: sentence.Sentence, table, batch):
  ends_V, closes_V = np.asarray(table.ends_V), np.asarray(table.closes_V)
  closed_B = np.zeros(len(batch.tokens_BL), bool)

  def begins(i: int, fresh_B: np.ndarray) -> np.ndarray:
    """A sentence that is closed takes in the punctuation behind it, but not a word."""
    nonlocal closed_B
    closes_B, ends_B = closes_V[batch.tokens_BL[:, i]], ends_V[batch.tokens_BL[:, i]]
    # Kept from token to token, so tokens must be asked for in their order.
    begins_B = closed_B & ~closes_B & ~ends_B
    closed_B = closes_B | closed_B & ends_B & ~fresh_B
    return begins_B

  return begins
