"""The config: what cannot work is an error that names the key, the value and the mend."""

import pytest

from mlm_jax import config as config_lib
from mlm_jax import pretrain


@pytest.mark.parametrize('key, text, says', (
    ('masking.rat', '0.2', 'did you mean config.masking.rate?'),
    ('row_length', '64', 'did you mean config.data.row_length?'),
    ('masking', 'x', 'is a group'),
    ('masking.rate.x', '1', 'unknown setting'),
    ('batch_size', 'many', 'must be of type int'),
    ('log.tensorboard', 'perhaps', 'must be of type bool'),
    ('masking.split', '.8,.1', 'sum to 1'),
    ('masking.split', '(.5,.6,-.1)', 'sum to 1'),
    ('masking.rate', '1.5', 'between 0 and 1'),
    ('masking.rate', '-0.1', 'between 0 and 1'),
    ('masking.rate', '0', 'above 0'),
    ('masking.rate', 'nan', 'between 0 and 1'),
    ('seed', str(2**32), '2**32 - 1'),
    ('seed', '-1', '2**32 - 1'),
    ('masking.unit', 'wrod', 'did you mean word?'),
    ('optim.learning_rate', '0', 'above 0'),
    ('micro_batches', '3', 'multiple of micro_batches'),
    ('data.row_length', '1024', 'at most model.max_positions = 512'),
    ('optim.warmup_steps', '5000', 'at most total_steps'),
    ('data.max_segments', '0', 'at least 1'),
    ('data.document', 'regex', 'a regular expression'),
    ('optim.decay_rules', '(("[",True),)', 'a regular expression'),
    ('optim.decay_rules', '5', 'pairs of'),
))
def test_a_bad_setting_is_one_line_that_names_it(key, text, says):
  with pytest.raises(config_lib.UserError) as error:
    config_lib.override(config_lib.base(), [(key, text)])
  assert says in str(error.value) and '\n' not in str(error.value)


def test_overrides_take_the_type_of_the_setting():
  c = config_lib.override(config_lib.base(), [
      ('batch_size', '64'), ('optim.learning_rate', '2e-3'), ('log.tensorboard', 'false'),
      ('masking.split', '(1, 0, 0)'), ('data.source', 'text:a,b.txt')])
  assert (c.batch_size, c.optim.learning_rate, c.log.tensorboard, c.masking.split, c.data.source) == (
      64, 2e-3, False, (1, 0, 0), 'text:a,b.txt')


def test_a_config_survives_json():
  c = pretrain.resolve(config_lib.base())
  assert config_lib.differences(c, config_lib.from_json(config_lib.to_json(c)), ignore=()) == []


@pytest.mark.parametrize('damage, says', (
    (lambda text: text[:50], 'is damaged'),
    (lambda text: text.replace('"seed"', '"sede"'), 'did you mean config.seed?'),
    (lambda text: text.replace('"seed": 0,', ''), 'lacks config.seed'),
    (lambda text: '[]', 'is damaged'),
))
def test_a_damaged_config_json_is_named(damage, says):
  with pytest.raises(config_lib.UserError, match=says.replace('?', r'\?')):
    config_lib.from_json(damage(config_lib.to_json(config_lib.base())), 'runs/x/config.json')


def test_a_recipe_with_a_mistyped_key_is_named(tmp_path):
  recipe = tmp_path / 'recipe.py'
  recipe.write_text('from mlm_jax import config\n'
                    'def get_config(variant=None):\n'
                    '  c = config.base()\n'
                    '  c.masking.rte = .3\n'
                    '  return c\n')
  with pytest.raises(config_lib.UserError, match='rate'):
    config_lib.load(recipe)
  with pytest.raises(config_lib.UserError, match='no such config file'):
    config_lib.load(tmp_path / 'absent.py')


def test_operational_settings_are_no_difference():
  ours = config_lib.override(config_lib.base(), [('log.every', '7'), ('checkpoint.keep_latest', '9')])
  assert config_lib.differences(ours, config_lib.base()) == []
  ours = config_lib.override(config_lib.base(), [('masking.rate', '0.3')])
  assert config_lib.differences(ours, config_lib.base()) == [('masking.rate', 0.3, 0.15)]
