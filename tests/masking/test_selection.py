"""What is preferred: weights against their formulas, and a researcher's own."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from mlm_jax import config
from mlm_jax import masking
from mlm_jax.core import rng
from mlm_jax.core import vocabulary
from mlm_jax.masking.selections import word_class
from tests.masking import conftest

mask_batch = jax.jit(masking.mask_batch)
_weights = jax.jit(lambda policy, *args: policy.selection.weights(policy.table, *args))


def weights_of(policy, batch):
  units_BL = mask_batch(policy, rng.root_key(0), batch).units_BL
  return np.asarray(_weights(policy, batch, units_BL)), np.asarray(units_BL)


@pytest.mark.parametrize('power', (0.0, 0.5, 2.0))
def test_frequent_pieces_weigh_their_count_to_minus_the_power(table, batch, power):
  weight_BL, _ = weights_of(
    masking.make(table, selection='frequency', frequency_power=power), batch
  )
  expected_V = (np.asarray(table.counts_V, np.float64) + 1) ** -power
  np.testing.assert_allclose(weight_BL, (expected_V / expected_V.max())[batch.tokens_BL], rtol=1e-6)


def test_the_fewest_pieces_that_make_up_half_of_the_text_are_function_words():
  counts = [50, 0, 30, 20, 18, 12, 10, 10, 0, 0]  # 50 is of a special piece: 100 in all
  table = vocabulary.table(10, 0, (0,), counts_V=counts)
  policy: Any = masking.make(table, selection='content', function_weight=0.1)
  assert policy.selection.weight_V == pytest.approx([0.1 if i in (2, 3) else 1 for i in range(10)])


def test_content_words_are_chosen_so_much_more_often_than_function_words(table):
  """pi is in proportion to the weights where none is certain."""
  policy: Any = masking.make(table, selection='content', function_weight=0.25, rate=0.1)
  masked = mask_batch(policy, rng.root_key(0), conftest.make_batch(rows=4000))
  frequent_BL, chosen_BL = (
    policy.selection.weight_V[masked.targets_BL] < 1,
    np.asarray(masked.chosen_BL),
  )
  maskable_BL = np.asarray(masked.units_BL) >= 0
  rare, often = (chosen_BL[maskable_BL & (frequent_BL == which)].mean() for which in (False, True))
  assert often / rare == pytest.approx(0.25, rel=0.1)


def test_fixed_weights_of_classes(table, batch):
  policy = masking.make(table, selection='class', class_weights=(1, 0.5, 0, 0.25))
  weight_BL, _ = weights_of(policy, batch)
  expected_C = np.array([0.4375, 1, 0.5, 0, 0.25])  # no class: the mean
  assert np.array_equal(weight_BL, expected_C[batch.classes_BL])


def test_weights_of_classes_that_do_not_fit_are_refused(table):
  with pytest.raises(
    config.UserError, match='3 weights, the data has 4 classes: NOUN, VERB, DET, PUNCT'
  ):
    masking.make(table, selection='class', class_weights=(1, 2, 3))
  with pytest.raises(config.UserError, match='no classes of words'):
    masking.make(dataclasses.replace(table, classes=()), selection='class')


def test_weights_of_what_was_learned(table, batch):
  policy = conftest.learned(masking.make(table, selection='accuracy'))
  policy.learned['weight_V'][::2] *= 1e-6  # nothing weighs so little that it never has its turn
  weight_BL, _ = weights_of(policy, batch)
  expected_V = np.maximum(policy.learned['weight_V'] / policy.learned['weight_V'].max(), 2**-12)
  np.testing.assert_allclose(weight_BL, expected_V[batch.tokens_BL], atol=2**-13 + 1e-6)
  assert (weight_BL > 0).all()
  policy = conftest.learned(masking.make(table, selection='class'))
  weight_BL, _ = weights_of(policy, batch)
  expected_C = np.asarray(word_class.class_weights(**policy.learned))
  np.testing.assert_allclose(
    weight_BL, (expected_C / expected_C.max())[batch.classes_BL], atol=2**-13 + 1e-6
  )


@pytest.mark.parametrize(
  'unit',
  ('word', 'sentence', *(pytest.param(each, marks=pytest.mark.slow) for each in ('token', 'span'))),
)
def test_a_unit_weighs_as_its_heaviest_token(table, unit):
  """Only the pieces of weight 1 make their units likely."""
  batch = conftest.make_batch(rows=300)
  table = dataclasses.replace(
    table, counts_V=np.where(np.arange(200) < 20, 0, 1e9).astype(np.float32)
  )
  masked = mask_batch(
    masking.make(table, unit=unit, selection='frequency', frequency_power=2.0, rate=0.01),
    rng.root_key(0),
    batch,
  )
  units_BL, chosen_BL = np.asarray(masked.units_BL), np.asarray(masked.chosen_BL)
  has_some_B = ((batch.tokens_BL < 20) & (units_BL >= 0)).any(axis=1)
  chosen = [(b, u) for b in np.flatnonzero(has_some_B) for u in set(units_BL[b][chosen_BL[b]])]
  assert chosen
  for b, u in chosen:
    assert batch.tokens_BL[b][units_BL[b] == u].min() < 20


# A researcher's own. -------------------------------------------------------------------------


def own(name):
  return f'tests.masking.own:{name}'


def test_own_weights_are_given_the_row_and_rounded_by_it(table, batch):
  weight_BL, units_BL = weights_of(
    masking.make(table, unit='word', selection=own('LongWords')), batch
  )
  for b in range(len(units_BL)):
    size_L = np.array([np.sum(units_BL[b] == u) if u >= 0 else 0 for u in units_BL[b]])
    np.testing.assert_allclose(weight_BL[b], (size_L / size_L.max()) ** 1.5, atol=2**-13 + 1e-6)


def test_own_weights_see_the_vocabulary_and_the_classes(table, batch):
  policy = masking.make(table, selection=own('RarePieces'))
  weight_BL, units_BL = weights_of(policy, batch)
  expected_BL = np.where(batch.classes_BL == 1, 3, 1) / (1 + table.counts_V[batch.tokens_BL])
  expected_BL *= units_BL >= 0
  expected_BL /= expected_BL.max(axis=1, keepdims=True)
  np.testing.assert_allclose(weight_BL, expected_BL, atol=2**-12 + 1e-6)
  without = dataclasses.replace(batch, columns={'joins_BL': batch.joins_BL})
  assert np.isfinite(weights_of(policy, without)[0]).all()


def test_own_weights_that_are_negative_or_not_numbers_count_as_0(table):
  policy = masking.make(table, selection=own('Odd'), rate=0.3)
  batch = conftest.make_batch(rows=500)
  masked = mask_batch(policy, rng.root_key(0), batch)
  chosen = set(batch.tokens_BL[np.asarray(masked.chosen_BL)].tolist())
  possible = {each for each in range(5, 200) if each % 7 in (0, 4, 6) or each == 77}
  assert chosen == possible
  # What weighs infinitely comes first of all.
  infinite_BL = (batch.tokens_BL == 77) & (np.asarray(masked.units_BL) >= 0)
  assert np.asarray(masked.chosen_BL)[infinite_BL].all() and infinite_BL.any()


def test_where_nothing_weighs_anything_nothing_is_chosen(table, batch):
  for budget in ('fixed_count', 'bernoulli'):
    masked = mask_batch(
      masking.make(table, selection=own('Nothing'), sampling=budget), rng.root_key(0), batch
    )
    assert not masked.chosen_BL.any() and np.array_equal(masked.inputs_BL, batch.tokens_BL)


@pytest.mark.parametrize(
  'selection, message',
  (
    ('tests.masking.nowhere:Own', 'ModuleNotFoundError: No module named'),
    (own('Nowhere'), 'AttributeError'),
    (own('WithoutWeights'), 'must have a method weights'),
    (own('jnp'), 'must have a method weights'),
    (own('OfTheVocabulary'), r'of a row of 128 tokens, weights\(row\) gave float32\[200\]'),
    (own('InNumpy'), 'TracerArrayConversionError'),
    (':Own', 'ValueError'),
  ),
)
def test_an_own_selection_that_cannot_work_is_refused_in_one_line(table, selection, message):
  with pytest.raises(config.UserError, match=message) as caught:
    masking.make(table, selection=selection)
  assert '\n' not in str(caught.value) and selection in str(caught.value)


@pytest.mark.parametrize(
  'name, says',
  (
    ('Eight', 'of a row of 9 tokens: ValueError: rows of 8 only'),
    (
      'EightNumbers',
      r'of a row of 9 tokens, weights\(row\) gave float32\[8\] instead of one number',
    ),
  ),
)
def test_an_own_selection_is_tried_on_rows_of_the_length_it_is_for(table, name, says):
  policy = masking.make(table, selection=own(name), length=8, rate=0.5)
  assert np.asarray(
    mask_batch(policy, rng.root_key(0), conftest.make_batch(length=8)).chosen_BL
  ).any()
  with pytest.raises(config.UserError, match=says) as caught:
    masking.make(table, selection=own(name), length=9)
  assert '\n' not in str(caught.value)


def test_an_own_selection_is_found_in_the_folder_one_works_in(table, tmp_path, monkeypatch):
  (tmp_path / 'heavy_sevens.py').write_text(
    'class Own:\n  def __init__(self, table): pass\n'
    '  def weights(self, row): return row.tokens_L % 7 == 0\n'
  )
  monkeypatch.chdir(tmp_path)
  masked = mask_batch(
    masking.make(table, selection='heavy_sevens:Own'), rng.root_key(0), conftest.make_batch()
  )
  chosen = np.asarray(masked.targets_BL)[np.asarray(masked.chosen_BL)]
  assert len(chosen) and (chosen % 7 == 0).all()
