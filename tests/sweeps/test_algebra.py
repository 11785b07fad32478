"""Lists of settings."""

import itertools

import numpy as np
import pytest

from mlm_jax import config
from mlm_jax import sweeps

RATES = sweeps.param('masking.rate', [0.15, 0.3])


def test_a_product_is_every_choice_once_and_its_last_list_turns_fastest():
  made = sweeps.product(
    RATES, sweeps.param('masking.unit', ['token', 'word', 'span']), sweeps.seeds(2)
  )
  wanted = itertools.product([0.15, 0.3], ['token', 'word', 'span'], [0, 1])
  assert [tuple(each.values()) for each in made] == list(wanted)


def test_zip_goes_along_its_lists_and_chain_from_one_to_the_next():
  sizes = sweeps.param('batch_size', [8, 16])
  assert sweeps.zip(RATES, sizes) == [
    {'masking.rate': 0.15, 'batch_size': 8},
    {'masking.rate': 0.3, 'batch_size': 16},
  ]
  assert sweeps.chain(RATES, sizes) == RATES + sizes


def test_nothing_given_is_changed():
  before = [dict(each) for each in RATES]
  sweeps.product(RATES, sweeps.seeds(3))[0]['masking.rate'] = 1
  sweeps.chain(RATES)
  assert RATES == before


def test_seeds_are_counted_or_listed():
  assert sweeps.seeds(3) == [{'seed': 0}, {'seed': 1}, {'seed': 2}]
  assert sweeps.seeds([5, 7]) == sweeps.seeds(range(5, 9, 2)) == [{'seed': 5}, {'seed': 7}]


@pytest.mark.parametrize(
  'values',
  (
    np.linspace(0.1, 0.5, 5),
    np.arange(3),
    np.array([[0.8, 0.1, 0.1]]),
    [np.float32(0.5), np.int64(3), True, 'a'],
  ),
)
def test_numbers_of_numpy_become_those_of_python(values):
  made = [each['x'] for each in sweeps.param('x', values)]
  assert made == [
    each.tolist() if isinstance(each, (np.generic, np.ndarray)) else each for each in values
  ]
  assert not any(type(each).__module__ == 'numpy' for each in made)


def test_seeds_may_be_counted_or_listed_by_numpy():
  assert sweeps.seeds(np.int64(3)) == sweeps.seeds(np.arange(3)) == sweeps.seeds(3)
  assert {type(each['seed']) for each in sweeps.seeds(np.arange(3))} == {int}


@pytest.mark.parametrize(
  'make, says',
  (
    (lambda: sweeps.product(RATES, RATES), 'config.masking.rate is set twice, to 0.15 and 0.15'),
    (lambda: sweeps.zip(RATES, RATES), 'config.masking.rate is set twice'),
    (lambda: sweeps.zip(RATES, sweeps.seeds(3)), 'one length, not 2, 3'),
    (lambda: sweeps.param('masking', 'bert'), "param('masking', 'bert'): needs a list of values"),
    (lambda: sweeps.param('seed', []), 'needs a list'),
    (lambda: sweeps.param('masking.rate', 0.3), 'needs a list'),
    (lambda: sweeps.param(3, [1]), 'the key must be text'),
    (lambda: sweeps.seeds(0), 'seeds(range(0, 0)): needs a list'),
    (lambda: sweeps.param('seed', itertools.count()), 'at most 100,000 values'),
    (lambda: sweeps.product(*[sweeps.seeds(9)] * 60), 'runs; at most 100,000'),
    (lambda: sweeps.product(3), 'product: 3: must be a list of one dict'),
    (lambda: sweeps.zip(RATES, [3]), 'zip: [3]: must be a list of one dict'),
    (lambda: sweeps.chain({'seed': [1]}), 'chain: {'),
  ),
)
def test_a_mistake_is_one_line(make, says):
  with pytest.raises(config.UserError) as error:
    make()
  assert says in str(error.value) and '\n' not in str(error.value)
