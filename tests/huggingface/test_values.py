"""Every value of a config.json is of its type and in its range before anything is made of it."""

import json
import math

import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax import models
from mlm_jax.huggingface import importing
from mlm_jax.huggingface import kinds
from mlm_jax.huggingface import settings
from tests.huggingface import builders

NOT_NUMBERS = ('12', '', True, None, [], [2], {}, {'a': 1}, math.nan, math.inf, -math.inf)
NOT_SIZES = (*NOT_NUMBERS, -1, -(10**12), 10**12, 10**400, 3.7, 2.0, 1e3)
# A case of each kind, the others having the same numbers.
CASES = ('bert', 'roberta', 'distilbert', 'electra', 'deberta', 'deberta_v2', 'modernbert')
NUMBERS = [
  (case, number)
  for case in CASES
  for number in kinds.known()[case.replace('_', '-')].numbers.values()
]


def refusal(case, changes):
  """Returns what is said of a config with other values."""
  with pytest.raises(config_lib.UserError) as raised:
    settings.to_ours(builders.PUBLISHED[case]['config'] | changes)
  assert len(str(raised.value).splitlines()) == 1 and len(str(raised.value)) < 250
  return str(raised.value)


@pytest.mark.parametrize('case, number', NUMBERS, ids=lambda each: getattr(each, 'name', each))
def test_a_number_that_cannot_be_is_refused_by_name(case, number):
  for value in NOT_SIZES if number.is_whole else (*NOT_NUMBERS, -0.1, 10**12, 10**400, -math.pi):
    assert f'{number.name} = {json.dumps(value)[:20]}' in refusal(case, {number.name: value})


@pytest.mark.parametrize(
  'case, name, values',
  (
    ('bert', 'num_hidden_layers', (0,)),
    ('bert', 'type_vocab_size', (0,)),
    ('bert', 'layer_norm_eps', (0, 0.0)),
    ('bert', 'pad_token_id', ('0', True, -1, 50, 10**12, 1.0, [])),
    ('roberta', 'pad_token_id', ('1', True, -1, 40, 45, 50, 10**12, 1.5)),
    ('roberta', 'max_position_embeddings', (9,)),
    ('bert', 'tie_word_embeddings', ('false', 0, 1, [])),
    ('bert', 'hidden_act', (1, ['gelu'], {}, 'GELU', '')),
    ('bert', 'is_decoder', ('no', [], 2)),
    ('electra', 'embedding_size', (0,)),
    ('deberta', 'max_relative_positions', (-2, 1.5, '8', True, 10**12)),
    ('deberta', 'pos_att_type', (None, 5, [1], ['c2p'], 'c2p', {'c2p': 'p2c'})),
    ('deberta', 'embedding_size', (16, '32')),
    ('deberta', 'legacy', ('yes', 1)),
    ('deberta_v2', 'position_buckets', (2.5, '16', 10**12, -2)),
    ('deberta_v2', 'share_att_key', ('false', 0)),
    ('deberta_v2', 'norm_rel_ebd', (True, ['layer_norm'])),
    ('deberta_v2', 'conv_kernel_size', (4, 2.5, 10**12, True)),
    ('deberta_v2', 'conv_act', (3, 'swiglu')),
    ('modernbert', 'layer_types', ('all', 5, [], ['full_attention'], [['full_attention']] * 5)),
    ('modernbert', 'rope_parameters', (7, 'default', [], {'full_attention': 3})),
  ),
)
def test_a_setting_that_cannot_be_is_refused_by_name(case, name, values):
  for value in values:
    assert name in refusal(case, {name: value})


@pytest.mark.parametrize('name', ('hidden_size', 'model_type', 'is_decoder', 'hidden_act'))
def test_what_is_deeply_nested_is_refused_by_name(name):
  depth = 900
  assert name in refusal('bert', {name: json.loads('[' * depth + ']' * depth)})


@pytest.mark.parametrize('value', (0, -1, 2.5, '3', True, 10**12))
def test_a_period_of_global_layers_that_cannot_be_is_refused_by_name(value):
  changes = {'layer_types': None, 'global_attn_every_n_layers': value}
  assert 'global_attn_every_n_layers = ' in refusal('modernbert', changes)


def test_rotary_wavelengths_that_cannot_be_are_refused_by_name():
  for value in (0, -1, 'wide', True, None, [], 1e300):
    changes = {'rope_parameters': {'full_attention': {'rope_theta': value}}}
    assert 'rope_theta = ' in refusal('modernbert', changes)


def test_sizes_that_fit_no_memory_are_refused_by_the_shapes_of_the_tensors(tmp_path):
  """The largest that may be said describes terabytes; none of them is allocated."""
  from tests.huggingface import test_importing

  for case in CASES:
    numbers = kinds.known()[case.replace('_', '-')].numbers
    wide = ('layers', 'width', 'heads', 'feed_forward', 'embedding_width')
    most = {numbers[each].name: int(numbers[each].most) for each in wide if each in numbers}
    if case == 'deberta_v2':
      most['position_buckets'] = -1
    if case == 'modernbert':
      most['layer_types'] = None
    builders.write_published(tmp_path / case, case, **most)
    said = test_importing.refusal(tmp_path / case, tmp_path)
    assert 'of another shape than config.json says' in said


def anything(random, depth=0):
  """Returns a value as JSON may have it."""
  kinds_of = (
    lambda: None,
    lambda: bool(random.integers(2)),
    lambda: int(random.integers(-3, 70)),
    lambda: int(random.integers(1, 10)) * 10 ** int(random.integers(0, 40)),
    lambda: float(random.normal() * 10.0 ** int(random.integers(-30, 30))),
    lambda: random.choice(
      ['', 'gelu', 'relu', 'c2p|p2c', 'layer_norm', '0', 'é\n', '$x$', 'absolute']
    ),
    lambda: [anything(random, depth + 1) for _ in range(random.integers(0, 4))],
    lambda: {'rope_theta': anything(random, depth + 1), 'full_attention': {}},
  )
  return kinds_of[random.integers(len(kinds_of) - (2 if depth > 2 else 0))]()


@pytest.mark.slow
@pytest.mark.parametrize('case', sorted(builders.PUBLISHED))
def test_a_config_of_anything_is_a_config_here_or_an_error_of_one_line(case):
  random, published, taken = np.random.default_rng(0), builders.PUBLISHED[case]['config'], 0
  names = sorted({*published, 'tie_word_embeddings', 'rope_scaling', 'position_embedding_type'})
  for _ in range(500):
    changed = random.choice(names, random.integers(1, 3), replace=False)
    said = published | {str(name): anything(random) for name in changed}
    try:
      config = importing._config(*settings.to_ours(json.loads(json.dumps(said))))
      models.make(config.model, config.model.vocab_size)
      taken += 1
    except config_lib.UserError as error:
      assert len(str(error).splitlines()) == 1 and str(error).isprintable()
  assert taken > 20
