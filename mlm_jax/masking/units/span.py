"""Runs of words or tokens whose lengths are drawn."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax.core import batches
from mlm_jax.core import trees
from mlm_jax.core import vocabulary
from mlm_jax.masking import boundaries
from mlm_jax.masking import units

_UNROLLED = 16  # steps of the walk along a row that are compiled as one


@trees.dataclass
class Span(units.Unit):
  """The text of a document, tiled from its beginning by runs of words (or tokens).

  Lengths are drawn again at each visit, independently of where a span starts; the last span of
  a document may be cut short. Source: arXiv:1907.10529, section 3.1, for the geometric law.

  Attributes:
    below_K: uint32, 2**32 times the probability of at most 1, 2, ..., K - 1; see `below`.
    of: 'word' or 'token', what lengths are counted in.
  """

  below_K: batches.Array
  of: str = dataclasses.field(metadata={'static': True})

  reads = ('span_of', 'span_length_distribution', 'span_p', 'span_max')
  draws_lengths = True

  @classmethod
  def make(cls, masking: Any, table: vocabulary.Table) -> 'Span':
    law = masking.span_length_distribution, masking.span_p, masking.span_max
    return cls(below(length_distribution(*law)), masking.span_of)

  @property
  def of_words(self) -> bool:  # pyrefly: ignore[bad-override]  # nobody assigns to it
    return self.of == 'word'

  def units(
    self, table: vocabulary.Table, batch: batches.Batch, words_BL: jax.Array | None = None
  ) -> jax.Array:
    """Returns units_BL; the word at a span's first token gives the span its length."""
    assert words_BL is not None, 'lengths of spans are drawn'
    maskable_BL, fresh_BL = boundaries.stretches(table, batch)
    atom_BL = (
      maskable_BL & (boundaries.word_starts(table, batch) | fresh_BL)
      if self.of_words
      else maskable_BL
    )
    # The inverse of the distribution function: how many of its steps the word has reached.
    length_BL = 1 + (words_BL[:, :, None] >= jnp.asarray(self.below_K)[None, None]).sum(
      axis=2, dtype=jnp.int32
    )

    def walk(carry: tuple, here: tuple) -> tuple[tuple, jax.Array]:
      # left_B: words (or tokens) that the current span still takes; first_B: where it started.
      left_B, first_B = carry
      index, atom_B, fresh_B, length_B = here
      starts_B = atom_B & (fresh_B | (left_B == 0))
      left_B = jnp.where(starts_B, length_B, left_B) - atom_B.astype(jnp.int32)
      first_B = jnp.where(starts_B, index, first_B)
      return (left_B, first_B), first_B

    # Whether a span starts here depends on the one before it, so this is a walk along the row.
    B, L = atom_BL.shape
    along = (jnp.arange(L, dtype=jnp.int32), atom_BL.T, fresh_BL.T, length_BL.T)
    first_LB = jax.lax.scan(walk, (jnp.zeros(B, jnp.int32),) * 2, along, unroll=_UNROLLED)[1]
    return jnp.where(maskable_BL, first_LB.T, -1)

  def lengths(self, length: int) -> tuple[float, float]:
    longest = (len(self.below_K) + 1) * (boundaries.WORD_TOKENS if self.of_words else 1)
    return min(longest, length), min(longest, length)


def length_distribution(law: str, p: float, longest: int) -> np.ndarray:
  """Returns float64 probabilities of the lengths 1 to `longest`.

  geometric: p (1 - p)**(n - 1), renormalised; uniform: all alike; harmonic: 1 / n.
  """
  n_K = np.arange(1, longest + 1)
  weight_K = {
    'geometric': p * (1 - p) ** (n_K - 1.0),
    'uniform': np.ones(longest),
    'harmonic': 1 / n_K,
  }[law]
  return weight_K / weight_K.sum()


def below(share_K: np.ndarray) -> np.ndarray:
  """Returns uint32 below_K of a `Span` from the probabilities of its lengths."""
  return np.minimum(np.cumsum(share_K[:-1]) * 2.0**32, 2**32 - 1).astype(np.uint32)
