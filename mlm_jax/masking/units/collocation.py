"""The words of one collocation together."""

import jax

from mlm_jax.core import batches
from mlm_jax.core import trees
from mlm_jax.core import vocabulary
from mlm_jax.masking import boundaries
from mlm_jax.masking import units

_LONGEST = 5 * boundaries.WORD_TOKENS  # a collocation has at most five words


@trees.dataclass
class Collocation(units.Unit):
  """What was found to belong together when the data was prepared; other words by themselves.

  See data/annotations/collocations.py. Source: arXiv:2010.01825.
  """

  needs = ('collocations',)
  of_words = True

  def units(
    self, table: vocabulary.Table, batch: batches.Batch, words_BL: jax.Array | None = None
  ) -> jax.Array:
    assert batch.joins_BL is not None, 'unit = collocation is refused for data without them'
    maskable_BL, fresh_BL = boundaries.stretches(table, batch)
    # A join only removes a start: it cannot carry a unit over a special token or a document's end.
    starts_BL = boundaries.word_starts(table, batch) & ~batch.joins_BL | fresh_BL
    return boundaries.from_starts(starts_BL, maskable_BL)

  def lengths(self, length: int) -> tuple[float, float]:
    longest = min(_LONGEST, length)
    return longest, longest
