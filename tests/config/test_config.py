"""The config: what cannot work is an error that names the key, the value and the remedy."""

import math
import re

import pytest

from mlm_jax import config as config_lib
from mlm_jax.config import limits
from mlm_jax.tasks import pretraining


@pytest.mark.parametrize(
  'key, text, says',
  (
    ('masking.rat', '0.2', 'did you mean config.masking.rate?'),
    ('row_length', '64', 'did you mean config.data.row_length?'),
    ('model', 'x', 'is a group'),
    ('masking', 'spanbrt', 'did you mean spanbert?'),
    ('masking.final_rate', '0.1', "0 when masking.schedule is 'constant'"),
    ('masking.schedule', 'lineal', 'did you mean linear?'),
    ('masking.selection', 'frequentcy', 'did you mean frequency?'),
    ('masking.unit', 'collocation', 'config.data.collocations = 0'),
    ('masking.selection', 'class', "config.data.classes = ''"),
    ('masking.class_weights', '(0, 0)', 'not all 0'),
    ('masking.rate.x', '1', 'unknown setting'),
    ('batch_size', 'many', 'must be of type int'),
    ('model.remat', 'perhaps', 'must be of type bool'),
    ('log.trackers', 'tensorboard,wandbb', 'did you mean wandb?'),
    ('log.project', 'mine', "'mlm_jax' unless log.trackers names"),
    ('log.trackers', 'wandb,wandb', 'names that differ'),
    ('log.tensorboard', 'true', 'did you mean config.log.trackers?'),
    ('masking.corruption_probs', '.8,.1', 'sum to 1'),
    ('masking.corruption_probs', '(.5,.6,-.1)', 'sum to 1'),
    ('masking.rate', '1.5', 'between 0 and 1'),
    ('masking.rate', '-0.1', 'between 0 and 1'),
    ('masking.rate', '0', 'above 0'),
    ('masking.rate', 'nan', 'a finite number'),
    ('seed', str(2**32), '2**32 - 1'),
    ('seed', '-1', '2**32 - 1'),
    ('masking.unit', 'wrod', 'did you mean word?'),
    ('optim.learning_rate', '0', 'above 0'),
    ('grad_accumulation_steps', '3', 'multiple of grad_accumulation_steps'),
    ('data.row_length', '1024', 'at most model.max_positions = 512'),
    ('optim.warmup_steps', '5000', 'at most total_steps'),
    ('data.max_segments', '0', 'at least 1'),
    ('data.document', 'regex', 'a regular expression'),
    ('optim.decay_rules', '(("[",True),)', 'a regular expression'),
    ('optim.decay_rules', '5', 'pairs of'),
    ('optim.decay_rules', '((".*", "no"),)', 'pairs of'),
    ('optim.learning_rate', 'inf', 'a finite number'),
    ('optim.clip_norm', 'inf', 'a finite number'),
    ('optim.weight_decay', 'nan', 'a finite number'),
    ('optim.beta1', '1', 'below 1'),
    ('optim.beta2', '1', 'below 1'),
    ('optim.epsilon', '0', 'above 0'),
    ('optim.power', '2', "1.0 unless optim.schedule is 'polynomial'"),
    ('optim.schedule', 'wsd', 'one of linear, cosine'),
    ('model.dropout', '1', 'at most 255/256'),
    ('model.init_std', '0', 'above 0'),
    ('data.validation_fraction', '0', 'above 0'),
    ('data.validation_fraction', '1', 'below 1'),
    ('masking.corruption_probs', '("a","b","c")', 'sum to 1'),
    ('masking.corruption_probs', '(float,)', 'of type tuple'),
    ('data.weights', '{[]:1}', 'of type tuple'),
    ('data.weights', '("a",)', 'numbers from 0 on'),
    ('data.weights', '(0, 0)', 'not all 0'),
    ('data.weights', '(1, -1)', 'numbers from 0 on'),
    ('data.weights', '(1, 1e999)', 'numbers from 0 on'),
    ('data.weights', '(True,)', 'numbers from 0 on'),
    ('data.sampling_alpha', '2', 'between 0 and 1'),
    ('stages', '5', "must be a dict with a whole number of steps, such as {'steps'"),
    ('stages', '({},)', 'must be a dict with a whole number of steps'),
    ('stages', '({"steps": 0},)', 'must be a dict with a whole number of steps'),
    ('stages', '({"steps": 999},)', 'must be the 999 steps of config.stages together'),
    (
      'stages',
      '({"steps": 1000, "model.layers": 3},)',
      "'model.layers' is not for a stage to change",
    ),
    ('stages', '({"steps": 1000, "row_length": 64},)', "did you mean 'data.row_length'?"),
    (
      'stages',
      '({"steps": 9}, {"steps": 991, "data.row_length": 1024})',
      'config.stages[1]: config.data.row_length = 1024: must be at most model.max_positions = 512',
    ),
    (
      'stages',
      '({"steps": 1000, "batch_size": 1.5},)',
      'config.stages[0]: config.batch_size = 1.5: must be of type int',
    ),
  ),
)
def test_a_bad_setting_is_one_line_that_names_it(key, text, says):
  with pytest.raises(config_lib.UserError) as error:
    config_lib.override(config_lib.base(), [(key, text)])
  assert says in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize(
  'settings, says',
  (
    (
      (('optim.schedule', 'constant'), ('optim.decay_steps', '5')),
      "0 when optim.schedule is 'constant'",
    ),
    (
      (('optim.schedule', 'constant'), ('optim.final_lr_ratio', '.1')),
      "0 when optim.schedule is 'constant'",
    ),
    (
      (('data.weights', '(1, 2)'), ('data.sampling_alpha', '.5')),
      'must be 1 where config.data.weights',
    ),
  ),
)
def test_settings_that_exclude_each_other_are_refused(settings, says):
  with pytest.raises(config_lib.UserError, match=says):
    config_lib.override(config_lib.base(), settings)


READ = (  # a setting, a value, and choices that read it
  ('span_of', 'token', {'unit': 'span'}),
  ('span_length_distribution', 'harmonic', {'unit': 'span'}),
  ('span_p', '0.3', {'unit': 'span', 'span_length_distribution': 'geometric'}),
  ('span_max', '3', {'unit': 'span'}),
  ('frequency_power', '1', {'selection': 'frequency'}),
  ('function_weight', '0', {'selection': 'content'}),
  ('class_weights', '(1, 2)', {'selection': 'class'}),
  ('corruption_per', 'token', {'unit': 'word'}),
  ('rate_power', '3', {'schedule': 'polynomial', 'final_rate': '0.3'}),
  ('rate_power', '3', {'schedule': 'early_polynomial', 'final_rate': '0.3'}),
  ('replacement_distribution', 'frequency', {'corruption_probs': '(0.5, 0.1, 0.4)'}),
)
OTHERWISE = {
  'unit': 'token',
  'selection': 'uniform',
  'schedule': 'linear',
  'span_length_distribution': 'uniform',
  'corruption_probs': '(0.9, 0.0, 0.1)',
}


@pytest.mark.parametrize('key, text, choices', READ)
def test_a_masking_setting_that_nothing_reads_is_refused(key, text, choices):
  base = config_lib.override(config_lib.base(), [('data.classes', 'conllu')])
  pairs = [(f'masking.{name}', choice) for name, choice in choices.items()]
  config_lib.override(base, [*pairs, (f'masking.{key}', text)])
  for name in set(choices) & set(OTHERWISE):
    other = [(f'masking.{name}', OTHERWISE[name])]
    says = rf'^config\.masking\.{key} = .*: must be .*masking\.{name}'
    with pytest.raises(config_lib.UserError, match=says) as error:
      config_lib.override(base, [*pairs, *other, (f'masking.{key}', text)])
    assert '\n' not in str(error.value)
    config_lib.override(base, [*pairs, *other])


@pytest.mark.parametrize('name', config_lib.PRESETS)
def test_a_preset_takes_the_place_of_whatever_policy_there_was(name):
  base = config_lib.override(
    config_lib.base(), [('data.classes', 'conllu'), ('data.collocations', '9')]
  )
  for other in config_lib.PRESETS:
    c = config_lib.override(
      base, [('masking', other), ('masking', name), ('masking.corruption_per', 'unit')]
    )
    assert c.masking.to_dict() == config_lib.masking(config_lib.PRESETS[name]).to_dict()


def test_what_one_stage_reads_may_be_set_for_all():
  stages = '({"steps": 900}, {"steps": 100, "masking.corruption_probs": (1.0, 0.0, 0.0)})'
  settings = [('stages', stages), ('masking.replacement_distribution', 'frequency')]
  c = config_lib.override(config_lib.base(), settings)
  assert config_lib.from_json(config_lib.to_json(c)).masking.replacement_distribution == 'frequency'
  with pytest.raises(
    config_lib.UserError, match="masking.replacement_distribution = 'frequency': must be 'uniform'"
  ):
    config_lib.override(
      config_lib.base(), [*settings, ('masking.corruption_probs', '(1.0, 0.0, 0.0)')]
    )


def test_a_stage_changes_what_it_names_and_nothing_else():
  c = config_lib.override(
    config_lib.base(),
    [
      (
        'stages',
        '({"steps": 900}, {"steps": 100, "data.row_length": 512, "masking.corruption_probs": (1, '
        '0, 0)})',
      )
    ],
  )
  for again in (c, config_lib.from_json(config_lib.to_json(c))):
    (first, one), (second, two) = config_lib.stages(again)
    assert (first, second) == (0, 900)
    assert config_lib.differences(two, one, ignore=()) == [
      ('data.row_length', 512, 128),
      ('masking.corruption_probs', (1, 0, 0), (0.8, 0.1, 0.1)),
    ]
    assert config_lib.differences(one, config_lib.base(), ignore=()) == []
  assert (
    config_lib.stages(config_lib.base())[0][0] == 0
    and len(config_lib.stages(config_lib.base())) == 1
  )


def test_overrides_take_the_type_of_the_setting():
  c = config_lib.override(
    config_lib.base(),
    [
      ('batch_size', '64'),
      ('optim.learning_rate', '2e-3'),
      ('model.remat', 'true'),
      ('masking.corruption_probs', '(1, 0, 0)'),
      ('data.source', 'text:a,b.txt'),
    ],
  )
  assert (
    c.batch_size,
    c.optim.learning_rate,
    c.model.remat,
    c.masking.corruption_probs,
    c.data.source,
  ) == (64, 2e-3, True, (1, 0, 0), 'text:a,b.txt')


def test_a_config_survives_json():
  c = pretraining.resolve(config_lib.base())
  assert config_lib.differences(c, config_lib.from_json(config_lib.to_json(c)), ignore=()) == []


@pytest.mark.parametrize(
  'damage, says',
  (
    (lambda text: text[:50], 'is damaged'),
    (lambda text: text.replace('"seed"', '"sede"'), 'did you mean config.seed?'),
    (lambda text: text.replace('"seed": 0,', ''), 'lacks config.seed'),
    (lambda text: '[]', 'is damaged'),
    (lambda text: text.encode('utf-16')[:-1], 'is damaged'),
    (lambda text: b'\xff' + text.encode(), 'is damaged'),
    (lambda text: '[' * 100_000, 'is damaged'),
    (
      lambda text: text.replace('"seed": 0', '"seed": "x"'),
      "config.seed = 'x': must be of type int",
    ),
    (
      lambda text: text.replace('"seed": 0', '"seed": true'),
      'config.seed = True: must be of type int',
    ),
    (
      lambda text: text.replace('"rate": 0.15', '"rate": null'),
      'config.masking.rate = None: must be a finite',
    ),
    (
      lambda text: text.replace('"weights": []', '"weights": null'),
      'config.data.weights = None: must be of',
    ),
  ),
)
def test_a_damaged_config_json_is_named(damage, says):
  with pytest.raises(config_lib.UserError, match=says.replace('?', r'\?')):
    config_lib.from_json(damage(config_lib.to_json(config_lib.base())), 'runs/x/config.json')


def recipe(tmp_path, *lines, name='recipe.py'):
  """Writes a recipe whose get_config has these lines."""
  path = tmp_path / name
  path.write_text(
    '\n'.join(
      [
        'from mlm_jax import config',
        'def get_config(variant=None):',
        '  c = config.base()',
        *(f'  {line}' for line in lines),
      ]
    )
  )
  return path


@pytest.mark.parametrize(
  'lines, says',
  (
    (['pass'], r'get_config returned None; it must return the config \(return c\)'),
    (['c.batch_size = 0', 'return c'], 'batch_size'),
    (['return d'], "line 4: NameError: name 'd' is not defined"),
    (['import absent_module'], 'line 4: ModuleNotFoundError'),
    (['c.batch_size = 1 // 0'], 'line 4: ZeroDivisionError'),
    (['raise SystemExit(3)'], 'line 4: SystemExit: 3'),
    (['c batch_size'], 'SyntaxError: .*line 4'),
    (['c.unlock()', 'c.masking.rte = .3', 'return c'], 'did you mean config.masking.rate'),
    (['c.unlock()', 'del c.masking.rate', 'return c'], 'config.masking.rate is missing'),
    (['c.unlock()', 'c.masking = 3', 'return c'], 'masking'),
    (['c.masking.rate = None', 'return c'], 'config.masking.rate = None: must be a finite number'),
  ),
)
def test_a_recipe_that_cannot_be_used_is_one_line_that_names_it(tmp_path, lines, says):
  with pytest.raises(config_lib.UserError, match=says) as error:
    config_lib.load(recipe(tmp_path, *lines))
  assert '\n' not in str(error.value)
  assert 'recipe.py' in str(error.value) or 'batch_size' in says


def test_what_is_not_a_recipe_is_named(tmp_path):
  with pytest.raises(config_lib.UserError, match='must be a .py file'):
    config_lib.load(recipe(tmp_path, 'return c', name='recipe.txt'))
  (tmp_path / 'empty.py').write_text('')
  with pytest.raises(config_lib.UserError, match='empty.py: has no get_config'):
    config_lib.load(tmp_path / 'empty.py')


def test_the_path_of_a_recipe_may_contain_a_colon(tmp_path):
  path = recipe(tmp_path, 'return config.vary(c, variant)', name='a:b.py')
  assert config_lib.load(path).batch_size == 32
  assert config_lib.load(f'{path}:smoke').batch_size == 16
  with pytest.raises(config_lib.UserError, match="no variant 'smok'"):
    config_lib.load(f'{path}:smok')


def test_a_recipe_with_a_mistyped_key_is_named(tmp_path):
  recipe = tmp_path / 'recipe.py'
  recipe.write_text(
    'from mlm_jax import config\n'
    'def get_config(variant=None):\n'
    '  c = config.base()\n'
    '  c.masking.rte = .3\n'
    '  return c\n'
  )
  with pytest.raises(config_lib.UserError, match='rate'):
    config_lib.load(recipe)
  with pytest.raises(config_lib.UserError, match='no such config file'):
    config_lib.load(tmp_path / 'absent.py')


def test_operational_settings_do_not_count_as_differences():
  ours = config_lib.override(
    config_lib.base(), [('log.every', '7'), ('checkpoint.keep_latest', '9')]
  )
  assert config_lib.differences(ours, config_lib.base()) == []
  ours = config_lib.override(config_lib.base(), [('masking.rate', '0.3')])
  assert config_lib.differences(ours, config_lib.base()) == [('masking.rate', 0.3, 0.15)]


def test_the_package_is_a_function_that_gives_a_checked_and_locked_config(tmp_path):
  # pyrefly: ignore[not-callable]
  make = lambda *arguments: config_lib(*arguments)
  assert config_lib.to_json(make()) == config_lib.to_json(config_lib.base())
  path = recipe(tmp_path, 'c.seed = 3', 'return config.vary(c, variant)')
  made = make(path, {'masking.rate': 0.3, 'masking': 'spanbert', 'optim.learning_rate': 1})
  assert (made.seed, made.masking.unit, made.masking.rate) == (3, 'span', 0.3)
  assert type(made.optim.learning_rate) is float and made.is_locked
  assert make(f'{path}:smoke', {'seed': 4}).total_steps == 60
  saved = tmp_path / 'config.json'
  saved.write_text(config_lib.to_json(made))
  assert config_lib.to_json(make(saved)) == config_lib.to_json(made)


@pytest.mark.parametrize(
  'settings, says',
  (
    ({'masking.rat': 0.2}, 'did you mean config.masking.rate?'),
    ({'batch_size': '8'}, 'must be of type int'),
    ({'masking.rate': 1.5}, 'between 0 and 1'),
  ),
)
def test_the_function_refuses_what_cannot_work(settings, says):
  with pytest.raises(config_lib.UserError, match=re.escape(says)):
    config_lib(None, settings)  # pyrefly: ignore[not-callable]


def test_the_final_stage_is_the_last_of_the_stages():
  stages = '({"steps": 900, "data.row_length": 64}, {"steps": 100, "batch_size": 8})'
  config = config_lib.override(config_lib.base(), [('stages', stages)])
  final = config_lib.final_stage(config)
  assert (final.batch_size, final.data.row_length) == (8, 128)
  assert config_lib.final_stage(config_lib.base()).total_steps == 1000


def test_every_number_has_a_largest_value_and_beyond_it_is_refused_in_one_line():
  known = {*limits.AT_MOST, *limits.FRACTIONS, *limits.BELOW_1, 'seed'}
  for key, default in config_lib.flatten(config_lib.base()).items():
    if type(default) not in (int, float):
      continue
    assert key in known, f'{key} may be as large as it likes'
    for value in (10**40, -(10**40)) if isinstance(default, int) else (1e39, -1e39, math.inf):
      with pytest.raises(config_lib.UserError) as error:
        config_lib.override(config_lib.base(), [(key, str(value))])
      assert '\n' not in str(error.value) and key.split('.')[-1] in str(error.value)
