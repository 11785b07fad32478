"""What becomes of the chosen: [MASK], a random token, or the token itself."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax.core import batches
from mlm_jax.core import trees
from mlm_jax.core import vocabulary
from mlm_jax.masking import random_words

NONE, MASK, RANDOM, KEEP = 0, 1, 2, 3


@trees.dataclass
class Corruption:
  """What is seen instead of the chosen.

  Attributes:
    probs_3: float32 shares of [MASK], random, kept; they sum to 1.
    alias: see `alias_table`, replacements by their frequency; None for uniform ones.
    by_unit: one action for all tokens of a unit, else each its own.
  """

  probs_3: batches.Array
  alias: tuple[batches.Array, batches.Array] | None
  by_unit: bool = dataclasses.field(metadata={'static': True})

  @classmethod
  def make(cls, masking: Any, table: vocabulary.Table, many_tokens: bool) -> 'Corruption':
    """Returns that of a config's group `masking`; whether units have many tokens, see units."""
    alias = alias_table(table) if masking.replacement_distribution == 'frequency' else None
    by_unit = many_tokens and masking.corruption_per == 'unit'
    return cls(np.asarray(masking.corruption_probs, np.float32), alias, by_unit)

  def corrupt(
    self,
    table: vocabulary.Table,
    tokens_BL: jax.Array,
    chosen_BL: jax.Array,
    units_BL: jax.Array,
    corrupt_BL: jax.Array,
    replace_BL: jax.Array | None = None,
  ) -> tuple[jax.Array, jax.Array]:
    """Returns (inputs_BL int32, action_BL int8).

    One random word a token gives both its replacement and its action: in the
    64-bit product of the word with the number of ordinary ids, the high word is a
    uniform ordinary id and the low word a uniform fraction. Each pair is exact to
    ids / 2**32. A random id may be the token's own.

    Args:
      table: special ids never become replacements.
      tokens_BL: int32.
      chosen_BL: bool.
      units_BL: int32, the position of the first token of each token's unit, or -1.
      corrupt_BL: uniform uint32 words.
      replace_BL: the same, for replacements by frequency.
    """
    by_frequency_BL = None if self.alias is None else by_frequency(self.alias, replace_BL, table)
    probs_3 = jnp.asarray(self.probs_3)
    ordinary = jnp.uint32(table.size - len(table.special_ids))
    random_BL, fraction_BL = random_words.multiply(corrupt_BL, ordinary)
    replacement_BL = (
      _ordinary(random_BL.astype(jnp.int32), table) if by_frequency_BL is None else by_frequency_BL
    )
    if self.by_unit:
      # All tokens of a unit take the fraction of its first one, hence one action.
      fraction_BL = jnp.take_along_axis(fraction_BL, jnp.maximum(units_BL, 0), axis=1)
    action_BL = jnp.where(chosen_BL, _actions(probs_3, fraction_BL), NONE).astype(jnp.int8)
    inputs_BL = jnp.where(
      action_BL == MASK, table.mask_id, jnp.where(action_BL == RANDOM, replacement_BL, tokens_BL)
    )
    return inputs_BL, action_BL


def _actions(probs_3: jax.Array, fraction_BL: jax.Array) -> jax.Array:
  """Returns the action_BL of chosen tokens, from uniform uint32 fractions."""
  mask, random, keep = probs_3[0], probs_3[1], probs_3[2]
  # Where the later shares are 0, rounding must not give them anything.
  is_mask_BL = (fraction_BL < random_words.fixed_point(mask)) | (random + keep <= 0)
  is_random_BL = (fraction_BL < random_words.fixed_point(mask + random)) | (keep <= 0)
  return jnp.where(is_mask_BL, MASK, jnp.where(is_random_BL, RANDOM, KEEP))


def by_frequency(alias: tuple, word_BL: Any, table: vocabulary.Table) -> jax.Array:
  """Returns int32 replacement_BL: ordinary ids, each as often as it occurs in the text.

  Args:
    alias: from `alias_table`.
    word_BL: uniform uint32 words; a probability is exact to (ordinary ids) / 2**32.
    table: vocabulary.Table.
  """
  # One word gives both: the high word of the product is a slot, the low word a fraction of it.
  below_O, other_O = map(jnp.asarray, alias)
  slot_BL, fraction_BL = random_words.multiply(word_BL, jnp.uint32(len(below_O)))
  slot_BL = slot_BL.astype(jnp.int32)
  return _ordinary(jnp.where(fraction_BL < below_O[slot_BL], slot_BL, other_O[slot_BL]), table)


def alias_table(table: vocabulary.Table) -> tuple[np.ndarray, np.ndarray]:
  """Returns (below_O uint32, other_O int32): a draw lands in a slot, and stays or moves once.

  O are the ordinary ids, numbered without the special ones. Ids that do not occur in the
  text are never drawn; without any count all are equal.

  Source: Walker 1977, "An efficient method for generating discrete random variables".
  """
  counts_O = np.delete(np.asarray(table.counts_V, np.float64), table.special_ids)
  counts_O = counts_O if counts_O.sum() else np.ones_like(counts_O)
  share_O = counts_O / counts_O.sum() * len(counts_O)  # of a slot
  below_O, other_O = np.ones(len(share_O)), np.arange(len(share_O), dtype=np.int32)
  # A slot that is short of an id's share is filled up from an id that has more than a slot.
  small, large = (list(np.flatnonzero(where)) for where in (share_O < 1, share_O >= 1))
  while small and large:
    little, much = small.pop(), large[-1]
    below_O[little], other_O[little] = share_O[little], much
    share_O[much] -= 1 - share_O[little]
    if share_O[much] < 1:
      small.append(large.pop())
  return np.minimum(below_O * 2.0**32, 2**32 - 1).astype(np.uint32), other_O


def _ordinary(number_BL: jax.Array, table: vocabulary.Table) -> jax.Array:
  """Returns ids from numbers that leave the special ones out."""
  # Runs ascend, so each comparison sees ids that the runs before it have already moved up.
  for start, count in special_runs(table.special_ids):
    number_BL = jnp.where(number_BL >= start, number_BL + count, number_BL)
  return number_BL


def special_runs(special_ids: tuple[int, ...]) -> list[tuple[int, int]]:
  """Returns [(first id, how many)] of the consecutive runs of sorted ids."""
  runs = []
  for each in special_ids:
    if runs and each == sum(runs[-1]):
      runs[-1] = (runs[-1][0], runs[-1][1] + 1)
    else:
      runs.append((each, 1))
  return runs
