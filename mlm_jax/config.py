"""The one commented config that every recipe starts from, and its checks.

A recipe is a Python file with `get_config(variant=None)` that starts from
`config.base()` and changes what differs. `load` reads one, applies overrides
from the command line and checks the whole before any work starts.
"""

import ast
import difflib
import importlib.util
import json
import math
import pathlib
import re
import traceback

import ml_collections


class UserError(Exception):
  """Wrong input: its one-line message says what is wrong and how to mend it."""


def base():
  """Returns the default config: every setting, with its meaning."""
  c = ml_collections.ConfigDict()
  c.seed = 0                  # the root of every random draw; below 2**32
  c.batch_size = 32           # rows a step, over all devices
  c.micro_batches = 1         # parts a batch is computed in; the gradient is the same
  c.total_steps = 1000
  # Parts of the run: each a dict of its `steps` and of what differs in it, as dotted
  # keys (see STAGE_KEYS); together they make total_steps. () = one part.
  c.stages = ()

  c.data = data = ml_collections.ConfigDict()
  data.source = 'pydocs'      # text:GLOB, tfds:NAME, hf:FOLDER, synthetic:STATES/WORDS or pydocs;
                              # several are joined by commas (see data/sources.py)
  data.weights = ()           # one a source, shares of the rows drawn; () = by size
  data.size_exponent = 1.0    # without weights: shares go by size to this power; 1 = all
                              # rows are shuffled together, .3 lifts small languages
  data.field = 'text'         # the field or column of a record that holds its text
  data.document = 'file'      # file (or .jsonl record), lines, blocks or regex
  data.block_characters = 2000  # blocks: paragraphs are joined until this long
  data.document_regex = ''    # regex: documents are what stands between its matches
  data.unicode = 'NFC'        # NFC, NFKC or none
  data.control_characters = 'remove'  # remove or keep
  data.white_space = 'collapse'  # collapse (every run becomes one space) or keep
  data.min_characters = 1     # shorter documents are dropped
  data.max_characters = 0     # longer documents are dropped; 0 = no limit
  data.max_repetition = 1.0   # documents that repeat a larger share of themselves are dropped
  data.max_symbols = 1.0      # documents with a larger share of symbols are dropped; for
                              # both see data/clean.py, 1 = off
  data.drop_duplicates = True  # exact ones, after cleaning
  data.near_duplicates = 0.0  # similarity from which on a training document is dropped that
                              # resembles another; 0 = off (see data/near_duplicates.py)
  data.held_out = 0.01        # share of the documents kept for evaluation
  data.tokenizer = 'unigram'  # unigram, bpe, word or the path of a SentencePiece model
  data.vocab_size = 8192      # pieces to train; read from the file for a path
  data.tokenizer_characters = 20_000_000  # size of the sample it is trained on
  data.tokenizer_threads = 2  # part of the result: other counts give other pieces
  data.row_length = 128       # tokens a row
  data.max_segments = 8       # documents a row at most
  data.packing = 'best_fit'   # best_fit or contiguous
  data.prepared = ''          # folder of the prepared data; '' = WORKDIR/data

  c.masking = masking = ml_collections.ConfigDict()
  masking.select = 'uniform'  # which units are preferred
  masking.unit = 'token'      # token or word: what is chosen as a whole
  masking.budget = 'exact'    # exact (count per row) or independent (Bernoulli)
  masking.rate = 0.15         # probability that a unit is chosen
  masking.split = (0.8, 0.1, 0.1)  # of the chosen: [MASK], random, kept
  masking.copies = 0          # static masking with k copies; 0 = dynamic

  c.model = model = ml_collections.ConfigDict()
  model.family = 'bert'       # bert or roberta
  model.size = 'small'        # sets the four below where they are 0
  model.layers = 0
  model.width = 0
  model.heads = 0
  model.feed_forward = 0
  model.max_positions = 512   # rows of the position table
  model.init = 'normal'       # normal, or neighbours (see models/neighbours.py)
  model.init_std = 0.02       # of the weights' truncated normal distribution
  model.dropout = 0.1         # drawn in 8 bits: multiples of 1/256
  model.dtype = 'float32'     # of the computation: float32 or bfloat16
  model.scan_layers = False   # one compiled layer for all: compiles faster, runs slower
  model.remat = False         # recompute activations in the backward pass
  model.head_rows = 0         # rows whose chosen positions are gathered together;
                              # 0 = all rows of a device and micro-batch

  c.optim = optim = ml_collections.ConfigDict()
  optim.name = 'adamw'        # adamw, lamb or stable_adamw
  optim.learning_rate = 1e-3  # peak
  optim.layer_decay = 1.0     # a layer's rate is this times that of the layer above it
  optim.schedule = 'linear'   # shape of the decay: linear, cosine, polynomial,
                              # one_minus_sqrt or constant (none)
  optim.power = 1.0           # polynomial: of the share that is left
  optim.warmup_steps = 100
  optim.decay_steps = 0       # length of the decay at the end, before it the rate is
                              # constant; 0 = from the warm-up on
  optim.final_fraction = 0.0  # of the peak, reached at total_steps
  optim.beta1 = 0.9
  optim.beta2 = 0.98
  optim.epsilon = 1e-6
  optim.bias_correction = True  # of Adam's moments; BERT and ELECTRA have none
  optim.weight_decay = 0.01
  # Ordered (regex over the parameter's path, decayed?); the first match counts. LAMB
  # adapts the rate of what is decayed.
  optim.decay_rules = ((r'.*(bias|norm/scale)', False), (r'.*', True))
  optim.clip_norm = 1.0       # global norm of the gradient; 0 = no clipping
  optim.stop_after_skips = 10  # non-finite gradients in a row that end the run

  c.evaluation = evaluation = ml_collections.ConfigDict()
  evaluation.every = 500      # steps; the last step is always evaluated
  evaluation.rows = 1024      # held-out rows, about; 0 = all
  evaluation.batch_size = 32  # rows, over all devices

  c.checkpoint = checkpoint = ml_collections.ConfigDict()
  checkpoint.every = 500      # steps; the last step is always saved
  checkpoint.keep_latest = 2
  checkpoint.keep_best = 1    # by the held-out reference loss
  checkpoint.log_spaced = False  # also save and keep steps 0, 1, 2, 4, 8, ...

  c.log = log = ml_collections.ConfigDict()
  log.every = 50              # steps a line of metrics.jsonl sums over
  log.spike = 0.3             # a step whose loss lies this share above the median of the last
                              # 64 goes to spikes.jsonl; 0 = none
  log.tensorboard = True

  c.mesh = mesh = ml_collections.ConfigDict()
  mesh.devices = 0            # how many are used; 0 = all there are
  mesh.data = 0               # copies of the model, each with its rows; 0 = what is left
  mesh.fsdp = 1               # devices that share out parameters, and rows too
  mesh.tensor = 1             # devices that share out heads, feed-forward width and vocabulary
  c.lock()
  return c


# What a stage may change.
STAGE_KEYS = (
    'batch_size', 'micro_batches', 'data.row_length', 'data.max_segments', 'data.prepared', 'masking.rate', 'masking.split', 'model.head_rows', 'optim.learning_rate')

# What may differ when a run is taken up again: where and how it runs, not what.
OPERATIONAL = ('checkpoint', 'log', 'mesh', 'data.prepared')

_CHOICES = {
    'data.document': ('file', 'lines', 'blocks', 'regex'),
    'data.unicode': ('NFC', 'NFKC', 'none'),
    'data.control_characters': ('remove', 'keep'),
    'data.white_space': ('collapse', 'keep'),
    'data.packing': ('best_fit', 'contiguous'),
    'masking.select': ('uniform',),
    'masking.unit': ('token', 'word'),
    'masking.budget': ('exact', 'independent'),
    'model.family': ('bert', 'roberta'),
    'model.init': ('normal', 'neighbours'),
    'model.size': ('tiny', 'mini', 'small', 'medium', 'base', 'large'),
    'model.dtype': ('float32', 'bfloat16'),
    'optim.name': ('adamw', 'lamb', 'stable_adamw'),
    'optim.schedule': ('linear', 'cosine', 'polynomial', 'one_minus_sqrt', 'constant'),
}
_AT_LEAST = {
    'batch_size': 1, 'micro_batches': 1, 'total_steps': 1,
    'data.block_characters': 1, 'data.min_characters': 1, 'data.max_characters': 0,
    'data.vocab_size': 300, 'data.tokenizer_characters': 1000,
    'data.tokenizer_threads': 1, 'data.row_length': 8, 'data.max_segments': 1,
    'masking.copies': 0, 'model.layers': 0, 'model.width': 0, 'model.heads': 0,
    'model.feed_forward': 0, 'model.max_positions': 1, 'model.head_rows': 0,
    'optim.warmup_steps': 0, 'optim.decay_steps': 0, 'optim.weight_decay': 0,
    'optim.clip_norm': 0, 'optim.stop_after_skips': 1, 'evaluation.every': 1,
    'evaluation.rows': 0, 'evaluation.batch_size': 1, 'checkpoint.every': 1,
    'checkpoint.keep_latest': 1, 'checkpoint.keep_best': 0, 'log.every': 1,
    'log.spike': 0, 'mesh.devices': 0, 'mesh.data': 0, 'mesh.fsdp': 1, 'mesh.tensor': 1,
}
_MOST_ROWS = 1 << 20
_ABOVE_0 = ('masking.rate', 'model.init_std', 'data.held_out', 'optim.learning_rate', 'optim.epsilon',
            'optim.power', 'optim.layer_decay')
_BELOW_1 = ('data.held_out', 'optim.beta1', 'optim.beta2')
_FRACTIONS = ('masking.rate', 'model.dropout', 'optim.final_fraction', 'optim.layer_decay',
              'data.size_exponent', 'data.max_repetition', 'data.max_symbols', 'data.near_duplicates',
              *_BELOW_1)


def vary(config, variant):
  """Returns a recipe as its variant asks: None as it is, 'smoke' to see it work on a CPU.

  The smoke variant keeps the family, the masking and the kind of optimizer and
  shrinks everything else to about a minute on two cores, on the built-in corpus.
  """
  if variant is None:
    return config
  if variant != 'smoke':
    raise UserError(f'no variant {variant!r}: there is smoke, or none')
  config.batch_size, config.total_steps = 16, 60
  config.data.update(source='pydocs', document='file', vocab_size=2000, row_length=64,
                     tokenizer_characters=500_000)
  config.model.update(layers=2, width=64, heads=2, feed_forward=128, dtype='float32')
  config.optim.update(learning_rate=2e-3, warmup_steps=10, decay_steps=0)
  config.evaluation.update(every=30, rows=64, batch_size=16)
  config.checkpoint.every = 30
  config.log.every = 10
  if config.stages:
    config.stages = ({'steps': 40, 'data.row_length': 32}, {'steps': 20})
  return config


def check(config):
  """Raises UserError for the first setting that cannot work."""
  check_form(config)
  flat = flatten(config)

  def refuse(key, allowed):
    raise UserError(f'config.{key} = {flat[key]!r}: must be {allowed}')

  for key, choices in _CHOICES.items():
    if flat[key] not in choices:
      near = difflib.get_close_matches(str(flat[key]), choices, 1)
      refuse(key, f'one of {", ".join(choices)}' + (f' (did you mean {near[0]}?)' if near else ''))
  for key, least in _AT_LEAST.items():
    if not flat[key] >= least:
      refuse(key, f'at least {least}')
  for key in ('batch_size', 'evaluation.batch_size'):
    if flat[key] > _MOST_ROWS:
      refuse(key, f'at most {_MOST_ROWS:,}')
  for key in _FRACTIONS:
    if not 0 <= flat[key] <= 1:
      refuse(key, 'between 0 and 1')
  for key in _BELOW_1:
    if flat[key] == 1:
      refuse(key, 'below 1')
  for key in _ABOVE_0:
    if not flat[key] > 0:
      refuse(key, 'above 0')
  if flat['model.dropout'] > 255 / 256:
    refuse('model.dropout', 'at most 255/256: nothing would be kept')
  if not 0 <= flat['seed'] < 2**32:
    refuse('seed', 'between 0 and 2**32 - 1 (larger seeds would collide silently)')
  split = flat['masking.split']
  if len(split) != 3 or not all(map(is_number, split)) or min(split) < 0 or abs(sum(split) - 1) > 1e-6:
    refuse('masking.split', 'three shares ([MASK], random, kept) that sum to 1')
  if flat['data.document'] == 'regex' and not flat['data.document_regex']:
    refuse('data.document_regex', "a regular expression when data.document is 'regex'")
  weights = flat['data.weights']
  if not all(is_number(weight) and weight >= 0 for weight in weights) or weights and not any(weights):
    refuse('data.weights', 'numbers from 0 on, not all 0, one a source, or () for shares by size')
  if weights and flat['data.size_exponent'] != 1:
    refuse('data.size_exponent', '1 where config.data.weights says the shares')
  try:
    for regex, is_decayed in flat['optim.decay_rules']:
      re.compile(regex)
      if not isinstance(is_decayed, bool):
        raise TypeError
  except (re.error, TypeError, ValueError):
    refuse('optim.decay_rules', 'pairs of a regular expression and True or False')
  if flat['data.max_characters'] and flat['data.max_characters'] < flat['data.min_characters']:
    refuse('data.max_characters', 'at least data.min_characters, or 0 for no limit')
  if flat['batch_size'] % flat['micro_batches']:
    refuse('batch_size', f'a multiple of micro_batches = {flat["micro_batches"]}')
  if flat['data.row_length'] > flat['model.max_positions']:
    refuse('data.row_length',
           f'at most model.max_positions = {flat["model.max_positions"]}; raise that or shorten the rows')
  for key in ('optim.decay_steps', 'optim.final_fraction'):
    if flat[key] and flat['optim.schedule'] == 'constant':
      refuse(key, "0 when optim.schedule is 'constant'")
  if flat['optim.power'] != 1 and flat['optim.schedule'] != 'polynomial':
    refuse('optim.power', "1 unless optim.schedule is 'polynomial'")
  if flat['optim.warmup_steps'] + flat['optim.decay_steps'] > flat['total_steps']:
    refuse('optim.warmup_steps',
           f'with optim.decay_steps at most total_steps = {flat["total_steps"]}')
  _check_stages(config)


def _check_stages(config):
  """Raises UserError for stages that do not make up the run or do not fit the config."""
  steps = 0
  for number, stage in enumerate(config.stages):
    name = f'config.stages[{number}]'
    if not isinstance(stage, dict) or type(stage.get('steps')) is not int or stage['steps'] < 1:
      raise UserError(f"{name} = {stage!r}: must be a dict with a whole number of steps, such as "
                      "{'steps': 1000, 'data.row_length': 512}")
    steps += stage['steps']
    for key in stage:
      if key not in ('steps', *STAGE_KEYS):
        near = difflib.get_close_matches(str(key), STAGE_KEYS, 1)
        raise UserError(f'{name}: {key!r} is not for a stage to change' + (f'; did you mean {near[0]!r}?' if near
                        else f'; it may change {", ".join(STAGE_KEYS)}'))
  if config.stages and steps != config.total_steps:
    raise UserError(f'config.total_steps = {config.total_steps}: must be the {steps} steps of config.stages together')
  for number, (_, stage) in enumerate(stages(config) if config.stages else ()):
    try:
      check(stage)
    except UserError as error:
      raise UserError(f'config.stages[{number}]: {error}') from None


def stages(config):
  """Returns [(first 0-based step, config)]: the run's config as it is in each of its stages."""
  made, first = [], 0
  for stage in config.stages or ({'steps': config.total_steps},):
    changed = config.copy_and_resolve_references()
    changed.stages = ()
    for key, value in stage.items():
      if key != 'steps':
        group, name = _find(changed, key)
        with group.ignore_type():
          group[name] = _as_tuples(value)
    made.append((first, changed))
    first += stage['steps']
  return made


def check_form(config):
  """Raises UserError where the keys or the types are not those of `base`."""
  flat, wanted = flatten(config), flatten(base())
  for key in flat:
    if key not in wanted:
      raise UserError(unknown_key(key, wanted))
  for key, example in wanted.items():
    if key not in flat:
      raise UserError(f'config.{key} is missing')
    kind = type(example)
    if kind is str and '\0' in str(flat[key]):
      raise UserError(f'config.{key} = {flat[key]!r}: must be text without a NUL character')
    if not (is_number(flat[key]) if kind is float else type(flat[key]) is kind):
      what = 'a finite number' if kind is float else f'of type {kind.__name__}'
      raise UserError(f'config.{key} = {flat[key]!r}: must be {what}, such as {example!r}')


def is_number(value):
  """Whether a value is a finite number, and no bool."""
  return type(value) in (int, float) and -math.inf < value < math.inf


def load(path, overrides=()):
  """Reads FILE[:variant], applies (key, text) overrides, checks; returns it locked."""
  path, variant = _split_variant(str(path))
  try:
    config = _run_recipe(path, variant)
    check_form(config)
  except UserError as error:
    raise UserError(f'{path}: {error}') from None
  except (Exception, SystemExit) as error:  # a recipe is a program: it may raise anything
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    where = f' line {lines[-1]}' if lines else ''
    raise UserError(f'{path}{where}: {type(error).__name__}: {" ".join(str(error).split())}') from error
  return override(config, overrides)


def _split_variant(path):
  """Returns (the file, its variant or None); a file's name may have a colon too."""
  file, _, variant = path.rpartition(':')
  if pathlib.Path(path).is_file() or not file:
    file, variant = path, ''
  if not pathlib.Path(file).is_file():
    raise UserError(f'no such config file: {file}')
  if not file.endswith('.py'):
    raise UserError(f'{file} is no recipe: it must be a .py file with get_config(variant=None)')
  return file, variant or None


def _run_recipe(path, variant):
  """Returns what the get_config of a file returns."""
  spec = importlib.util.spec_from_file_location('recipe', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, 'get_config'):
    raise UserError('has no get_config(variant=None)')
  config = module.get_config(variant)
  if not isinstance(config, ml_collections.ConfigDict):
    raise UserError(f'get_config returned {config!r}; it must return the config (return c)')
  return config


def override(config, overrides=()):
  """Applies (dotted key, text) pairs to a copy of the config and checks it."""
  config = config.copy_and_resolve_references()
  for key, text in overrides:
    group, name = _find(config, key)
    group[name] = _parse(key, text, group[name])
  check(config)
  config.lock()
  return config


def _find(config, key):
  """Returns (the group, the last name) of a dotted key, or names the nearest."""
  *groups, name = key.split('.')
  group = config
  for part in groups:
    group = group.get(part) if isinstance(group, ml_collections.ConfigDict) else None
  if not isinstance(group, ml_collections.ConfigDict) or name not in group:
    raise UserError(unknown_key(key, flatten(config)))
  if isinstance(group[name], ml_collections.ConfigDict):
    raise UserError(f'config.{key} is a group; set one of: '
                    + ', '.join(f'config.{key}.{each}' for each in group[name]))
  return group, name


def unknown_key(key, known):
  """Returns the message for a key that does not exist, with the nearest that does."""
  last = key.split('.')[-1]
  near = (difflib.get_close_matches(key, known, 1)
          or [k for k in known if k.split('.')[-1] == last]
          or difflib.get_close_matches(last, [k.split('.')[-1] for k in known], 1))
  return f'unknown setting config.{key}' + (f'; did you mean config.{near[0]}?' if near else '')


def _parse(key, text, present):
  """Reads text as the type that the setting has now."""
  kind = type(present)
  try:
    if kind is str:
      return text
    if kind is bool:
      return {'true': True, 'false': False}[text.lower()]
    if kind is tuple:
      value = ast.literal_eval(text)
      return tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return kind(text.replace('_', '')) if kind is int else kind(text)
  except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError):
    raise UserError(f'config.{key} = {text}: must be of type {kind.__name__}, such as {present!r}') from None


def flatten(config):
  """Returns {dotted key: value} in the config's order."""
  flat = {}
  for key, value in config.items():
    if isinstance(value, (ml_collections.ConfigDict, dict)):
      flat.update({f'{key}.{name}': v for name, v in flatten(value).items()})
    else:
      flat[key] = value
  return flat


def to_json(config):
  """Returns the config as text that `from_json` reads back."""
  return json.dumps(config.to_dict(), indent=2) + '\n'


def from_json(text, name='config.json'):
  """Returns the config that `to_json` wrote, as text or bytes; UserError names what does not fit."""
  config = base()
  try:
    saved = flatten(json.loads(text))
  except (ValueError, AttributeError, RecursionError) as error:
    raise UserError(f'{name} is damaged: {error}') from None
  known = flatten(config)
  for key, value in saved.items():
    if key not in known:
      raise UserError(f'{name}: {unknown_key(key, known)}')
    group, last = _find(config, key)
    try:
      group[last] = _as_tuples(value)
    except TypeError:
      raise UserError(f'{name}: config.{key} = {value!r}: must be of type {type(known[key]).__name__}, '
                      f'such as {known[key]!r}') from None
  missing = sorted(set(known) - set(saved))
  if missing:
    raise UserError(f'{name} lacks config.{missing[0]}')
  try:
    check(config)
  except UserError as error:
    raise UserError(f'{name}: {error}') from None
  config.lock()
  return config


def _as_tuples(value):
  """Returns what JSON made of tuples, also inside a stage, as tuples again."""
  if isinstance(value, dict):
    return {key: _as_tuples(each) for key, each in value.items()}
  return tuple(map(_as_tuples, value)) if isinstance(value, (list, tuple)) else value


def differences(ours, theirs, ignore=OPERATIONAL):
  """Returns [(key, our value, their value)] of what is not operational and differs."""
  a, b = ({key: _as_tuples(value) for key, value in flatten(each).items()} for each in (ours, theirs))
  for flat in (a, b):
    flat['stages'] = tuple({key: value for key, value in stage.items() if key not in ignore}
                           for stage in flat['stages'])
  skipped = lambda key: any(key == each or key.startswith(each + '.') for each in ignore)
  return [(key, a.get(key), b.get(key)) for key in {**a, **b}
          if not skipped(key) and a.get(key) != b.get(key)]
