"""What settings mean and may be: read from config/settings, and true to what the checks refuse."""

import pathlib
import re

import pytest

from mlm_jax import config as config_lib
from mlm_jax.config import meanings
from mlm_jax.config import presets
from mlm_jax.config import synonyms
from mlm_jax.config.settings import data

SETTINGS = config_lib.flatten(config_lib.base())


def test_every_setting_and_every_group_has_a_meaning():
  known = meanings.meanings()
  groups = {key.rpartition('.')[0] for key in SETTINGS} - {''}
  assert set(known) == {*SETTINGS, *groups} and all(known.values())
  # In the order of the file, in which a reader meets them.
  text = pathlib.Path(data.__file__).read_text()
  assert known['masking.static_copies'] == 'static masking with k copies; 0 = dynamic'
  places = [text.index(f'data.{key} = ') for key in ('source', 'weights', 'packing', 'prepared')]
  assert places == sorted(places)
  assert [key for key in known if key.startswith('data.')][:2] == ['data.source', 'data.weights']


@pytest.mark.parametrize('key', [key for key in SETTINGS if key != 'model.attention_dropout'])
def test_what_is_allowed_is_what_the_checks_allow(key):
  allowed = meanings.allowed(key)

  def refused(text):
    with pytest.raises(config_lib.UserError) as error:
      config_lib.override(config_lib.base(), [(key, text)])
    return f'config.{key} = ' in str(error.value)

  for edge in re.findall(r'(?:at least|above) (-?[\d.,]+)', allowed):
    number = float(edge.replace(',', ''))
    below = number if f'above {edge}' in allowed else number - 1
    assert refused(f'{below:g}' if isinstance(SETTINGS[key], float) else f'{below:.0f}'), allowed
  for edge in re.findall(r'at most ([\d,]+)(?![\d/,e])', allowed):
    more = int(edge.replace(',', '')) + 1
    assert refused(str(more)), allowed
  if meanings.choices(key) and isinstance(SETTINGS[key], str):
    is_open = 'or module:name' in allowed or 'or the path of a file' in allowed
    assert is_open or refused('none of these')


def test_a_number_without_limits_is_none():
  numbers = [key for key, value in SETTINGS.items() if type(value) in (int, float)]
  assert not [key for key in numbers if not meanings.allowed(key)]


def test_choices_are_named_where_there_are_some():
  assert meanings.choices('masking') == tuple(presets.PRESETS)
  assert set(meanings.choices('masking.unit')) >= {'token', 'word', 'span'}
  assert 'module:name of yours' in meanings.allowed('masking.selection')
  assert meanings.readers('optim.power') == ['optim.schedule is polynomial']


@pytest.mark.parametrize(
  'key, means',
  (
    ('lr', 'optim.learning_rate'),
    ('optim.lr', 'optim.learning_rate'),
    ('learning_rate', 'optim.learning_rate'),
    ('warmup_ratio', 'optim.warmup_steps'),
    ('per_device_train_batch_size', 'batch_size'),
    ('hidden_size', 'model.width'),
    ('model.hidden_size', 'model.width'),
    ('num_hidden_layers', 'model.layers'),
    ('num_attention_heads', 'model.heads'),
    ('mlm_probability', 'masking.rate'),
    ('max_seq_length', 'data.row_length'),
    ('weight_decay', 'optim.weight_decay'),
    ('fp16', 'model.dtype=bfloat16'),
    ('bf16', 'model.dtype=bfloat16'),
    ('training.seed', 'seed'),
    ('num_train_epochs', 'total_steps'),
    ('eval_steps', 'evaluation.every'),
    ('gradient_accumulation_steps', 'grad_accumulation_steps'),
    # Typing errors come first, in keys and in what others call them.
    ('optim.wamup_steps', 'optim.warmup_steps'),
    ('optim.wamup', 'optim.warmup_steps'),
    ('evaluaton.every', 'evaluation.every'),
    ('masking.rat', 'masking.rate'),
    ('hiden_size', 'model.width'),
    # Of several with one name all are named.
    ('schedule', 'masking.schedule or config.optim.schedule'),
  ),
)
def test_a_key_that_is_none_suggests_what_is_meant(key, means):
  with pytest.raises(config_lib.UserError) as error:
    config_lib.override(config_lib.base(), [(key, '1')])
  assert str(error.value) == f'unknown setting config.{key}; did you mean config.{means}?'


def test_nothing_is_suggested_where_nothing_is_like_it():
  with pytest.raises(config_lib.UserError, match='^unknown setting config.zzz$'):
    config_lib.override(config_lib.base(), [('zzz', '1')])


def test_every_synonym_means_a_setting_and_hides_none():
  lasts = {key.split('.')[-1] for key in SETTINGS}
  for name, setting in synonyms.SYNONYMS.items():
    key, _, value = setting.partition('=')
    assert key in SETTINGS and name not in lasts
    assert not value or value in meanings.choices(key)
