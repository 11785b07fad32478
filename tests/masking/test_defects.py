"""The battery is red on each known defect (see defects.py)."""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlm_jax import masking
from mlm_jax.masking import policy as policy_lib
from mlm_jax.masking import schedules
from mlm_jax.masking.selections import uniform
from mlm_jax.masking.selections import word_class
from tests.masking import conftest
from tests.masking import defects

ROWS = 2048


def failed(policy, mask_batch=defects.mask_batch):
  found = masking.check(
    conftest.learned(policy), rows=ROWS, length=defects.LENGTH, mask_batch=mask_batch
  )
  return {result.name for result in found if not result.passed}


TOKEN, WORD, SPAN = dict(unit='token'), dict(unit='word'), dict(unit='span')
EXACT, FREE = dict(sampling='fixed_count'), dict(sampling='bernoulli')
RARE = dict(selection='frequency', frequency_power=1.0, rate=0.4)
OF_THE_TEXT = dict(replacement_distribution='frequency')
HALF = dict(predict_fraction=0.5)
LINEAR = dict(schedule='linear', rate=0.3, final_rate=0.1)
ROW = dict(schedule='row', rate=0.0, final_rate=1.0)

UNITS = ('token', 'word', 'span', 'collocation', 'sentence')

DEFECTS = (
  (TOKEN | EXACT, defects.altering(defects.keyed_by_batch_position), 'the same in any row order'),
  (TOKEN | EXACT, defects.altering(defects.keyed_by_batch_position), 'the same in any batch split'),
  (
    TOKEN | EXACT,
    defects.altering(defects.neighbours_share_a_stream),
    'independent of the neighbouring row',
  ),
  (
    WORD | EXACT,
    defects.altering(defects.sources_share_a_stream),
    'independent of the same row of another source',
  ),
  (TOKEN | FREE, defects.altering(defects.visits_share_a_stream), 'independent of other visits'),
  (
    SPAN | EXACT,
    defects.altering(defects.visits_share_a_stream),
    'spans independent of other visits',
  ),
  (TOKEN | EXACT, defects.the_seed_is_ignored, 'independent of another seed'),
  (TOKEN | EXACT, defects.padding_is_masked, 'special tokens and padding stay'),
  (TOKEN | EXACT, defects.padding_is_masked, 'only special tokens are no unit'),
  (TOKEN | EXACT, defects.replacing(defects.any_id), 'replacements are ordinary ids'),
  (
    TOKEN | EXACT,
    defects.replacing(defects.up_to_the_largest_id_of_the_batch),
    'replacements are uniform over ids',
  ),
  (
    TOKEN | OF_THE_TEXT,
    defects.replacing(defects.any_ordinary_id),
    'replacements are ordinary ids',
  ),
  (
    TOKEN | OF_THE_TEXT,
    defects.replacing(defects.any_id_of_the_text),
    'replacements are as frequent as in the text',
  ),
  (WORD | FREE, defects.choosing(defects.sub_words_are_chosen_apart), 'units are chosen whole'),
  (WORD | EXACT, defects.choosing(defects.in_random_order_until_full), 'units have one action'),
  (
    SPAN | dict(corruption_per='token'),
    defects.with_policy('corruption', by_unit=True),
    'actions differ within a unit',
  ),
  (
    WORD | EXACT,
    defects.choosing(defects.in_random_order_until_full, by_unit=True),
    'rate of each unit length',
  ),
  (
    WORD | EXACT,
    defects.choosing(defects.systematically_by_length, by_unit=True),
    'pairs of units by length',
  ),
  (
    WORD | EXACT,
    defects.choosing(defects.systematically_from_the_left, by_unit=True),
    'pairs of units by distance at rate 0.05',
  ),
  (
    TOKEN | FREE,
    defects.choosing(defects.later_tokens_are_spared),
    'rate in each tenth of the row',
  ),
  (TOKEN | FREE, defects.choosing(defects.low_ids_are_preferred), 'rate of each group of ids'),
  (TOKEN | EXACT, defects.choosing(defects.the_budget_is_rounded_down), 'rate'),
  (
    TOKEN | FREE,
    defects.choosing(defects.the_budget_is_exact_after_all),
    'counts vary as independent draws',
  ),
  (WORD | EXACT, defects.with_policy(sampling='bernoulli'), 'each row keeps its budget'),
  (TOKEN | FREE, defects.with_rate(0.165), 'rate'),
  (WORD | EXACT, defects.with_rate(0.16), 'rate'),
  (WORD | FREE, defects.with_rate(0.17), 'rate of units'),
  (TOKEN | EXACT, defects.with_rate(0.2), 'the prediction buffer suffices'),
  (
    TOKEN | EXACT,
    defects.with_shares(0.75, 0.15, 0.1),
    'share [MASK]',
  ),
  (
    TOKEN | EXACT,
    defects.with_shares(0.8, 0.15, 0.05),
    'share kept',
  ),
  (
    TOKEN | EXACT,
    defects.changing(defects.targets_are_overwritten),
    'targets are the original tokens',
  ),
  (TOKEN | EXACT, defects.changing(defects.kept_tokens_are_replaced), 'inputs follow the action'),
  (
    TOKEN | EXACT,
    defects.changing(defects.what_is_left_alone_is_predicted),
    'an action where chosen, only there',
  ),
  (
    WORD | HALF,
    defects.changing(defects.what_is_left_alone_is_predicted),
    'only the corrupted are predicted',
  ),
  (WORD | HALF, defects.changing(defects.tokens_are_predicted_apart), 'units are predicted whole'),
  (WORD | HALF, defects.with_policy(predict_fraction=np.float32(0.55)), 'share predicted'),
  (
    WORD | HALF,
    defects.changing(defects.kept_units_are_predicted_more_often),
    'share predicted of each action',
  ),
  (SPAN | EXACT, defects.with_span_law('geometric', 0.25, 10), 'lengths of spans'),
  (TOKEN | RARE, defects.with_policy(selection=uniform.Uniform()), 'rate of each probability'),
  (TOKEN | RARE, defects.with_policy(selection=uniform.Uniform()), 'certain and impossible units'),
  (TOKEN | LINEAR, defects.progress_is_ignored, 'rate at progress 0'),
  (TOKEN | LINEAR, defects.progress_is_ignored, 'rate at progress 1'),
  (TOKEN | ROW, defects.with_schedule(schedules.Linear), 'each row keeps its budget'),
)
# Kinds of which there is another case above, or that take seconds to compile.
OTHERS = (
  *(
    (
      dict(unit=unit) | EXACT,
      defects.choosing(defects.systematically_by_length, by_unit=True),
      f'pairs of units by length{rate}',
    )
    for unit, rate in (
      ('word', ' at rate 0.05'),
      ('word', ' at rate 0.4'),
      ('span', ''),
      ('collocation', ''),
      ('sentence', ' at rate 0.4'),
    )
  ),
  (WORD | ROW, defects.altering(defects.visits_share_a_stream), 'independent of other visits'),
  (
    TOKEN | EXACT,
    defects.replacing(defects.ids_of_the_row_before),
    'replacements are uniform over ids',
  ),
  (SPAN | EXACT, defects.with_policy('corruption', by_unit=False), 'units have one action'),
  (
    SPAN | EXACT,
    defects.choosing(defects.in_random_order_until_full, by_unit=True),
    'rate of each unit length',
  ),
  (
    dict(unit='sentence', rate=0.4),
    defects.choosing(defects.in_random_order_until_full, by_unit=True),
    'rate of each unit length',
  ),
  (
    SPAN | EXACT,
    defects.choosing(defects.in_windows_from_the_left_until_full, by_unit=True),
    'rate in each tenth of the row',
  ),
  (TOKEN | EXACT, defects.with_rate(0.153), 'rate'),
  (
    TOKEN | EXACT,
    defects.with_shares(0.75, 0.15, 0.1),
    'share random',
  ),
  (
    TOKEN | HALF,
    defects.changing(defects.what_is_left_alone_is_predicted),
    'only the corrupted are predicted',
  ),
  (SPAN | EXACT, defects.with_span_law('geometric', 0.2, 9), 'lengths of spans'),
  (SPAN | EXACT, defects.with_span_law('geometric', 0.2, 11), 'no span is longer than the longest'),
  (SPAN | EXACT, defects.with_policy('unit', of='token'), 'spans are of whole words'),
  (TOKEN | RARE | FREE, defects.choosing(defects.what_the_cap_cuts_is_lost), 'rate'),
  (TOKEN | RARE | FREE, defects.choosing(defects.weights_are_not_normalized), 'rate'),
  (
    WORD | RARE | FREE,
    defects.choosing(defects.weights_are_flattened, by_unit=True),
    'rate of each probability',
  ),
  (WORD | RARE, defects.a_unit_weighs_as_its_first_token, 'rate of each probability'),
  (
    WORD | dict(selection='class'),
    defects.altering(
      lambda batch: dataclasses.replace(
        batch, columns={**batch.columns, 'classes_BL': np.roll(batch.classes_BL, 1, axis=1)}
      )
    ),
    'rate of each probability',
  ),
  (
    TOKEN | dict(selection='accuracy'),
    defects.with_learned(lambda learned: jax.tree.map(jnp.ones_like, learned)),
    'rate of each probability',
  ),
  (
    TOKEN | LINEAR,
    defects.with_schedule(schedules.Cosine, rate=np.float32(0.32)),
    'rate at progress 0',
  ),
  (TOKEN | LINEAR, defects.with_schedule(schedules.Polynomial, rate_power=np.float32(2)), 'rate'),
  (TOKEN | ROW | FREE, defects.with_schedule(schedules.Linear), 'counts vary as independent draws'),
)
slow = lambda *case: pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
  'settings, defective, name',
  [*DEFECTS, *(slow(*each) for each in OTHERS)],
  ids=[f'{"-".join(map(str, d[0].values()))}-{d[2]}' for d in DEFECTS + OTHERS],
)
def test_a_known_defect_is_found(table, settings, defective, name):
  assert name in failed(masking.make(table, **settings), defective)


@pytest.mark.parametrize(
  'settings',
  ({}, dict(unit='span'), *map(slow, (RARE, ROW, dict(predict_fraction=0.5, **OF_THE_TEXT)))),
)
def test_maskers_without_a_defect_pass_here(table, settings):
  """What finds the defects does so with these rows, not by itself."""
  assert not failed(masking.make(table, **settings))


QUICK = (
  ('word', 'token'),
  ('word', 'sentence'),
  ('collocation', 'word'),
  ('span', 'word'),
  ('word', 'span'),
)


@pytest.mark.parametrize(
  'says, does',
  [*QUICK, *(slow(*pair) for pair in itertools.product(UNITS, UNITS) if pair not in QUICK)],
)
def test_units_that_are_not_the_stated_ones_are_found(table, says, does):
  policy = masking.make(table, unit=says)
  defective = defects.with_policy(unit=masking.make(table, unit=does).unit)
  named = {'lengths of spans', 'no span is longer than the longest', 'spans are of whole words'}
  found = failed(policy, defective) & (named if says == 'span' else {'units are those of the text'})
  assert bool(found) == (says != does)


@pytest.mark.parametrize(
  'says, does, name',
  (
    (2, 0, 'copies return'),
    slow(3, 2, 'copies return'),
    slow(1, 2, 'copies return'),
    slow(2, 4, 'copies return'),
    slow(10, 5, 'independent of other visits'),
    slow(10, 2, 'independent of other visits'),
    slow(2, 1, 'independent of other visits'),
    slow(9, 3, 'independent of other visits'),
    (0, 2, 'independent of other visits'),
    slow(0, 10, 'independent of other visits'),
    *(slow(0, copies, 'independent of other visits') for copies in (1, 3, 4, 7, 16)),
  ),
)
def test_fewer_or_more_copies_than_stated_are_found(table, says, does, name):
  assert name in failed(
    masking.make(table, static_copies=says), defects.with_policy(static_copies=does)
  )


def test_units_that_cross_documents_or_break_are_found(table):
  def shifted(policy, masked, words_BL):
    units_BL = masked.units_BL
    return dataclasses.replace(
      masked, units_BL=np.where(units_BL >= 0, units_BL[:, :1].clip(1), -1)
    )

  found = failed(masking.make(table), defects.changing(shifted))
  assert {'units are unbroken', 'units stay in their document'} <= found


@pytest.mark.parametrize(
  'selection, wrong',
  (
    ('frequency', lambda table, weight_V: np.maximum(weight_V, 0.1)),
    slow('frequency', lambda table, weight_V: np.where(table.starts_V, weight_V, weight_V / 2)),
    slow('content', lambda table, weight_V: np.where(table.starts_V, weight_V, 1)),
    ('content', lambda table, weight_V: np.where(np.arange(table.size) < 30, weight_V.min(), 1)),
  ),
)
def test_weights_that_are_not_the_stated_ones_are_found(table, selection, wrong):
  """A fault of `make`, which masks follow: the policy itself is held against the counts."""
  policy: Any = masking.make(table, selection=selection)
  wrong_V = wrong(table, policy.selection.weight_V).astype(np.float32)
  wrong_selection = dataclasses.replace(policy.selection, weight_V=wrong_V)
  policy = dataclasses.replace(policy, selection=wrong_selection)
  assert 'pieces weigh as their counts say' in failed(policy)


def test_weights_of_classes_that_do_not_follow_their_losses_are_found(table, monkeypatch):
  policy = masking.make(table, unit='word', selection='class')
  assert 'rate of each probability' not in failed(policy)
  monkeypatch.setattr(word_class, '_STEEPNESS', 1.0)
  assert 'rate of each probability' in failed(policy, jax.jit(lambda *a: masking.mask_batch(*a)))


def test_rates_of_rows_that_are_not_uniform_are_found(table, monkeypatch):
  """Both the masks and what they are held against come from the policy: the law is tested by
  itself.
  """
  policy = masking.make(table, **ROW)
  row_rates = policy_lib.row_rates
  for change, name in (
    (lambda rate_B: rate_B**1.2, 'rates of rows are uniform'),
    (lambda rate_B: rate_B * 1.1, 'rates of rows keep their bounds'),
    (lambda rate_B: rate_B[:1] + 0 * rate_B, 'rates of rows are uniform'),
  ):
    with monkeypatch.context() as patch:
      patch.setattr(policy_lib, 'row_rates', lambda *a: change(np.asarray(row_rates(*a))))
      assert name in failed(policy)
