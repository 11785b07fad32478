"""A masking policy, and what it does to a batch."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.core import vocabulary
from mlm_jax.masking import arguments
from mlm_jax.masking import corruption as corruption_lib
from mlm_jax.masking import own_selection
from mlm_jax.masking import random_words
from mlm_jax.masking import registry
from mlm_jax.masking import sampling
from mlm_jax.masking import schedules
from mlm_jax.masking import selections
from mlm_jax.masking import units
from mlm_jax.masking import weighted_sampling


@trees.dataclass
class Policy:
  """Unit x selection x schedule x corruption; numbers are leaves, structure is static.

  Attributes:
    table: the vocabulary.
    unit: what is chosen as a whole.
    selection: which units are preferred.
    schedule: the rate, the share of the tokens, and of the units, that is chosen.
    corruption: what is seen instead of the chosen.
    predict_fraction: float32 scalar, share of the chosen units that is predicted.
    sampling: 'fixed_count' (a count for each row) or 'bernoulli' (one draw a unit).
    static_copies: k > 0 masks a row in k ways only, by its visit modulo k; 0 = a new one each
      visit.
    max_predict_fraction: `predict_fraction` never exceeds it; below 1, some of the chosen are
      not predicted.
    max_rate: the rate never exceeds it; sizes the prediction buffer.
  """

  table: vocabulary.Table
  unit: units.Unit
  selection: selections.Selection
  schedule: schedules.Schedule
  corruption: corruption_lib.Corruption
  predict_fraction: batches.Array
  sampling: str = dataclasses.field(metadata={'static': True})
  static_copies: int = dataclasses.field(metadata={'static': True})
  max_predict_fraction: float = dataclasses.field(metadata={'static': True})
  max_rate: float = dataclasses.field(metadata={'static': True})

  @property
  def rate(self) -> batches.Array:
    """The rate; of a schedule, the first."""
    return self.schedule.rate

  def with_rate(self, rate: Any) -> 'Policy':
    """Returns the policy with another (first) rate, traced or vmapped; max_rate must bound it."""
    return dataclasses.replace(self, schedule=dataclasses.replace(self.schedule, rate=rate))

  @property
  def needs(self) -> tuple[str, ...]:
    """What the data must have been prepared with: 'collocations', 'classes'."""
    return (*self.unit.needs, *self.selection.needs)

  @property
  def counted(self) -> str:
    """What the objective has to count for `adapt`: 'vocabulary', 'class' or ''."""
    return self.selection.counted

  @property
  def learned(self) -> dict[str, batches.Array]:
    """What has been learned so far, a dict of arrays; {} of a policy that never learns."""
    return getattr(self.selection, 'learned', {})

  def with_learned(self, learned: dict[str, batches.Array]) -> 'Policy':
    """Returns the policy as it is when this was learned; one that never learns as it is."""
    if not self.learned:
      return self
    selection: Any = self.selection  # a dataclass, with a field `learned`
    return dataclasses.replace(self, selection=dataclasses.replace(selection, learned=learned))

  def cap(self, rows: int, length: int) -> int:
    """Returns how many predicted tokens `rows` rows of `length` need room for.

    The mean at max_rate plus 8 standard deviations, never more than there are
    tokens, rounded up to a multiple of 8. Where each row has its own rate, all tokens.
    """
    # The buffer is compiled in, so it is sized once by what may be expected. At 8 standard
    # deviations an overflow is next to impossible where the units are as long as stated.
    tokens = rows * length
    p, q = min(self.max_rate, 1.0), self.max_predict_fraction
    if self.schedule.per_row:
      return tokens
    longest, clustering = self.unit.lengths(length)
    one_row = length
    if self.sampling == 'bernoulli':
      # Tokens of one unit are chosen together, which widens the spread by `clustering`.
      deviation = math.sqrt(p * (1 - p) * tokens * clustering)
    elif not self.unit.many_tokens:
      # A row's count is its budget rounded up or down: at most 1/2 of standard deviation.
      deviation = 0.5 * math.sqrt(rows)
      if self.selection.is_uniform:
        one_row = math.ceil(p * length * (1 + 1e-6))
    else:
      # A row is off by parts of the units at the edges of its window, or of the one that was
      # decided last: as much as half of the longest unit of standard deviation.
      deviation = longest * math.sqrt(rows) / 2
    # Whether a chosen unit is predicted is drawn independently: the two variances add up.
    deviation = math.hypot(q * deviation, math.sqrt(p * q * (1 - q) * tokens * clustering))
    # 1e-6: the rate that is drawn by is a float32, which may have been rounded up.
    room = min(math.ceil(p * q * tokens * (1 + 1e-6) + 8 * deviation), rows * one_row)
    return min(8 * math.ceil(room / 8), tokens)


@trees.dataclass
class Masked:
  """A masked batch.

  Attributes:
    inputs_BL: int32, what the model sees.
    targets_BL: int32, the original tokens.
    chosen_BL: bool, predicted here.
    action_BL: int8, 0 none, 1 [MASK], 2 random, 3 kept; not 0 also where a policy that
      predicts only a part of what it corrupts predicts nothing.
    units_BL: int32, the position of the first token of each token's unit; -1 = no unit.
  """

  inputs_BL: batches.Array
  targets_BL: batches.Array
  chosen_BL: batches.Array
  action_BL: batches.Array
  units_BL: batches.Array


def make(table: vocabulary.Table, *, length: int = 128, **settings: Any) -> Policy:
  """Returns a Policy of a config's group `masking`: the default but for these settings.

  Args:
    table: the vocabulary.
    length: of the rows it is for; a selection of the researcher's own is tried on one.

  Raises:
    config.UserError: a setting that does not exist or cannot work.
  """
  c = config_lib.masking(settings)
  if table.size <= len(table.special_ids):
    raise config_lib.UserError('the vocabulary has only special tokens: there is nothing to mask')
  unit = registry.find('masking.unit', c.unit).make(c, table)
  schedule = schedules.make(c)
  first, last = schedule.ends()
  if ':' in c.selection:
    selection = own_selection.make(c.selection, table, length)
  else:
    selection = registry.find('masking.selection', c.selection).make(c, table, first)
  return Policy(
    table,
    unit,
    selection,
    jax.tree.map(np.float32, schedule),
    corruption_lib.Corruption.make(c, table, unit.many_tokens),
    np.float32(c.predict_fraction),
    sampling=c.sampling,
    static_copies=c.static_copies,
    max_predict_fraction=float(c.predict_fraction),
    max_rate=float(max(first, last)),
  )


def preset(name: str, table: vocabulary.Table, **settings: Any) -> Policy:
  """Returns the Policy of a published system (see config/presets.py), changed by these settings."""
  return make(table, **config_lib.preset_settings(name) | settings)


def mask_batch(
  policy: Policy, root_key: jax.Array, batch: batches.Batch, progress: Any = 0.0
) -> Masked:
  """Returns Masked: a function of (key, visit, example, tokens) of each row alone.

  Args:
    policy: Policy.
    root_key: from rng.root_key.
    batch: batches.Batch; tokens uint16 or int32.
    progress: how far training is, 0 to 1; the rate may depend on it.

  Raises:
    config.UserError: one of them is of another type or shape.
  """
  if not isinstance(policy, Policy):
    raise config_lib.UserError(
      f'policy is of type {type(policy).__name__}: give what masking.make or masking.preset returns'
    )
  arguments.check(root_key, batch, progress)
  length = batch.tokens_BL.shape[1]
  keys_B = _keys(policy, root_key, batch)
  offset_B, rate_word_B = random_words.for_rows(keys_B)
  select_BL, corrupt_BL = random_words.for_tokens(keys_B, length, random_words.SELECT)
  # Computed only where used: under jit, words that nothing reads are left out.
  length_BL, replace_BL = random_words.for_tokens(keys_B, length, random_words.UNITS)

  units_BL = policy.unit.units(policy.table, batch, length_BL)
  rate_B = policy.schedule.at(progress, rate_word_B)
  chosen_BL = _choose(policy, batch, keys_B, units_BL, rate_B, offset_B, select_BL)
  targets_BL = batch.tokens_BL.astype(jnp.int32)
  inputs_BL, action_BL = policy.corruption.corrupt(
    policy.table, targets_BL, chosen_BL, units_BL, corrupt_BL, replace_BL
  )
  # All that was chosen stays corrupted; here only a part of it is left to be predicted.
  if policy.max_predict_fraction < 1:
    predict_BL, _ = random_words.for_tokens(keys_B, length, random_words.PREDICT)
    pi_BL = jnp.broadcast_to(policy.predict_fraction, units_BL.shape)
    chosen_BL &= sampling.independent_units(pi_BL, units_BL, predict_BL)
  return Masked(inputs_BL, targets_BL, chosen_BL, action_BL, units_BL)


def adapt(
  policy: Policy, counts: dict[str, jax.Array], step: Any, progress: Any
) -> dict[str, batches.Array]:
  """Returns what a policy that learns has learned after a step: a pure update, on the device.

  Args:
    policy: its `learned` is what had been learned before.
    counts: sums over the step's predictions, see selections.Selection.adapt.
    step: the 0-based step.
    progress: as for mask_batch.
  """
  return policy.selection.adapt(counts, step, policy.schedule.mean_at(progress))


def row_rates(
  policy: Policy, root_key: jax.Array, batch: batches.Batch, progress: Any = 0.0
) -> jax.Array:
  """Returns rate_B, float32: the rate that `mask_batch` gives each row."""
  return policy.schedule.at(progress, random_words.for_rows(_keys(policy, root_key, batch))[1])


def _keys(policy: Policy, root_key: jax.Array, batch: batches.Batch) -> jax.Array:
  """Returns keys_B, what a row's draws descend from."""
  # With static copies visit k is visit 0 again, and so are its masks.
  visit_B = (
    batch.visit_B % np.uint32(policy.static_copies) if policy.static_copies else batch.visit_B
  )
  return rng.example_keys(root_key, 'mask', visit_B, batch.example_B2)


def _choose(
  policy: Policy,
  batch: batches.Batch,
  keys_B: jax.Array,
  units_BL: jax.Array,
  rate_B: jax.Array,
  offset_B: jax.Array,
  select_BL: jax.Array,
) -> jax.Array:
  """Returns chosen_BL, by the sampler that is fastest for the policy."""
  fixed = policy.sampling == 'fixed_count'
  weight_BL = policy.selection.weights(policy.table, batch, units_BL)
  if weight_BL is not None:
    pi_BL = weighted_sampling.inclusion(rate_B, weight_BL, units_BL)
    if not fixed:
      return sampling.independent_units(pi_BL, units_BL, select_BL)
    decide_BL, _ = random_words.for_tokens(keys_B, units_BL.shape[1], random_words.DECIDE)
    return weighted_sampling.pivotal_units(pi_BL, units_BL, offset_B, select_BL, decide_BL)
  if not policy.unit.many_tokens:
    if fixed:
      return sampling.exact_tokens(rate_B, units_BL, offset_B, select_BL)
    return sampling.independent_tokens(rate_B, units_BL, select_BL)
  if fixed:
    return sampling.window_units(rate_B, units_BL, offset_B, select_BL)
  pi_BL = jnp.broadcast_to(rate_B[:, None], units_BL.shape)
  return sampling.independent_units(pi_BL, units_BL, select_BL)
