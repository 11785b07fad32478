"""The battery is quiet on what is right and red on each known defect.

Each defect is one that was found in published masking code, planted here into
a masker that is otherwise right. Seeds are fixed; a healthy policy raises a
false alarm with probability below 1e-6.
"""

import dataclasses

import jax
import numpy as np
import pytest

from mlm_jax import masking
from mlm_jax import rng
from mlm_jax import vocabulary
from mlm_jax.masking import corruption
from mlm_jax.masking import draw
from mlm_jax.masking import units
from tests.masking import conftest

ROWS, LENGTH = 2048, 64
mask_batch = jax.jit(masking.mask_batch)


def failed(policy, mask_batch=mask_batch):
  results = masking.check(policy, rows=ROWS, length=LENGTH, mask_batch=mask_batch)
  return {result.name for result in results if not result.passed}


@pytest.mark.parametrize('settings', (
    dict(unit='token', budget='exact', rate=0.15),
    dict(unit='token', budget='independent', rate=0.05, split=(1, 0, 0)),
    dict(unit='word', budget='exact', rate=0.15, split=(0, 1, 0), copies=1),
    dict(unit='word', budget='independent', rate=0.8, split=(0.5, 0, 0.5)),
    dict(unit='word', budget='exact', rate=1.0, split=(0, 0.9, 0.1)),
    dict(unit='token', budget='exact', rate=0.5, copies=3)))
def test_policies_pass(table, settings):
  assert not failed(masking.make(table, **settings))


@pytest.mark.parametrize('size, special_ids', ((6, (0, 1, 2)), (40_000, (0, 1, 2, 3, 39_999)), (9, (8,))))
def test_policies_pass_with_small_and_large_vocabularies(size, special_ids):
  assert not failed(masking.make(vocabulary.table(size, special_ids[-1], special_ids)))


def test_p_values_are_uniform_where_draws_are_independent(table):
  """The share below 1/2 of some 500 p-values; false-alarm rate below 1e-6 (5 sigma)."""
  policy = masking.make(table, budget='independent', rate=0.3)
  p_values = [result.p_value for seed in range(0, 80, 2)
              for result in masking.check(policy, seed=seed, rows=256, length=LENGTH) if result.p_value is not None]
  assert abs(np.mean(np.array(p_values) < 0.5) - 0.5) < 2.5 / np.sqrt(len(p_values))


def test_results_print_as_a_table(table):
  lines = [str(result) for result in masking.check(masking.make(table), rows=64, length=32)]
  assert all(line.startswith(('ok  ', 'FAIL')) and '\n' not in line for line in lines)
  assert any('rate' in line and 'expected 0.15' in line for line in lines)


def random_words(batch, key):
  """Returns uint32_BL by example, visit and key, as a masker should draw them."""
  keys_B = rng.example_keys(key, 'defect', batch.visit_B, batch.example_B2)
  return jax.vmap(lambda key: jax.random.bits(key, (LENGTH,)))(keys_B)


random_words = jax.jit(random_words)
independent_units, exact_tokens = jax.jit(draw.independent_units), jax.jit(draw.exact_tokens)


def altering(change):
  """A masker that masks change(batch) in the batch's stead."""
  return lambda policy, key, batch: mask_batch(policy, key, change(batch))


def with_policy(**changes):
  """A masker that follows another policy than it says."""
  return lambda policy, key, batch: mask_batch(dataclasses.replace(policy, **changes), key, batch)


def choosing(choose, by_unit=False):
  """A masker whose choice is choose(policy, masked, random words)."""
  def defective(policy, key, batch):
    masked = mask_batch(policy, key, batch)
    chosen_BL = choose(policy, masked, random_words(batch, key))
    inputs_BL, action_BL = jax.jit(corruption.corrupt, static_argnames='by_unit')(
        policy.table, policy.split_3, masked.targets_BL, chosen_BL, masked.units_BL,
        random_words(batch, rng.root_key(9)), by_unit=by_unit)
    return dataclasses.replace(masked, inputs_BL=inputs_BL, action_BL=action_BL, chosen_BL=chosen_BL)
  return defective


def replacing(ids):
  """A masker whose random replacements are ids(policy, batch, random words)."""
  def defective(policy, key, batch):
    masked = mask_batch(policy, key, batch)
    ids_BL = ids(policy, batch, np.asarray(random_words(batch, key)))
    inputs_BL = np.where(masked.action_BL == corruption.RANDOM, ids_BL, masked.inputs_BL)
    return dataclasses.replace(masked, inputs_BL=inputs_BL)
  return defective


def padding_is_masked(policy, key, batch):
  special_ids = tuple(each for each in policy.table.special_ids if each != conftest.PAD)
  table = dataclasses.replace(policy.table, special_ids=special_ids)
  return mask_batch(dataclasses.replace(policy, table=table), key, batch)


def keyed_by_batch_position(batch):
  example_B2 = batch.example_B2.copy()
  example_B2[:, 1] = np.arange(len(example_B2))
  return dataclasses.replace(batch, example_B2=example_B2)


def neighbours_share_a_stream(batch):
  return dataclasses.replace(batch, example_B2=batch.example_B2 // np.uint32([1, 2]))


def sources_share_a_stream(batch):
  return dataclasses.replace(batch, example_B2=batch.example_B2 * np.uint32([0, 1]))


def visits_share_a_stream(batch):
  return dataclasses.replace(batch, visit_B=np.zeros_like(batch.visit_B))


def the_seed_is_ignored(policy, key, batch):
  return mask_batch(policy, rng.root_key(0), batch)


def later_tokens_are_spared(policy, masked, words_BL):
  pi_BL = policy.rate * np.linspace(1.3, 0.7, LENGTH, dtype=np.float32) * np.ones((len(words_BL), 1), np.float32)
  return independent_units(pi_BL, masked.units_BL, words_BL)


def low_ids_are_preferred(policy, masked, words_BL):
  pi_BL = policy.rate * (1.2 - 0.5 * np.asarray(masked.targets_BL) / policy.table.size)
  return independent_units(pi_BL.astype(np.float32), masked.units_BL, words_BL)


def random_order_until_full(policy, masked, words_BL):
  """Takes units in a random order and skips those that no longer fit the budget."""
  lengths_BL = np.asarray(units.lengths(masked.units_BL))
  left_B = np.round(policy.rate * lengths_BL.sum(axis=1)).astype(int)
  first_BL = np.zeros(lengths_BL.shape, bool)
  rows_B = np.arange(len(first_BL))
  for index_B in np.argsort(words_BL, axis=1).T:
    length_B = lengths_BL[rows_B, index_B]
    first_BL[rows_B, index_B] = fits_B = (length_B > 0) & (length_B <= left_B)
    left_B -= np.where(fits_B, length_B, 0)
  return draw.spread(first_BL, masked.units_BL)


def sub_words_are_chosen_apart(policy, masked, words_BL):
  return draw.independent_tokens(np.full(len(words_BL), policy.rate), masked.units_BL, words_BL)


def the_budget_is_rounded_down(policy, masked, words_BL):
  return exact_tokens(np.full(len(words_BL), policy.rate), masked.units_BL, np.zeros(len(words_BL), np.uint32), words_BL)


def the_budget_is_exact_after_all(policy, masked, words_BL):
  return exact_tokens(np.full(len(words_BL), policy.rate), masked.units_BL, words_BL[:, 0] * np.uint32(7), words_BL)


def up_to_the_largest_id_of_the_batch(policy, batch, words_BL):
  return 5 + words_BL % (batch.tokens_BL.max() - 4)


def ids_of_the_row_before(policy, batch, words_BL):
  return np.roll(batch.tokens_BL, 1, axis=0)


def any_id(policy, batch, words_BL):
  return words_BL % policy.table.size


def targets_are_overwritten(policy, key, batch):
  masked = mask_batch(policy, key, batch)
  return dataclasses.replace(masked, targets_BL=masked.inputs_BL)


def kept_tokens_are_replaced(policy, key, batch):
  masked = mask_batch(policy, key, batch)
  return dataclasses.replace(masked, inputs_BL=np.where(masked.chosen_BL, conftest.MASK, masked.inputs_BL))


DEFECTS = (
    ('token', 'exact', altering(keyed_by_batch_position), 'the same in any row order'),
    ('token', 'exact', altering(keyed_by_batch_position), 'the same in any batch split'),
    ('token', 'exact', altering(neighbours_share_a_stream), 'independent of the neighbouring row'),
    ('word', 'exact', altering(sources_share_a_stream), 'independent of the same row of another source'),
    ('token', 'independent', altering(visits_share_a_stream), 'independent of the visit before'),
    ('token', 'exact', the_seed_is_ignored, 'independent of another seed'),
    ('token', 'exact', padding_is_masked, 'special tokens and padding stay'),
    ('token', 'exact', padding_is_masked, 'only special tokens are no unit'),
    ('token', 'exact', replacing(any_id), 'replacements are ordinary ids'),
    ('token', 'exact', replacing(up_to_the_largest_id_of_the_batch), 'replacements are uniform over ids'),
    ('token', 'exact', replacing(ids_of_the_row_before), 'replacements are uniform over ids'),
    ('word', 'independent', choosing(sub_words_are_chosen_apart), 'units are chosen whole'),
    ('word', 'exact', choosing(random_order_until_full), 'units have one action'),
    ('word', 'exact', choosing(random_order_until_full, by_unit=True), 'rate of each unit length'),
    ('token', 'independent', choosing(later_tokens_are_spared), 'rate in each tenth of the row'),
    ('token', 'independent', choosing(low_ids_are_preferred), 'rate of each group of ids'),
    ('token', 'exact', choosing(the_budget_is_rounded_down), 'the budget is not rounded one way'),
    ('token', 'independent', choosing(the_budget_is_exact_after_all), 'counts vary as independent draws'),
    ('word', 'exact', with_policy(budget='independent'), 'each row keeps its budget'),
    ('token', 'independent', with_policy(rate=np.float32(0.165)), 'rate'),
    ('token', 'exact', with_policy(rate=np.float32(0.2)), 'the prediction buffer suffices'),
    ('token', 'exact', with_policy(split_3=np.float32([0.75, 0.15, 0.1])), 'share [MASK]'),
    ('token', 'exact', with_policy(split_3=np.float32([0.75, 0.15, 0.1])), 'share random'),
    ('token', 'exact', with_policy(split_3=np.float32([0.8, 0.15, 0.05])), 'share kept'),
    ('token', 'exact', targets_are_overwritten, 'targets are the original tokens'),
    ('token', 'exact', kept_tokens_are_replaced, 'inputs follow the action'),
)


@pytest.mark.parametrize('unit, budget, defective, name', DEFECTS, ids=[f'{d[0]}-{d[3]}' for d in DEFECTS])
def test_a_known_defect_is_found(table, unit, budget, defective, name):
  assert name in failed(masking.make(table, unit=unit, budget=budget), defective)


def test_static_masks_that_change_are_found(table):
  assert 'copies return' in failed(masking.make(table, copies=2), with_policy(copies=0))


def test_units_that_cross_documents_or_break_are_found(table):
  def shifted(policy, key, batch):
    masked = mask_batch(policy, key, batch)
    units_BL = np.asarray(masked.units_BL)
    return dataclasses.replace(masked, units_BL=np.where(units_BL >= 0, units_BL[:, :1].clip(1), -1))

  found = failed(masking.make(table), shifted)
  assert {'units are unbroken', 'units stay in their document'} <= found
