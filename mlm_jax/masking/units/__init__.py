"""What a policy chooses as a whole: which tokens belong together.

Units are described by where they start: `units_BL` holds the position of the first token of
the unit that a token belongs to, and -1 for a token of no unit (special tokens and padding).
No unit reaches across a special token, or from one document into the next.

Each file of this folder holds one class that derives from `Unit`; its name in small letters is
a value of config.masking.unit. A new file is a new choice, and nothing else has to be edited.
"""

from typing import Any
from typing import ClassVar

import jax

from mlm_jax.core import batches
from mlm_jax.core import vocabulary


class Unit:
  """The base of all units: a frozen dataclass and a pytree, its numbers being leaves.

  Attributes (plain literals, for the config reads them without importing the file):
    reads: settings of the group `masking` that only this unit reads.
    needs: what the data must have been prepared with: 'collocations' or 'classes'.
    many_tokens: whether a unit may have more than one token.
    draws_lengths: whether lengths are drawn at each visit; then `below_K` is their law.
    of_words: whether units are made of whole words.
  """

  reads: ClassVar[tuple[str, ...]] = ()
  needs: ClassVar[tuple[str, ...]] = ()
  many_tokens: ClassVar[bool] = True
  draws_lengths: ClassVar[bool] = False
  of_words: bool = False

  @classmethod
  def make(cls, masking: Any, table: vocabulary.Table) -> 'Unit':
    """Returns the unit of a config's group `masking`."""
    del masking, table
    return cls()

  def units(
    self, table: vocabulary.Table, batch: batches.Batch, words_BL: jax.Array | None = None
  ) -> jax.Array:
    """Returns units_BL, int32; words_BL, uniform uint32 words, is for units that are drawn."""
    raise NotImplementedError

  def lengths(self, length: int) -> tuple[float, float]:
    """Returns what `Policy.cap` takes for granted about units in rows of so many tokens.

    (the root mean square over the rows of the longest, mean squared length / mean length), in
    tokens. A batch beyond it may overflow the prediction buffer, which is counted. Unless a
    unit says otherwise it may be as long as a row.
    """
    return length, length  # the safe side: the buffer has room for all tokens of the rows
