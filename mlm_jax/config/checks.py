"""What cannot work, by itself or with other settings: refused before any work starts."""

import difflib
import re

from mlm_jax.config import defaults
from mlm_jax.config import keys
from mlm_jax.config import registered
from mlm_jax.config import staging
from mlm_jax.config.keys import UserError
from mlm_jax.config.keys import is_number

_CHOICES = {
  'data.document': ('file', 'lines', 'blocks', 'regex'),
  'data.unicode': ('NFC', 'NFKC', 'none'),
  'data.control_characters': ('remove', 'keep'),
  'data.white_space': ('collapse', 'keep'),
  'data.packing': ('best_fit', 'contiguous'),
  'data.pairs': ('', 'nsp', 'sop'),
  'masking.span_of': ('word', 'token'),
  'masking.span_length_distribution': ('geometric', 'uniform', 'harmonic'),
  'masking.sampling': ('fixed_count', 'bernoulli'),
  'masking.corruption_per': ('unit', 'token'),
  'masking.replacement_distribution': ('uniform', 'frequency'),
  'model.family': (
    'bert',
    'roberta',
    'electra',
    'deberta',
    'deberta_v2',
    'deberta_v3',
    'modernbert',
  ),
  'model.deberta.projections': ('', 'shared', 'own'),
  'model.deberta.relative_norm': ('', 'none', 'layer_norm'),
  'model.deberta.convolution_act': ('gelu', 'tanh'),
  'model.deberta.decoder': ('plain', 'enhanced'),
  'model.init': ('normal', 'neighbours'),
  'model.dtype': ('float32', 'bfloat16'),
  'objective.name': ('masked', 'rtd'),
  'objective.sharing': ('tied', 'none', 'gdes'),
  'optim.name': ('adamw', 'lamb', 'stable_adamw'),
  'optim.schedule': ('linear', 'cosine', 'polynomial', 'one_minus_sqrt', 'constant'),
}
_AT_LEAST = {
  'batch_size': 1,
  'grad_accumulation_steps': 1,
  'total_steps': 1,
  'data.block_characters': 1,
  'data.min_characters': 1,
  'data.max_characters': 0,
  'data.vocab_size': 300,
  'data.tokenizer_characters': 1000,
  'data.tokenizer_threads': 1,
  'data.row_length': 8,
  'data.max_segments': 1,
  'masking.static_copies': 0,
  'masking.span_max': 1,
  'masking.frequency_power': 0,
  'masking.rate_power': 0.1,
  'data.collocations': 0,
  'model.layers': 0,
  'model.width': 0,
  'model.heads': 0,
  'model.feed_forward': 0,
  'model.max_positions': 1,
  'model.head_rows': 0,
  'model.vocab_size': 0,
  'model.embedding_width': 0,
  'model.types': -1,
  'model.position_offset': -1,
  'model.norm_epsilon': 0,
  'model.deberta.span': 0,
  'model.deberta.buckets': -1,
  'model.deberta.convolution': -1,
  'model.modernbert.window': 2,
  'model.modernbert.global_every': 1,
  'objective.pairs_weight': 0,
  'objective.sbo_weight': 0,
  'optim.warmup_steps': 0,
  'optim.decay_steps': 0,
  'optim.weight_decay': 0,
  'optim.clip_norm': 0,
  'optim.max_consecutive_nonfinite': 1,
  'evaluation.every': 1,
  'evaluation.rows': 0,
  'evaluation.batch_size': 1,
  'checkpoint.every': 1,
  'checkpoint.keep_latest': 1,
  'checkpoint.keep_best': 0,
  'log.every': 1,
  'log.spike': 0,
  'mesh.devices': 0,
  'mesh.data': 0,
  'mesh.fsdp': 1,
  'mesh.tensor': 1,
}
_MOST_ROWS = 1 << 20
_ABOVE_0 = (
  'masking.span_p',
  'masking.predict_fraction',
  'model.init_std',
  'model.modernbert.global_theta',
  'model.modernbert.local_theta',
  'data.validation_fraction',
  'optim.learning_rate',
  'optim.epsilon',
  'optim.power',
  'optim.layerwise_lr_decay',
  'optim.generator_lr_multiplier',
  'objective.masked_weight',
  'objective.rtd_weight',
  'objective.generator_layers',
  'objective.generator_width',
)
_BELOW_1 = ('data.validation_fraction', 'optim.beta1', 'optim.beta2')
# What only some choices of another setting read: (the setting, the other, its choices that do).
_READ_WITH = (
  ('masking.span_p', 'masking.span_length_distribution', ('geometric',)),
  ('optim.power', 'optim.schedule', ('polynomial',)),
  *(
    (f'objective.{key}', 'objective.name', ('masked',))
    for key in ('predict_all', 'pairs_weight', 'sbo_weight')
  ),
  *(
    (key, 'objective.name', ('rtd',))
    for key in (
      'objective.rtd_weight',
      'objective.sharing',
      'objective.generator_layers',
      'objective.generator_width',
      'optim.generator_lr_multiplier',
      'optim.clip_separately',
    )
  ),
)
# What data has to be prepared with for some choices of masking.
_PREPARED = {
  'collocations': 'above 0, such as 20000 for 10 million words',
  'classes': "'conllu' or module:function",
}
_FRACTIONS = (
  'masking.rate',
  'masking.final_rate',
  'masking.mean_rate',
  'masking.span_p',
  'masking.function_weight',
  'masking.predict_fraction',
  'model.dropout',
  'optim.final_lr_ratio',
  'optim.layerwise_lr_decay',
  'data.sampling_alpha',
  'data.max_repetition',
  'data.max_symbols',
  'data.near_duplicates',
  *_BELOW_1,
)


def check(config):
  """Raises UserError for the first setting that cannot work."""
  _check_stage(config)
  staging.check_stages(config, _check_stage)
  random = any(stage.masking.corruption_probs[1] for _, stage in staging.stages(config))
  if config.masking.replacement_distribution != 'uniform' and not random:
    _refuse(
      keys.flatten(config),
      'masking.replacement_distribution',
      "'uniform' where masking.corruption_probs has no random share",
    )


def _check_stage(config):
  """Raises UserError for the first setting that cannot work in a run of one stage."""
  check_form(config)
  flat = keys.flatten(config)
  _check_ranges(flat)
  _check_masking(flat)
  _check_data(flat)
  _check_batch(flat)
  _check_objective(flat)
  _check_optim(flat)
  _check_read(flat)


def check_form(config):
  """Raises UserError where the keys or the types are not those of `base`."""
  flat, wanted = keys.flatten(config), keys.flatten(defaults.base())
  for key in flat:
    if key not in wanted:
      raise UserError(keys.unknown_key(key, wanted))
  for key, example in wanted.items():
    if key not in flat:
      raise UserError(f'config.{key} is missing')
    kind = type(example)
    if kind is str and '\0' in str(flat[key]):
      raise UserError(f'config.{key} = {flat[key]!r}: must be text without a NUL character')
    if not (is_number(flat[key]) if kind is float else type(flat[key]) is kind):
      what = 'a finite number' if kind is float else f'of type {kind.__name__}'
      raise UserError(f'config.{key} = {flat[key]!r}: must be {what}, such as {example!r}')


def _refuse(flat, key, allowed):
  raise UserError(f'config.{key} = {flat[key]!r}: must be {allowed}')


def _check_choice(flat, key, allowed, others=''):
  if flat[key] not in allowed:
    near = difflib.get_close_matches(str(flat[key]), allowed, 1)
    hint = f' (did you mean {near[0]}?)' if near else ''
    _refuse(flat, key, f'one of {", ".join(allowed)}{others}{hint}')


def _check_ranges(flat):
  """What a setting may be whatever the others are."""
  for key, allowed in _CHOICES.items():
    _check_choice(flat, key, allowed)
  for key, least in _AT_LEAST.items():
    if not flat[key] >= least:
      _refuse(flat, key, f'at least {least}')
  for key in ('batch_size', 'evaluation.batch_size'):
    if flat[key] > _MOST_ROWS:
      _refuse(flat, key, f'at most {_MOST_ROWS:,}')
  for key in _FRACTIONS:
    if not 0 <= flat[key] <= 1:
      _refuse(flat, key, 'between 0 and 1')
  for key in _BELOW_1:
    if flat[key] == 1:
      _refuse(flat, key, 'below 1')
  for key in _ABOVE_0:
    if not flat[key] > 0:
      _refuse(flat, key, 'above 0')
  if flat['model.dropout'] > 255 / 256:
    _refuse(flat, 'model.dropout', 'at most 255/256: nothing would be kept')
  if not 0 <= flat['seed'] < 2**32:
    _refuse(flat, 'seed', 'between 0 and 2**32 - 1 (larger seeds would collide silently)')


def _check_masking(flat):
  _check_choice(flat, 'masking.unit', registered.choices('masking.unit'))
  _check_choice(flat, 'masking.schedule', registered.choices('masking.schedule'))
  if ':' not in flat['masking.selection']:
    known = registered.choices('masking.selection')
    _check_choice(flat, 'masking.selection', known, ', or module:Class of yours')
  _check_rate(flat)
  for key, value, need in registered.needs(
    {key.split('.')[-1]: flat[key] for key in registered.SETTINGS}
  ):
    if not flat[f'data.{need}']:
      _refuse(flat, f'data.{need}', f'{_PREPARED[need]}, for {key} = {value!r}')
  weights = flat['masking.class_weights']
  if (
    not all(is_number(weight) and weight >= 0 for weight in weights) or weights and not any(weights)
  ):
    _refuse(flat, 'masking.class_weights', 'numbers from 0 on, not all 0, one a class, or ()')
  split = flat['masking.corruption_probs']
  if (
    len(split) != 3
    or not all(map(is_number, split))
    or min(split) < 0
    or abs(sum(split) - 1) > 1e-6
  ):
    _refuse(flat, 'masking.corruption_probs', 'three shares ([MASK], random, kept) that sum to 1')


def _check_rate(flat):
  rate, final, mean = (flat[f'masking.{name}'] for name in ('rate', 'final_rate', 'mean_rate'))
  if flat['masking.schedule'] == 'constant':
    if not rate > 0:
      _refuse(flat, 'masking.rate', 'above 0')
    for key in ('masking.final_rate', 'masking.mean_rate'):
      if flat[key]:
        _refuse(flat, key, "0 when masking.schedule is 'constant'")
  elif rate == final:
    _refuse(
      flat,
      'masking.final_rate',
      f'another than masking.rate = {rate} when masking.schedule is {flat["masking.schedule"]!r}',
    )


def _check_data(flat):
  if flat['data.document'] == 'regex' and not flat['data.document_regex']:
    _refuse(flat, 'data.document_regex', "a regular expression when data.document is 'regex'")
  weights = flat['data.weights']
  if (
    not all(is_number(weight) and weight >= 0 for weight in weights) or weights and not any(weights)
  ):
    _refuse(
      flat, 'data.weights', 'numbers from 0 on, not all 0, one a source, or () for shares by size'
    )
  if weights and flat['data.sampling_alpha'] != 1:
    _refuse(flat, 'data.sampling_alpha', '1 where config.data.weights says the shares')
  if flat['data.max_characters'] and flat['data.max_characters'] < flat['data.min_characters']:
    _refuse(flat, 'data.max_characters', 'at least data.min_characters, or 0 for no limit')


def _check_objective(flat):
  if flat['data.pairs'] and flat['data.packing'] == 'contiguous':
    _refuse(flat, 'data.packing', "'best_fit' for config.data.pairs: the other one cuts pairs")
  if flat['data.pairs'] and flat['model.types'] == 1:
    _refuse(flat, 'model.types', 'at least 2, or 0, for config.data.pairs')
  if flat['objective.pairs_weight']:
    if not flat['data.pairs']:
      _refuse(flat, 'data.pairs', "'nsp' or 'sop', for config.objective.pairs_weight above 0")
    if flat['model.types'] == 0:
      _refuse(
        flat,
        'model.types',
        'at least 2, which tell the two sentences of a pair apart, for '
        'config.objective.pairs_weight above 0',
      )
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


def _check_batch(flat):
  if flat['batch_size'] % flat['grad_accumulation_steps']:
    _refuse(
      flat,
      'batch_size',
      f'a multiple of grad_accumulation_steps = {flat["grad_accumulation_steps"]}',
    )
  if flat['data.row_length'] > flat['model.max_positions']:
    _refuse(
      flat,
      'data.row_length',
      f'at most model.max_positions = {flat["model.max_positions"]}; raise that or shorten the '
      'rows',
    )


def _check_optim(flat):
  try:
    for regex, is_decayed in flat['optim.decay_rules']:
      re.compile(regex)
      if not isinstance(is_decayed, bool):
        raise TypeError
  except (re.error, TypeError, ValueError):
    _refuse(flat, 'optim.decay_rules', 'pairs of a regular expression and True or False')
  for key in ('optim.decay_steps', 'optim.final_lr_ratio'):
    if flat[key] and flat['optim.schedule'] == 'constant':
      _refuse(flat, key, "0 when optim.schedule is 'constant'")
  if flat['optim.warmup_steps'] + flat['optim.decay_steps'] > flat['total_steps']:
    _refuse(
      flat,
      'optim.warmup_steps',
      f'with optim.decay_steps at most total_steps = {flat["total_steps"]}',
    )


def _check_read(flat):
  """Refuses what differs from its default and is read by nothing."""
  unchanged = keys.flatten(defaults.base())
  units = registered.choices('masking.unit').items()
  of_many = tuple(value for value, unit in units if unit.many_tokens)
  readers = (
    *registered.readers(),
    ('masking.corruption_per', 'masking.unit', of_many),
    *_READ_WITH,
  )
  for key, other, values in readers:
    if flat[key] != unchanged[key] and flat[other] not in values:
      _refuse(flat, key, f'{unchanged[key]!r} unless {other} is {" or ".join(map(repr, values))}')
