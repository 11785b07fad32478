"""The words of one collocation together."""

import dataclasses

import jax

from mlm_jax.masking import boundaries
from mlm_jax.masking import units

_LONGEST = 5 * boundaries.WORD_TOKENS


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Collocation(units.Unit):
  """What was found to belong together when the data was prepared; other words by themselves.

  See data/annotations/collocations.py. Source: arXiv:2010.01825.
  """

  needs = ('collocations',)
  of_words = True

  def units(self, table, batch, words_BL=None) -> jax.Array:
    maskable_BL, fresh_BL = boundaries.stretches(table, batch)
    starts_BL = boundaries.word_starts(table, batch) & ~batch.joins_BL | fresh_BL
    return boundaries.from_starts(starts_BL, maskable_BL)

  def lengths(self, length) -> tuple[float, float]:
    longest = min(_LONGEST, length)
    return longest, longest
