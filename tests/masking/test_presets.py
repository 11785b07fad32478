"""Presets hold the numbers of their papers."""

from typing import Any

import numpy as np
import pytest

from mlm_jax import config
from mlm_jax import masking
from mlm_jax.masking import schedules
from mlm_jax.masking.checks import expected as expected_lib
from mlm_jax.masking.selections import accuracy
from mlm_jax.masking.selections import word_class
from mlm_jax.masking.units import collocation
from mlm_jax.masking.units import token
from mlm_jax.masking.units import word
from tests.masking import conftest


def preset(name, **settings) -> Any:
  return masking.preset(name, conftest.make_table(), **settings)


def lengths(name):
  return expected_lib.unit_lengths(preset(name).unit)


def mean(share_K):
  return np.sum(share_K * np.arange(1, len(share_K) + 1))


def test_spanberts_spans_have_3_8_words_on_average_and_one_in_224_of_1000():
  share_K = lengths('spanbert')
  assert len(share_K) == 10 and mean(share_K) == pytest.approx(3.80, abs=0.005)
  assert share_K[0] == pytest.approx(0.224, abs=0.0005)
  np.testing.assert_allclose(share_K[1:] / share_K[:-1], 0.8, rtol=1e-6)


def test_debertas_n_grams_are_in_proportion_to_1_over_n():
  assert lengths('deberta_ngram') == pytest.approx([6 / 11, 3 / 11, 2 / 11])


def test_gptberts_spans_are_uniform_up_to_3_tokens_and_t5s_have_3_on_average():
  assert lengths('gptbert') == pytest.approx([1 / 3] * 3)
  assert mean(lengths('t5_spans')) == pytest.approx(3, abs=1e-3)
  assert preset('gptbert').unit.of == preset('t5_spans').unit.of == 'token'
  assert preset('spanbert').unit.of == preset('deberta_ngram').unit.of == 'word'


@pytest.mark.parametrize(
  'name, split',
  (
    ('bert', (0.8, 0.1, 0.1)),
    ('spanbert', (0.8, 0.1, 0.1)),
    ('electra', (0.85, 0, 0.15)),
    ('dinky40', (1, 0, 0)),
    ('t5_spans', (1, 0, 0)),
    ('mlm_uniform_rate', (1, 0, 0)),
  ),
)
def test_splits(name, split):
  assert preset(name).corruption.probs_3 == pytest.approx(split)


# As the code published with arXiv:2208.10806 computes them, with p = .15.
TIME_VARIANT = {
  'time_variant': lambda t: 0.15 * (1 + np.cos(np.pi * t)) + 0.02,
  'time_variant_linear': lambda t: (1 - t) * 2 * 0.15,
  'time_variant_ascending': lambda t: t * 2 * 0.15,
  'time_variant_square_above': lambda t: -((t * (2 * 0.15) ** 0.5) ** 2) + 2 * 0.15 + 0.01,
  'time_variant_square_below': lambda t: 2 * 0.15 * (t - 1) ** 2,
}
CONSTANT = lambda rate: lambda t: rate
OTHERS = {
  'dinky40': CONSTANT(0.4),
  'amlm': lambda t: 0.4 - 0.25 * t,
  'gptbert': lambda t: 0.3 - 0.15 * t,
  'mlm_uniform_rate': CONSTANT(None),
}  # each row has its own


@pytest.mark.parametrize('name', config.PRESETS)
def test_rates_are_the_published_ones(name):
  published = (TIME_VARIANT | OTHERS).get(name, CONSTANT(0.15))
  for t in (0, 0.25, 0.5, 0.75, 1):
    expected = published(t)
    assert expected_lib.rate(preset(name), t) == (
      expected if expected is None else pytest.approx(expected, abs=1e-6)
    )


@pytest.mark.parametrize(
  'name, expected',
  (
    ('time_variant', 0.17),
    ('time_variant_linear', 0.15),
    ('time_variant_ascending', 0.15),
    ('time_variant_square_above', 0.21),
    ('time_variant_square_below', 0.1),
    ('roberta', 0.15),
    ('mlm_uniform_rate', 0.5),
  ),
)
def test_mean_rates(name, expected):
  settings = config.preset_settings(name)
  assert schedules.mean_rate(config.masking(settings)) == pytest.approx(expected)
  if name.startswith('time_variant'):
    assert schedules.mean_rate(config.masking(settings | {'mean_rate': 0.15})) == pytest.approx(
      0.15
    )


def test_units_selections_and_copies():
  assert (
    preset('bert').static_copies == preset('bert_whole_word').static_copies == 10
    and preset('roberta').static_copies == 0
  )
  for name, unit in (
    ('bert', token.Token),
    ('bert_whole_word', word.Word),
    ('pmi', collocation.Collocation),
    ('pos_weighted', word.Word),
  ):
    assert type(preset(name).unit) is unit
  assert isinstance(preset('pos_weighted').selection, word_class.Class)
  assert isinstance(preset('amlm').selection, accuracy.Accuracy)
  assert preset('mlm_uniform_rate').sampling == 'bernoulli'


def test_a_presets_settings_can_be_changed_and_do_not_stick():
  assert preset('spanbert', rate=0.3).rate == np.float32(0.3) and preset(
    'spanbert'
  ).rate == np.float32(0.15)
  config.preset_settings('spanbert')['span_max'] = 1
  assert len(lengths('spanbert')) == 10


def test_a_preset_sets_the_whole_group_of_a_config():
  c = config.override(config.base(), [('masking.unit', 'word'), ('masking.static_copies', '3')])
  c = config.override(c, [('masking', 'dinky40')])
  assert (c.masking.rate, c.masking.corruption_probs) == (0.4, (1.0, 0.0, 0.0))
  assert (c.masking.unit, c.masking.static_copies) == ('token', 0)


def test_an_unknown_preset_is_refused_with_the_nearest():
  with pytest.raises(config.UserError, match="'spanbrt'; did you mean spanbert.*roberta") as caught:
    preset('spanbrt')
  assert '\n' not in str(caught.value)
