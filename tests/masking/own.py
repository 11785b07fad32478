"""Selections as a researcher would write them; the first is README's example."""

import jax.numpy as jnp
import numpy as np


class LongWords:
  """Prefers long words: a unit weighs its number of pieces to some power."""

  power = 1.5

  def __init__(self, table):
    self.table = table  # counts_V, starts_V, ...: what is known of each piece

  def weights(self, row):
    first_L = jnp.maximum(row.units_L, 0)  # -1 = no unit
    pieces_L = jnp.zeros(len(first_L)).at[first_L].add(jnp.where(row.units_L >= 0, 1.0, 0.0))
    return pieces_L[first_L] ** self.power


class RarePieces:
  """Looks at the vocabulary and at the classes."""

  def __init__(self, table):
    self.weight_V = 1 / (1 + table.counts_V)

  def weights(self, row):
    return self.weight_V[row.tokens_L] * jnp.where(
      row.classes_L == 1, jnp.float32(3), jnp.float32(1)
    )


class Odd:
  """Gives weights that are negative, infinite or not numbers."""

  def __init__(self, table):
    pass

  def weights(self, row):
    odd_7 = jnp.array([1, 0, -2, jnp.nan, 0.5, -jnp.inf, 3], jnp.float32)
    return jnp.where(row.tokens_L == 77, jnp.inf, odd_7[row.tokens_L % 7])


class Nothing(RarePieces):
  """Gives no unit any weight."""

  def weights(self, row):
    return jnp.zeros(row.tokens_L.shape)


class OfTheVocabulary(RarePieces):
  """Forgets to look the tokens up."""

  def weights(self, row):
    return self.weight_V


class Eight(RarePieces):
  """Is made for rows of 8 tokens, and says so."""

  def weights(self, row):
    if row.tokens_L.shape != (8,):
      raise ValueError('rows of 8 only')
    return row.tokens_L


class EightNumbers(RarePieces):
  """Gives 8 weights whatever the row."""

  def weights(self, row):
    return jnp.ones(8)


class InNumpy(RarePieces):
  """Leaves what can be compiled."""

  def weights(self, row):
    return np.sqrt(np.asarray(row.tokens_L))


class WithoutWeights:
  pass
