"""What becomes of the chosen: [MASK], a random token, or the token itself."""

import jax.numpy as jnp

from mlm_jax.masking import bits

NONE, MASK, RANDOM, KEEP = 0, 1, 2, 3


def corrupt(table, split_3, tokens_BL, chosen_BL, units_BL, corrupt_BL, by_unit):
  """Returns (inputs_BL int32, action_BL int8).

  One random word a token gives both its replacement and its action: in the
  64-bit product of the word with the number of ordinary ids, the high word is a
  uniform ordinary id and the low word a uniform fraction. Each pair is exact to
  ids / 2**32. A random id may be the token's own.

  Args:
    table: vocabulary.Table; special ids never become replacements.
    split_3: float32 shares of [MASK], random, kept; they sum to 1.
    tokens_BL: int32.
    chosen_BL: bool.
    units_BL: int32, the position of the first token of each token's unit, or -1.
    corrupt_BL: uniform uint32 words.
    by_unit: static; one action for all tokens of a unit, else each its own.
  """
  runs = special_runs(table.special_ids)
  ordinary = jnp.uint32(table.size - len(table.special_ids))
  random_BL, fraction_BL = bits.multiply(corrupt_BL, ordinary)
  random_BL = random_BL.astype(jnp.int32)
  for start, count in runs:
    random_BL = jnp.where(random_BL >= start, random_BL + count, random_BL)
  if by_unit:
    fraction_BL = jnp.take_along_axis(fraction_BL, jnp.maximum(units_BL, 0), axis=1)
  share_mask, share_random, share_keep = split_3[0], split_3[1], split_3[2]
  # Where the later shares are 0, rounding must not give them anything.
  is_mask_BL = (fraction_BL < bits.fixed_point(share_mask)) | (share_random + share_keep <= 0)
  is_random_BL = (fraction_BL < bits.fixed_point(share_mask + share_random)) | (share_keep <= 0)
  action_BL = jnp.where(is_mask_BL, MASK, jnp.where(is_random_BL, RANDOM, KEEP))
  action_BL = jnp.where(chosen_BL, action_BL, NONE).astype(jnp.int8)
  inputs_BL = jnp.where(action_BL == MASK, table.mask_id,
                        jnp.where(action_BL == RANDOM, random_BL, tokens_BL))
  return inputs_BL, action_BL


def special_runs(special_ids):
  """Returns [(first id, how many)] of the consecutive runs of sorted ids."""
  runs = []
  for each in special_ids:
    if runs and each == sum(runs[-1]):
      runs[-1] = (runs[-1][0], runs[-1][1] + 1)
    else:
      runs.append((each, 1))
  return runs
