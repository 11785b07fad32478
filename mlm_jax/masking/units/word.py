"""The tokens of one word together."""

import jax

from mlm_jax.core import batches
from mlm_jax.core import trees
from mlm_jax.core import vocabulary
from mlm_jax.masking import boundaries
from mlm_jax.masking import units

# Docstrings cut into only 2,048 pieces have words of 6.4 and 2.2; shorter words need less.
_LONGEST, _CLUSTERING = 8, 3  # tokens, see units.Unit.lengths


@trees.dataclass
class Word(units.Unit):
  """Words by the vocabulary's starts and ends; a punctuation mark is a word of its own.

  A word starts at a token that can be chosen and that starts a word by the vocabulary,
  follows the end of one, follows a special token, or is the first of its row or document. In
  scripts without spaces every piece starts a word, so there a unit is a piece.
  """

  of_words = True

  def units(
    self, table: vocabulary.Table, batch: batches.Batch, words_BL: jax.Array | None = None
  ) -> jax.Array:
    maskable_BL, fresh_BL = boundaries.stretches(table, batch)
    return boundaries.from_starts(boundaries.word_starts(table, batch) | fresh_BL, maskable_BL)

  def lengths(self, length: int) -> tuple[float, float]:
    return min(_LONGEST, length), min(_CLUSTERING, length)
