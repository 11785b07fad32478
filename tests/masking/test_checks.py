"""The battery is quiet on what is right; test_defects.py shows that it is red on what is not.

Seeds are fixed; a healthy policy raises a false alarm with probability below 1e-6.
"""

import itertools
from typing import Any

import numpy as np
import pytest

from mlm_jax import config
from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import vocabulary
from mlm_jax.masking import checks
from mlm_jax.masking import registry
from mlm_jax.masking.checks import expected as expected_lib
from mlm_jax.masking.checks import expected_units
from mlm_jax.masking.checks import expected_weights
from mlm_jax.masking.checks import results as results_lib
from mlm_jax.masking.units import word
from tests.masking import conftest

ROWS, LENGTH = 1024, 128
UNITS = ('token', 'word', 'span', 'collocation', 'sentence')
SELECTIONS = ('uniform', 'frequency', 'content', 'class', 'accuracy', 'tests.masking.own:LongWords')
BUDGETS = ('fixed_count', 'bernoulli')


def failed(policy, rows=ROWS, length=LENGTH):
  found = masking.check(conftest.learned(policy), rows=rows, length=length)
  return [str(each) for each in found if not each.passed]


QUICK = ('bert', 'bert_whole_word', 'spanbert', 'amlm', 'time_variant_linear')
slow = lambda *case: pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize('name', [each if each in QUICK else slow(each) for each in config.PRESETS])
def test_presets_pass(table, name):
  assert not failed(masking.preset(name, table))


@pytest.mark.parametrize(
  'settings',
  (
    dict(sampling='bernoulli', rate=0.05, corruption_probs=(1, 0, 0)),
    slow(dict(unit='word', rate=0.15, corruption_probs=(0, 1, 0), static_copies=1)),
    dict(
      unit='word',
      sampling='bernoulli',
      rate=0.8,
      corruption_probs=(0.5, 0, 0.5),
      corruption_per='token',
    ),
    slow(dict(unit='word', rate=1.0, corruption_probs=(0, 0.9, 0.1))),
    dict(rate=0.5, static_copies=3),
    slow(
      dict(
        unit='span',
        span_length_distribution='uniform',
        span_max=5,
        predict_fraction=0.4,
        corruption_per='token',
        corruption_probs=(0.4, 0.3, 0.3),
      )
    ),
    slow(
      dict(
        unit='span',
        span_p=1.0,
        span_max=4,
        replacement_distribution='frequency',
        corruption_probs=(0.2, 0.7, 0.1),
      )
    ),
    dict(unit='sentence', rate=0.3, replacement_distribution='frequency', predict_fraction=0.5),
    slow(
      dict(
        unit='sentence',
        selection='frequency',
        sampling='bernoulli',
        schedule='row',
        rate=0.6,
        final_rate=0.1,
      )
    ),
    slow(dict(unit='collocation', selection='frequency', frequency_power=2.0, rate=0.4)),
    slow(
      dict(selection='frequency', frequency_power=1.0, rate=0.7, schedule='step', final_rate=0.0)
    ),
    slow(dict(unit='word', selection='class', class_weights=(1, 0, 0, 0.2), rate=0.5)),
    slow(
      dict(
        selection='accuracy',
        sampling='bernoulli',
        schedule='cosine',
        rate=0.4,
        final_rate=0.1,
        mean_rate=0.15,
      )
    ),
    slow(dict(unit='word', selection='tests.masking.own:LongWords', rate=0.3)),
    dict(
      selection='tests.masking.own:Odd',
      rate=0.3,
      schedule='polynomial',
      rate_power=3.0,
      final_rate=0.9,
    ),
  ),
  ids=lambda settings: '-'.join(map(str, settings.values())),
)
def test_policies_pass(table, settings):
  assert not failed(masking.make(table, **settings))


@pytest.mark.slow
@pytest.mark.parametrize(
  'unit, preferred, sampling', [*itertools.product(UNITS, SELECTIONS, BUDGETS)]
)
def test_every_unit_passes_with_every_selection_and_sampling(table, unit, preferred, sampling):
  assert not failed(masking.make(table, unit=unit, selection=preferred, sampling=sampling))


@pytest.mark.slow
@pytest.mark.parametrize(
  'unit, rate, length', [*itertools.product(UNITS, (0.05, 0.15, 0.3, 0.5, 0.8), (128, 512))]
)
def test_every_unit_passes_at_every_rate_in_short_and_long_rows(table, unit, rate, length):
  for preferred in ('uniform', 'frequency'):
    policy = masking.make(table, unit=unit, selection=preferred, rate=rate)
    assert not failed(policy, rows=4096 * 128 // length, length=length)


@pytest.mark.parametrize(
  'size, special_ids', ((6, (0, 1, 2)), (40_000, (0, 1, 2, 3, 39_999)), slow(9, (8,)))
)
def test_policies_pass_with_small_and_large_vocabularies(size, special_ids):
  assert not failed(masking.make(vocabulary.table(size, special_ids[-1], special_ids)))


def p_values(policy, times, rows):
  return np.array(
    [
      result.p_value
      for seed in range(0, 2 * times, 2)
      for result in masking.check(policy, seed=seed, rows=rows, length=64)
      if result.p_value is not None
    ]
  )


def test_p_values_are_uniform_where_draws_are_independent(table):
  """The share below 1/2 of some 500 p-values; false-alarm rate below 1e-6 (5 sigma)."""
  found = p_values(masking.make(table, sampling='bernoulli', rate=0.3), 40, 256)
  assert abs(np.mean(found < 0.5) - 0.5) < 2.5 / np.sqrt(len(found))


@pytest.mark.slow
@pytest.mark.parametrize(
  'settings',
  (
    dict(unit='sentence', rate=0.3),
    dict(unit='sentence', rate=0.15, selection='frequency'),
    dict(unit='span'),
    dict(unit='word', selection='frequency'),
    dict(unit='collocation', schedule='row', rate=0.1, final_rate=0.9),
    dict(unit='sentence', schedule='row', rate=0.0, final_rate=1.0, sampling='bernoulli'),
  ),
)
def test_p_values_are_not_too_small_where_draws_depend_on_each_other(table, settings):
  """The share below .01 of some 500 p-values, 5 sigma above its mean: false-alarm rate below 1e-4 a
  case.
  """
  found = p_values(masking.make(table, **settings), 25, 1024)
  assert np.mean(found < 0.01) < 0.01 + 5 * np.sqrt(0.01 / len(found))


def test_results_print_as_a_table(table):
  lines = [str(result) for result in masking.check(masking.make(table), rows=64, length=32)]
  assert all(line.startswith(('ok  ', 'FAIL')) and '\n' not in line for line in lines)
  assert any('rate' in line and 'expected 0.15' in line for line in lines)


def test_no_battery_has_more_tests_than_share_its_false_alarms(table):
  """The one with everything that adds a test."""
  policy = masking.make(
    table,
    unit='span',
    selection='frequency',
    schedule='row',
    rate=0.1,
    final_rate=0.9,
    predict_fraction=0.5,
    corruption_per='token',
    replacement_distribution='frequency',
  )
  found = masking.check(policy, rows=128, length=64)
  assert len({each.name for each in found}) == len(found)
  assert 20 < sum(each.p_value is not None for each in found) <= results_lib.TESTS


@pytest.mark.parametrize('seed', (1, 7, 2**32 - 1))
def test_a_sound_policy_passes_with_any_seed(table, seed):
  assert all(
    each.passed for each in masking.check(masking.make(table), seed=seed, rows=256, length=64)
  )


@pytest.mark.parametrize('seed', (-1, 2**32))
def test_a_seed_out_of_range_is_refused_in_one_line(table, seed):
  with pytest.raises(config.UserError, match=f'seed = {seed}: must be from 0') as caught:
    masking.check(masking.make(table), seed=seed)
  assert '\n' not in str(caught.value)


# Pieces: 0 [CLS]; 1 starts a word, 2 continues it, 3 is a comma, 4 a full stop.
TEXT = vocabulary.table(
  5, 0, (0,), starts_V=[1, 1, 0, 1, 1], ends_V=[0, 0, 0, 1, 1], closes_V=[0, 0, 0, 0, 1]
)


@pytest.mark.parametrize(
  'kind, units',
  (
    ('token', [-1, 1, 2, 3, 4, 5, 6, 7, 8, -1, 10, 11, 12, 13]),
    ('word', [-1, 1, 1, 3, 4, 5, 6, 7, 7, -1, 10, 10, 12, 12]),
    ('collocation', [-1, 1, 1, 1, 4, 5, 6, 7, 7, -1, 10, 10, 12, 12]),
    ('sentence', [-1, 1, 1, 1, 1, 1, 6, 6, 6, -1, 10, 10, 12, 12]),
  ),
)
def test_units_are_read_from_the_text(kind, units):
  """The joins are at 3, 10 and 12; another document begins at 12, without [CLS] before it."""
  tokens_BL = np.array([[0, 1, 2, 1, 4, 3, 1, 1, 2, 0, 2, 2, 2, 2]])
  joins_BL = np.isin(np.arange(14), (3, 10, 12))[None]
  batch = batches.Batch(
    tokens_BL, np.array([[0, 12, -1]]), np.zeros((1, 2)), np.zeros(1), {'joins_BL': joins_BL}
  )
  assert (
    expected_units.units(registry.find('masking.unit', kind)(), TEXT, batch)[0].tolist() == units
  )


@pytest.mark.parametrize('preferred', SELECTIONS)
def test_the_stated_weights_are_those_of_the_device(table, batch, preferred):
  policy = conftest.learned(masking.make(table, unit='word', selection=preferred))
  units_BL = expected_units.units(word.Word(), table, batch)
  ours_BL, theirs_BL = (
    expected_weights.of_tokens(policy, batch, units_BL),
    policy.selection.weights(table, batch, units_BL),
  )
  if preferred == 'uniform':
    assert ours_BL is None and theirs_BL is None
  else:
    inside_BL = units_BL >= 0
    np.testing.assert_allclose(ours_BL[inside_BL], np.asarray(theirs_BL)[inside_BL], rtol=1e-5)


def inclusion_by_bisection(rate, weight, length):
  """min(1, c weight) of each unit: the definition, for one row."""
  budget = rate * length.sum()
  if length[weight > 0].sum() <= budget:
    return (weight > 0).astype(float)
  low, high = 0.0, 1e12
  for _ in range(200):
    middle = (low + high) / 2
    low, high = (
      (middle, high) if np.sum(np.minimum(1, middle * weight) * length) < budget else (low, middle)
    )
  return np.minimum(1, low * weight)


@pytest.mark.parametrize('rate', (0.05, 0.3, 0.9, 1.0))
def test_the_stated_probabilities_are_those_of_the_definition(table, rate):
  policy: Any = masking.make(table, unit='word', selection='frequency', frequency_power=1.0)
  batch = conftest.make_batch(rows=20)
  units_BL = expected_units.units(word.Word(), table, batch)
  pi_BL = np.minimum(expected_lib.demand(policy, batch, units_BL, np.full(20, rate)), 1)
  for b in range(20):
    firsts = np.flatnonzero(units_BL[b] == np.arange(32))
    weight = np.array(
      [policy.selection.weight_V[batch.tokens_BL[b]][units_BL[b] == i].max() for i in firsts]
    )
    length = np.array([np.sum(units_BL[b] == i) for i in firsts])
    expected = inclusion_by_bisection(rate, weight, length)
    np.testing.assert_allclose(pi_BL[b, firsts], expected, rtol=1e-6, atol=1e-9)
  assert (pi_BL[units_BL != np.arange(32)] == 0).all()


def test_cells_of_a_multinomial_are_joined_until_large_enough_and_none_is_lost():
  counts, share = np.array([500.0, 3, 2, 495, 0]), np.array([0.5, 0.002, 0.003, 0.495, 0.0])
  good = results_lib.multinomial('', counts, share)
  assert good.statistic < 1 and '2 cells' in good.detail
  assert not results_lib.multinomial('', counts[::-1], share).passed
  assert checks.Result is results_lib.Result
