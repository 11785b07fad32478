"""A masking policy, and what it does to a batch."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import config
from mlm_jax import rng
from mlm_jax import vocabulary
from mlm_jax.masking import bits
from mlm_jax.masking import corruption
from mlm_jax.masking import draw
from mlm_jax.masking import units

_CHOICES = {'select': ('uniform',), 'unit': ('token', 'word'), 'budget': ('exact', 'independent')}

# What `cap` takes for granted about words. Docstrings cut into only 2,048 pieces have
# 6.4 and 2.2; shorter words need less. A batch beyond it overflows, which is counted.
_LONGEST_WORD = 8  # pieces, root mean square over the rows of the longest word
_WORD_CLUSTERING = 3  # mean squared length / mean length


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Policy:
  """Units x selection x rate x corruption; numbers are leaves, structure is static.

  `dataclasses.replace(policy, rate=...)` gives another rate, traced or vmapped,
  as long as max_rate bounds it.

  Attributes:
    table: the vocabulary.
    rate: float32 scalar, the probability that a unit is chosen.
    split_3: float32, shares of the chosen: [MASK], random, kept.
    select: which units are preferred: 'uniform'.
    unit: what is chosen as a whole: 'token' or 'word'.
    budget: 'exact' (a count for each row) or 'independent' (one Bernoulli draw a unit).
    copies: k > 0 masks a row in k ways only, by its visit modulo k; 0 = always anew.
    max_rate: the rate never exceeds it; sizes the prediction buffer.
  """
  table: vocabulary.Table
  rate: jax.Array
  split_3: jax.Array
  select: str = dataclasses.field(metadata={'static': True})
  unit: str = dataclasses.field(metadata={'static': True})
  budget: str = dataclasses.field(metadata={'static': True})
  copies: int = dataclasses.field(metadata={'static': True})
  max_rate: float = dataclasses.field(metadata={'static': True})

  def cap(self, rows, length):
    """Returns how many chosen tokens `rows` rows of `length` need room for.

    The mean at max_rate plus 8 standard deviations, never more than there are
    tokens, rounded up to a multiple of 8.
    """
    tokens = rows * length
    p = min(self.max_rate, 1.0)
    one_row = length
    if self.budget == 'independent':
      clustering = 1 if self.unit == 'token' else _WORD_CLUSTERING
      deviation = math.sqrt(p * (1 - p) * tokens * clustering)
    elif self.unit == 'token':
      deviation = 0.5 * math.sqrt(rows)
      one_row = math.ceil(p * length * (1 + 1e-6))
    else:
      # A row's error is a sum of uniforms whose weights' squares sum to at most
      # twice the square of the longest unit.
      deviation = _LONGEST_WORD * math.sqrt(rows / 6)
    room = min(math.ceil(p * tokens * (1 + 1e-6) + 8 * deviation), rows * one_row)
    return min(8 * math.ceil(room / 8), tokens)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Masked:
  """A masked batch.

  Attributes:
    inputs_BL: int32, what the model sees.
    targets_BL: int32, the original tokens.
    chosen_BL: bool, predicted here.
    action_BL: int8, 0 none, 1 [MASK], 2 random, 3 kept.
    units_BL: int32, the position of the first token of each token's unit; -1 = no unit.
  """
  inputs_BL: jax.Array
  targets_BL: jax.Array
  chosen_BL: jax.Array
  action_BL: jax.Array
  units_BL: jax.Array


def make(table, select='uniform', unit='token', budget='exact', rate=0.15, split=(0.8, 0.1, 0.1),
         copies=0):
  """Returns a Policy; see its attributes.

  Raises:
    config.UserError: a setting that cannot work.
  """
  for name, given in (('select', select), ('unit', unit), ('budget', budget)):
    if given not in _CHOICES[name]:
      raise config.UserError(
          f'masking.{name} = {given!r}: must be one of {", ".join(_CHOICES[name])}')
  if not 0 < rate <= 1:
    raise config.UserError(f'masking.rate = {rate!r}: must be above 0 and at most 1')
  if len(split) != 3 or not min(split) >= 0 or not abs(sum(split) - 1) <= 1e-6:
    raise config.UserError(f'masking.split = {tuple(split)!r}: must be three shares '
                           '([MASK], random, kept), none negative, that sum to 1')
  if copies != int(copies) or copies < 0:
    raise config.UserError(
        f'masking.copies = {copies!r}: must be a whole number, 0 for dynamic masks')
  if table.size <= len(table.special_ids):
    raise config.UserError('the vocabulary has only special tokens: there is nothing to mask')
  return Policy(table, np.asarray(rate, np.float32), np.asarray(split, np.float32),
                select, unit, budget, int(copies), float(rate))


def mask_batch(policy, root_key, batch, progress=0.0):
  """Returns Masked: a function of (key, visit, example, tokens) of each row alone.

  Args:
    policy: Policy.
    root_key: from rng.root_key.
    batch: batches.Batch; tokens uint16 or int32.
    progress: how far training is, 0 to 1; constant rates do not depend on it.
  """
  del progress
  table = policy.table
  visit_B = batch.visit_B % np.uint32(policy.copies) if policy.copies else batch.visit_B
  keys_B = rng.example_keys(root_key, 'mask', visit_B, batch.example_B2)
  offset_B, select_BL, corrupt_BL = bits.for_rows(keys_B, batch.tokens_BL.shape[1])

  units_BL = (units.tokens if policy.unit == 'token' else units.words)(table, batch)
  rate = jnp.asarray(policy.rate)
  if policy.unit == 'token' and policy.budget == 'independent':
    chosen_BL = draw.independent_tokens(rate, units_BL, select_BL)
  elif policy.unit == 'token':
    chosen_BL = draw.exact_tokens(rate, units_BL, offset_B, select_BL)
  else:
    pi_BL = jnp.broadcast_to(rate, units_BL.shape)
    if policy.budget == 'independent':
      chosen_BL = draw.independent_units(pi_BL, units_BL, select_BL)
    else:
      chosen_BL = draw.exact_units(pi_BL, units_BL, offset_B, select_BL)

  targets_BL = batch.tokens_BL.astype(jnp.int32)
  inputs_BL, action_BL = corruption.corrupt(
      table, jnp.asarray(policy.split_3), targets_BL, chosen_BL, units_BL, corrupt_BL,
      by_unit=policy.unit != 'token')
  return Masked(inputs_BL, targets_BL, chosen_BL, action_BL, units_BL)
