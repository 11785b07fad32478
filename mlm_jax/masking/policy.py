"""A masking policy, and what it does to a batch."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.core import rng
from mlm_jax.core import vocabulary
from mlm_jax.masking import adaptive
from mlm_jax.masking import corruption
from mlm_jax.masking import random_words
from mlm_jax.masking import sampling
from mlm_jax.masking import schedules
from mlm_jax.masking import selection
from mlm_jax.masking import units

# What `cap` takes for granted about units, in tokens: the root mean square over the rows of
# the longest, and the mean squared length / mean length. Docstrings cut into only 2,048
# pieces have words of 6.4 and 2.2; shorter words need less. A batch beyond it overflows,
# which is counted. Sentences may be as long as a row.
_LONGEST_WORD, _WORD_CLUSTERING = 8, 3
_WORD_TOKENS = 3  # of a word inside a longer unit
_COLLOCATION_WORDS = 5


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Policy:
  """Units x selection x rate x corruption; numbers are leaves, structure is static.

  `dataclasses.replace(policy, rate=...)` gives another rate, traced or vmapped,
  as long as max_rate bounds it.

  Attributes:
    table: the vocabulary.
    rate, final_rate, rate_power: float32 scalars, see `rates`; without a schedule `rate` is
      the share of the tokens, and of the units, that is chosen.
    corruption_probs_3: float32, shares of the chosen: [MASK], random, kept.
    predict_fraction: float32 scalar, share of the chosen units that is predicted.
    below_K: uint32, the law of the spans' lengths, see units.spans; None without spans.
    weight_V, weight_C: float32 weights of pieces or classes, see `selection`; None where not used.
    alias: see corruption.alias_table; None for uniform replacements.
    adapted: what was learned up to now, see `adaptive`; {} where nothing is.
    selection: which units are preferred, see `selection`.
    unit: what is chosen as a whole, see `units`.
    span_of: 'word' or 'token', what spans are made of.
    sampling: 'fixed_count' (a count for each row) or 'independent' (one Bernoulli draw a unit).
    schedule: of the rate, see `rates`.
    corruption_per: 'unit' or 'token', what is masked, replaced or kept as one.
    max_predict_fraction: `predict_fraction` never exceeds it; below 1, some of the chosen are not
      predicted.
    static_copies: k > 0 masks a row in k ways only, by its visit modulo k; 0 = always anew.
    max_rate: the rate never exceeds it; sizes the prediction buffer.
  """

  table: vocabulary.Table
  rate: jax.Array
  final_rate: jax.Array
  rate_power: jax.Array
  corruption_probs_3: jax.Array
  predict_fraction: jax.Array
  below_K: jax.Array | None
  weight_V: jax.Array | None
  weight_C: jax.Array | None
  alias: tuple | None
  adapted: dict
  selection: str = dataclasses.field(metadata={'static': True})
  unit: str = dataclasses.field(metadata={'static': True})
  span_of: str = dataclasses.field(metadata={'static': True})
  sampling: str = dataclasses.field(metadata={'static': True})
  schedule: str = dataclasses.field(metadata={'static': True})
  corruption_per: str = dataclasses.field(metadata={'static': True})
  max_predict_fraction: float = dataclasses.field(metadata={'static': True})
  static_copies: int = dataclasses.field(metadata={'static': True})
  max_rate: float = dataclasses.field(metadata={'static': True})

  @property
  def learned(self):
    return self.adapted

  def with_learned(self, learned):
    return dataclasses.replace(self, adapted=learned) if self.adapted else self

  @property
  def counted(self):
    return adaptive.counted(self)

  def cap(self, rows, length):
    """Returns how many predicted tokens `rows` rows of `length` need room for.

    The mean at max_rate plus 8 standard deviations, never more than there are
    tokens, rounded up to a multiple of 8. Where each row has its own rate, all tokens.
    """
    tokens = rows * length
    p, q = min(self.max_rate, 1.0), self.max_predict_fraction
    if self.schedule == 'row':
      return tokens
    longest, clustering = self._unit_lengths(length)
    one_row = length
    if self.sampling == 'bernoulli':
      deviation = math.sqrt(p * (1 - p) * tokens * clustering)
    elif self.unit == 'token':
      deviation = 0.5 * math.sqrt(rows)
      if self.selection == 'uniform':
        one_row = math.ceil(p * length * (1 + 1e-6))
    else:
      # A row's error is a sum of uniforms whose weights' squares sum to at most
      # twice the square of the longest unit.
      deviation = longest * math.sqrt(rows / 6)
    deviation = math.hypot(q * deviation, math.sqrt(p * q * (1 - q) * tokens * clustering))
    room = min(math.ceil(p * q * tokens * (1 + 1e-6) + 8 * deviation), rows * one_row)
    return min(8 * math.ceil(room / 8), tokens)

  def _unit_lengths(self, length):
    """Returns (the longest unit of a row, mean squared length / mean length), in tokens, at
    most.
    """
    if self.unit == 'sentence':
      return length, length
    longest = {
      'token': 1,
      'word': _LONGEST_WORD,
      'collocation': _COLLOCATION_WORDS * _WORD_TOKENS,
    }.get(self.unit)
    if self.unit == 'span':
      longest = (len(self.below_K) + 1) * (_WORD_TOKENS if self.span_of == 'word' else 1)
    clustering = {'token': 1, 'word': _WORD_CLUSTERING}.get(self.unit, longest)
    return min(longest, length), min(clustering, length)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
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

  inputs_BL: jax.Array
  targets_BL: jax.Array
  chosen_BL: jax.Array
  action_BL: jax.Array
  units_BL: jax.Array


def make(table, *, length=128, **settings):
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
  if c.selection == 'class' and not table.classes:
    raise config_lib.UserError(
      "masking.selection = 'class': the vocabulary has no classes of words; prepare the "
      'data with config.data.classes'
    )
  if ':' in c.selection:
    selection.check_own(c.selection, table, length)
  a, b = schedules.ends(c)
  law_K = (
    units.span_length_distribution(c.span_length_distribution, c.span_p, c.span_max)
    if c.unit == 'span'
    else None
  )
  weight_C = selection.class_weights(c, table) if c.selection == 'class' else None
  number = np.float32
  return Policy(
    table,
    number(a),
    number(b),
    number(c.rate_power),
    np.asarray(c.corruption_probs, np.float32),
    number(c.predict_fraction),
    below_K=None if law_K is None else units.below(law_K),
    weight_V=selection.piece_weights(c.selection, table, c),
    weight_C=weight_C,
    alias=corruption.alias_table(table) if c.replacement_distribution == 'frequency' else None,
    adapted=adaptive.start(c.selection, table, a, weight_C is not None),
    selection=c.selection,
    unit=c.unit,
    span_of=c.span_of,
    sampling=c.sampling,
    schedule=c.schedule,
    corruption_per=c.corruption_per,
    max_predict_fraction=float(c.predict_fraction),
    static_copies=c.static_copies,
    max_rate=float(max(a, b)),
  )


def preset(name, table, **settings):
  """Returns the Policy of a published system (see config/presets.py), changed by these settings."""
  return make(table, **config_lib.preset_settings(name) | settings)


def mask_batch(policy, root_key, batch, progress=0.0):
  """Returns Masked: a function of (key, visit, example, tokens) of each row alone.

  Args:
    policy: Policy.
    root_key: from rng.root_key.
    batch: batches.Batch; tokens uint16 or int32.
    progress: how far training is, 0 to 1; the rate may depend on it.
  """
  table, length = policy.table, batch.tokens_BL.shape[1]
  keys_B = _keys(policy, root_key, batch)
  offset_B, rate_word_B = random_words.for_rows(keys_B)
  select_BL, corrupt_BL = random_words.for_tokens(keys_B, length, random_words.SELECT)
  length_BL, replace_BL = random_words.for_tokens(
    keys_B, length, random_words.UNITS
  )  # computed only where used

  units_BL = make_units(policy, batch, length_BL)
  chosen_BL = _choose(
    policy, batch, units_BL, schedules.at(policy, progress, rate_word_B), offset_B, select_BL
  )
  targets_BL = batch.tokens_BL.astype(jnp.int32)
  replacement_BL = (
    corruption.by_frequency(policy.alias, replace_BL, table) if policy.alias else None
  )
  inputs_BL, action_BL = corruption.corrupt(
    table,
    jnp.asarray(policy.corruption_probs_3),
    targets_BL,
    chosen_BL,
    units_BL,
    corrupt_BL,
    by_unit=policy.unit != 'token' and policy.corruption_per == 'unit',
    replacement_BL=replacement_BL,
  )
  if policy.max_predict_fraction < 1:
    predict_BL, _ = random_words.for_tokens(keys_B, length, random_words.PREDICT)
    pi_BL = jnp.broadcast_to(policy.predict_fraction, units_BL.shape)
    chosen_BL &= sampling.independent_units(pi_BL, units_BL, predict_BL)
  return Masked(inputs_BL, targets_BL, chosen_BL, action_BL, units_BL)


def row_rates(policy, root_key, batch, progress=0.0):
  """Returns rate_B, float32: the rate that `mask_batch` gives each row."""
  return schedules.at(policy, progress, random_words.for_rows(_keys(policy, root_key, batch))[1])


def _keys(policy, root_key, batch):
  """Returns keys_B, what a row's draws descend from."""
  visit_B = (
    batch.visit_B % np.uint32(policy.static_copies) if policy.static_copies else batch.visit_B
  )
  return rng.example_keys(root_key, 'mask', visit_B, batch.example_B2)


def make_units(policy, batch, length_BL):
  """Returns units_BL, see `units`; length_BL, uniform uint32 words, gives spans their lengths."""
  if policy.unit == 'span':
    return units.spans(policy.table, batch, policy.below_K, length_BL, policy.span_of)
  return {
    'token': units.tokens,
    'word': units.words,
    'collocation': units.collocations,
    'sentence': units.sentences,
  }[policy.unit](policy.table, batch)


def _choose(policy, batch, units_BL, rate_B, offset_B, select_BL):
  """Returns chosen_BL, by the sampler that is fastest for the policy."""
  weight_BL = selection.weights(policy, batch, units_BL)
  if policy.unit == 'token' and weight_BL is None:
    if policy.sampling == 'bernoulli':
      return sampling.independent_tokens(rate_B, units_BL, select_BL)
    return sampling.exact_tokens(rate_B, units_BL, offset_B, select_BL)
  if weight_BL is None:
    pi_BL = jnp.broadcast_to(rate_B[:, None], units_BL.shape)
  else:
    pi_BL = sampling.inclusion(rate_B, weight_BL, units_BL)
  if policy.sampling == 'bernoulli':
    return sampling.independent_units(pi_BL, units_BL, select_BL)
  return sampling.exact_units(pi_BL, units_BL, offset_B, select_BL)
