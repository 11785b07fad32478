"""Settings that cannot work, alone or with other settings: refused before any work starts.

Each check raises UserError for the first one: `config.KEY = VALUE: must be WHAT IS ALLOWED`.
"""

from collections.abc import Iterable
import difflib
import re
from typing import Any
from typing import NoReturn

from mlm_jax.config import defaults
from mlm_jax.config import keys
from mlm_jax.config import limits
from mlm_jax.config import registered
from mlm_jax.config import staging
from mlm_jax.config.keys import Config
from mlm_jax.config.keys import UserError
from mlm_jax.config.keys import is_number

# {dotted key: value} of a whole config.
_Flat = dict[str, Any]


def check(config: Config) -> None:
  """Raises UserError for the first setting that cannot work."""
  if 'task' in config:
    _check_finetuning(config)
    return
  if 'adapt' in config:
    _check_adaptation(keys.flatten(config))
  _check_stage(config)
  staging.check_stages(config, _check_stage)
  # Of the stages together: one of them may replace tokens at random and another not.
  random = any(stage.masking.corruption_probs[1] for _, stage in staging.stages(config))
  if config.masking.replacement_distribution != 'uniform' and not random:
    _refuse(
      keys.flatten(config),
      'masking.replacement_distribution',
      "'uniform' where masking.corruption_probs has no random share",
    )


def _check_stage(config: Config) -> None:
  """Raises UserError for the first setting that cannot work in a run of one stage."""
  check_form(config)
  flat = keys.flatten(config)
  _check_ranges(flat)
  if not flat['total_steps']:
    _refuse(flat, 'total_steps', 'at least 1')
  for key in ('evaluation.every', 'checkpoint.every'):
    if not flat[key]:
      _refuse(flat, key, 'at least 1')
  _check_masking(flat)
  _check_data(flat)
  _check_batch(flat)
  _check_objective(flat)
  _check_optim(flat)
  _check_trackers(flat)
  _check_read(flat)


def _check_adaptation(flat: _Flat) -> None:
  """Refuses what leaves an adaptation without a start to compare with, or without a best."""
  wanted = (
    ('stages', lambda value: value == (), '() in an adaptation, which has one part'),
    ('evaluation.at_start', bool, 'True in an adaptation: the rise is counted from there'),
    ('checkpoint.keep_best', bool, 'at least 1 in an adaptation, whose best checkpoint is kept'),
  )
  for key, fits, allowed in wanted:
    if key in flat and not fits(flat[key]):
      _refuse(flat, key, allowed)


def _check_finetuning(config: Config) -> None:
  """Raises UserError for the first setting that cannot work in fine-tuning."""
  check_form(config)
  flat = keys.flatten(config)
  _check_ranges(flat)
  _check_batch(flat)
  _check_optim(flat)
  _check_read(flat)
  if not flat['total_steps'] and not flat['epochs']:
    _refuse(flat, 'epochs', 'above 0, or config.total_steps')
  if not _are_weights(flat['task.class_weights']):
    _refuse(flat, 'task.class_weights', 'numbers from 0 on, not all 0, one a label, or ()')
  for key in ('task.freeze', 'task.lora.rules'):
    try:
      for each in flat[key]:
        re.compile(each)
    except (re.error, TypeError):
      _refuse(flat, key, 'regular expressions')
  _check_adapters(flat)


def _check_adapters(flat: _Flat) -> None:
  unchanged = defaults.flat_of(flat)
  if flat['task.lora.rank']:
    if not flat['task.lora.rules']:
      _refuse(flat, 'task.lora.rules', 'regular expressions for config.task.lora.rank above 0')
    if flat['task.freeze']:
      _refuse(flat, 'task.freeze', '() with config.task.lora.rank above 0: the encoder is frozen')
  for key in ('task.lora.alpha', 'task.lora.rules') if not flat['task.lora.rank'] else ():
    if flat[key] != unchanged[key]:
      _refuse(flat, key, f'{unchanged[key]!r} unless config.task.lora.rank is above 0')


def check_form(config: Config) -> None:
  """Raises UserError where the keys or the types are not those of `base`.

  A recipe is Python and can add or replace anything, so this is checked before all else.
  """
  flat, wanted = keys.flatten(config), defaults.flat_of(config)
  for key in flat:
    if key not in wanted:
      raise UserError(keys.unknown_key(key, wanted))
  for key, example in wanted.items():
    if key not in flat:
      raise UserError(f'config.{key} is missing')
    kind = type(example)
    # Settings are written to files and passed to other programs, where NUL ends a text.
    if kind is str and '\0' in str(flat[key]):
      raise UserError(f'config.{key} = {flat[key]!r}: must be text without a NUL character')
    if not (is_number(flat[key]) if kind is float else type(flat[key]) is kind):
      what = 'a finite number' if kind is float else f'of type {kind.__name__}'
      raise UserError(f'config.{key} = {flat[key]!r}: must be {what}, such as {example!r}')


def _refuse(flat: _Flat, key: str, allowed: str) -> NoReturn:
  raise UserError(f'config.{key} = {flat[key]!r}: must be {allowed}')


def _hint(given: object, choices: Iterable[str]) -> str:
  """Returns the question whether the nearest choice was meant, '' where none is near."""
  near = difflib.get_close_matches(str(given), list(choices), 1)
  return f' (did you mean {near[0]}?)' if near else ''


def _are_weights(values: Iterable[object]) -> bool:
  """Whether all are numbers from 0 on and not all are 0; also true of none at all."""
  values = list(values)
  return all(is_number(each) and each >= 0 for each in values) and (not values or any(values))


def _check_choice(flat: _Flat, key: str, choices: Iterable[str], others: str = '') -> None:
  if flat[key] not in choices:
    named = ', '.join(each or "''" for each in choices)
    _refuse(flat, key, f'one of {named}{others}' + _hint(flat[key], choices))


def _check_ranges(flat: _Flat) -> None:
  """What a setting may be, whatever the others are."""
  # The tables name the settings of every kind of config; this one has some of them.
  has = lambda keys: [key for key in keys if key in flat]
  for key in has(limits.CHOICES):
    _check_choice(flat, key, limits.CHOICES[key])
  for key in has(limits.AT_LEAST):
    if not flat[key] >= (least := limits.AT_LEAST[key]):
      _refuse(flat, key, f'at least {least}')
  for key in has(limits.AT_MOST):
    if not flat[key] <= (most := limits.AT_MOST[key]):
      _refuse(flat, key, f'at most {most:,}' if isinstance(most, int) else f'at most {most:g}')
  for key in has(limits.FRACTIONS):
    if not 0 <= flat[key] <= 1:
      _refuse(flat, key, 'between 0 and 1')
  for key in has(limits.BELOW_1):
    if flat[key] == 1:
      _refuse(flat, key, 'below 1')
  for key in has(limits.ABOVE_0):
    if not flat[key] > 0:
      _refuse(flat, key, 'above 0')
  for key in has(limits.DROPOUTS):
    if flat[key] > 255 / 256:
      _refuse(flat, key, 'at most 255/256: nothing would be kept')
  if flat['model.attention_dropout'] < 0 and flat['model.attention_dropout'] != -1:
    _refuse(flat, 'model.attention_dropout', 'between 0 and 1, or -1 for that of model.dropout')
  if not 0 <= flat['seed'] < 2**32:
    _refuse(flat, 'seed', 'between 0 and 2**32 - 1 (larger seeds would collide silently)')


def _check_masking(flat: _Flat) -> None:
  _check_choice(flat, 'masking.unit', registered.choices('masking.unit'))
  _check_choice(flat, 'masking.schedule', registered.choices('masking.schedule'))
  if ':' not in flat['masking.selection']:
    known = registered.choices('masking.selection')
    _check_choice(flat, 'masking.selection', known, ', or module:Class of yours')
  _check_rate(flat)
  # Collocations and classes are found when data is prepared, so they are settings of `data`.
  chosen = {key.split('.')[-1]: flat[key] for key in registered.SETTINGS}
  for key, value, need in registered.needs(chosen):
    if not flat[f'data.{need}']:
      _refuse(flat, f'data.{need}', f'{limits.PREPARED[need]}, for {key} = {value!r}')
  if not _are_weights(flat['masking.class_weights']):
    _refuse(flat, 'masking.class_weights', 'numbers from 0 on, not all 0, one a class, or ()')
  split = flat['masking.corruption_probs']
  # The tolerance is for shares such as 1/3 that floats cannot add up to 1.
  if (
    len(split) != 3
    or not all(map(is_number, split))
    or min(split) < 0
    or abs(sum(split) - 1) > 1e-6
  ):
    _refuse(flat, 'masking.corruption_probs', 'three shares ([MASK], random, kept) that sum to 1')


def _check_rate(flat: _Flat) -> None:
  rate, final, mean = (flat[f'masking.{name}'] for name in ('rate', 'final_rate', 'mean_rate'))
  if flat['masking.schedule'] == 'constant':
    if not rate > 0:
      _refuse(flat, 'masking.rate', 'above 0')
    for key in ('masking.final_rate', 'masking.mean_rate'):
      if flat[key]:
        _refuse(flat, key, "0 when masking.schedule is 'constant'")
  elif rate == final:  # a schedule that changes nothing
    _refuse(
      flat,
      'masking.final_rate',
      f'another than masking.rate = {rate} when masking.schedule is {flat["masking.schedule"]!r}',
    )


def _check_data(flat: _Flat) -> None:
  if flat['data.document'] == 'regex' and not flat['data.document_regex']:
    _refuse(flat, 'data.document_regex', "a regular expression when data.document is 'regex'")
  if not _are_weights(flat['data.weights']):
    _refuse(
      flat, 'data.weights', 'numbers from 0 on, not all 0, one a source, or () for shares by size'
    )
  # Both would say the shares of the sources.
  if flat['data.weights'] and flat['data.sampling_alpha'] != 1:
    _refuse(flat, 'data.sampling_alpha', '1 where config.data.weights says the shares')
  if flat['data.max_characters'] and flat['data.max_characters'] < flat['data.min_characters']:
    _refuse(flat, 'data.max_characters', 'at least data.min_characters, or 0 for no limit')


def _check_objective(flat: _Flat) -> None:
  if flat['data.pairs'] and flat['data.packing'] == 'contiguous':
    _refuse(flat, 'data.packing', "'best_fit' for config.data.pairs: the other one cuts pairs")
  # A table of one type cannot look up the second sentence's; 0 = no table at all.
  if flat['data.pairs'] and flat['model.types'] == 1:
    _refuse(flat, 'model.types', 'at least 2, or 0, for config.data.pairs')
  if flat['objective.pairs_weight']:
    if not flat['data.pairs']:
      _refuse(flat, 'data.pairs', "'nsp' or 'sop', for config.objective.pairs_weight above 0")
    if flat['model.types'] == 0:
      _refuse(
        flat,
        'model.types',
        'at least 2, which distinguish the two sentences of a pair, for '
        'config.objective.pairs_weight above 0',
      )
  # A span boundary objective predicts what is inside a span; one token has no inside.
  unit = registered.choices('masking.unit')[flat['masking.unit']]
  if flat['objective.sbo_weight'] and not unit.many_tokens:
    _refuse(
      flat,
      'masking.unit',
      "one of several tokens, such as 'span', for config.objective.sbo_weight above 0",
    )
  if flat['objective.predict_all'] and flat['masking.predict_fraction'] != 1:
    _refuse(
      flat,
      'masking.predict_fraction',
      '1.0 where config.objective.predict_all = True: all is predicted',
    )


def _check_batch(flat: _Flat) -> None:
  # Parts of equal size have equal shapes, so that the step is compiled once.
  if flat['batch_size'] % flat['grad_accumulation_steps']:
    _refuse(
      flat,
      'batch_size',
      f'a multiple of grad_accumulation_steps = {flat["grad_accumulation_steps"]}',
    )
  # JAX raises no error for an index beyond a table: such positions would be wrong silently.
  if flat['data.row_length'] > flat['model.max_positions']:
    _refuse(
      flat,
      'data.row_length',
      f'at most model.max_positions = {flat["model.max_positions"]}; raise that or shorten the '
      'rows',
    )


def _check_optim(flat: _Flat) -> None:
  # Whatever was given may not even be pairs: unpacking it raises one of the three.
  try:
    for regex, is_decayed in flat['optim.decay_rules']:
      re.compile(regex)
      if not isinstance(is_decayed, bool):
        raise TypeError
  except (re.error, TypeError, ValueError):
    _refuse(flat, 'optim.decay_rules', 'pairs of a regular expression and True or False')
  # A constant rate has no decay that these could describe.
  for key in ('optim.decay_steps', 'optim.final_lr_ratio'):
    if flat[key] and flat['optim.schedule'] == 'constant':
      _refuse(flat, key, "0 when optim.schedule is 'constant'")
  steps = flat['total_steps'] or float('inf')  # not known yet, of fine-tuning
  if flat['optim.warmup_steps'] + flat['optim.decay_steps'] > steps:
    _refuse(
      flat,
      'optim.warmup_steps',
      f'with optim.decay_steps at most total_steps = {flat["total_steps"]}',
    )


def _check_trackers(flat: _Flat) -> None:
  names = flat['log.trackers'].split(',') if flat['log.trackers'] else []
  for name in names:
    if name not in limits.TRACKERS:
      known = ', '.join(limits.TRACKERS)
      hint = _hint(name, limits.TRACKERS)
      _refuse(flat, 'log.trackers', f"names of {known}, joined by commas, or ''" + hint)
  if len(set(names)) < len(names):
    _refuse(flat, 'log.trackers', 'names that differ')
  # TensorBoard has no projects.
  project = defaults.flat()['log.project']
  if flat['log.project'] != project and not set(names) - {'tensorboard'}:
    _refuse(flat, 'log.project', f'{project!r} unless log.trackers names wandb or trackio')


def _check_read(flat: _Flat) -> None:
  """Refuses a setting that was changed and that nothing reads.

  Whoever sets it believes that it has an effect; the run would not show that it has none.
  """
  unchanged = defaults.flat_of(flat)
  units = registered.choices('masking.unit').items()
  of_many = tuple(value for value, unit in units if unit.many_tokens)
  per_unit = ('masking.corruption_per', 'masking.unit', of_many)
  for key, other, choices in (*registered.readers(), per_unit, *limits.READ_WITH):
    if key in flat and flat[key] != unchanged[key] and flat[other] not in choices:
      _refuse(flat, key, f'{unchanged[key]!r} unless {other} is {" or ".join(map(repr, choices))}')
