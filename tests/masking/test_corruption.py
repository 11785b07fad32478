import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlm_jax.core import vocabulary
from mlm_jax.masking import corruption

_corrupt = jax.jit(lambda policy, *args: policy.corrupt(*args))


def corrupt(table, words_L, split, chosen=True, tokens=9):
  shape = (1, len(words_L))
  units_BL = jnp.arange(shape[1], dtype=jnp.int32)[None]
  policy = corruption.Corruption(np.asarray(split, np.float32), alias=None, by_unit=False)
  inputs_BL, action_BL = _corrupt(
    policy,
    table,
    np.full(shape, tokens, np.int32),
    np.full(shape, chosen),
    units_BL,
    np.asarray(words_L, np.uint32)[None],
  )
  return np.asarray(inputs_BL)[0], np.asarray(action_BL)[0]


def test_runs_of_special_ids():
  assert corruption.special_runs((0, 1, 2, 5, 9, 10)) == [(0, 3), (5, 1), (9, 2)]


@pytest.mark.parametrize(
  'size, special_ids',
  (
    (20, (0, 1, 2)),
    (20, (17, 18, 19)),
    (20, (0, 5, 6, 19)),
    (7, (0, 1, 2, 3, 4, 5)),
    (70_000, (0, 65_536)),
  ),
)
def test_replacements_are_each_ordinary_id_equally_often(size, special_ids):
  """Words at equal distances over the 32 bits: a uniform map hits each id equally often."""
  table = vocabulary.table(size, special_ids[0], special_ids)
  ordinary = np.setdiff1d(np.arange(size), special_ids)
  each = 8
  words_L = (
    (np.arange(len(ordinary) * each, dtype=np.float64) + 0.5) * 2**32 / (len(ordinary) * each)
  )
  inputs_L, action_L = corrupt(table, words_L, (0, 1, 0))
  assert (action_L == corruption.RANDOM).all()
  ids, counts = np.unique(inputs_L, return_counts=True)
  assert np.array_equal(ids, ordinary) and (counts == each).all()


def test_the_extreme_words_stay_inside_the_vocabulary():
  table = vocabulary.table(50, 0, (0, 49))
  assert corrupt(table, [0, 2**32 - 1], (0, 1, 0))[0].tolist() == [1, 48]


@pytest.mark.parametrize(
  'split', ((0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.85, 0.0, 0.15), (0.0, 0.3, 0.7))
)
def test_the_split_holds_within_each_replacement_id(split):
  table = vocabulary.table(12, 0, (0, 1))  # 10 ordinary ids
  words_L = (np.arange(40_000) + 0.5) * 2**32 / 40_000
  inputs_L, action_L = corrupt(table, words_L, split)
  of_id = np.arange(40_000) // 4000
  for number, share in zip((corruption.MASK, corruption.RANDOM, corruption.KEEP), split):
    assert np.allclose(np.bincount(of_id[action_L == number], minlength=10), share * 4000, atol=2)
  assert (inputs_L[action_L == corruption.MASK] == 0).all()
  assert (inputs_L[action_L == corruption.KEEP] == 9).all()
  assert (inputs_L[action_L == corruption.RANDOM] == of_id[action_L == corruption.RANDOM] + 2).all()


@pytest.mark.parametrize(
  'split, action',
  (((1, 0, 0), corruption.MASK), ((0, 1, 0), corruption.RANDOM), ((0, 0, 1), corruption.KEEP)),
)
def test_a_share_of_one_leaves_nothing_to_the_others(split, action):
  table = vocabulary.table(300, 0, (0,))
  words_L = np.concatenate([[0, 1, 2**32 - 1], 2**32 - np.arange(1, 200)])
  assert (corrupt(table, words_L, split)[1] == action).all()


@pytest.mark.parametrize('split', ((0.7, 0.3, 0.0), (1 / 3, 2 / 3, 0.0), (0.8, 0.1999995, 0.0)))
def test_rounding_gives_nothing_to_a_share_of_zero(split):
  table = vocabulary.table(5, 0, (0,))
  assert corruption.KEEP not in corrupt(table, 2**32 - np.arange(1, 2000), split)[1]


def test_what_is_not_chosen_stays():
  table = vocabulary.table(300, 0, (0,))
  inputs_L, action_L = corrupt(table, np.arange(50) * 80_000_000, (0.8, 0.1, 0.1), chosen=False)
  assert (inputs_L == 9).all() and (action_L == corruption.NONE).all()


def shares(alias, ordinary):
  """Returns the exact probability of each ordinary number: a slot's own part, and what others give
  it.
  """
  below_O, other_O = alias
  own_O = below_O.astype(np.float64) / 2**32
  total_O = own_O + np.bincount(other_O, weights=1 - own_O, minlength=ordinary)
  return total_O / ordinary


@pytest.mark.parametrize(
  'counts',
  (
    np.arange(50),
    1 / (1 + np.arange(50)),
    np.ones(50),
    np.eye(50)[7] * 3,
    np.zeros(50),
    np.random.default_rng(0).exponential(size=50) ** 5,
  ),
)
def test_the_alias_table_gives_each_id_its_share_of_the_text(counts):
  table = vocabulary.table(50, 4, (0, 4, 49), counts_V=counts)
  counts_O = np.delete(np.asarray(table.counts_V, np.float64), table.special_ids)
  expected_O = counts_O / counts_O.sum() if counts_O.any() else np.full(47, 1 / 47)
  found_O = shares(corruption.alias_table(table), 47)
  np.testing.assert_allclose(found_O, expected_O, atol=1e-9)
  assert (found_O[expected_O == 0] == 0).all()


def test_replacements_by_frequency_are_ordinary_ids_in_proportion():
  """Words at equal distances over the 32 bits."""
  table = vocabulary.table(
    50, 4, (0, 4, 49), counts_V=np.where(np.arange(50) % 5 == 2, 0, np.arange(50))
  )
  words_1L = ((np.arange(200_000) + 0.5) * 2**32 / 200_000).astype(np.uint32)[None]
  ids = np.asarray(corruption.by_frequency(corruption.alias_table(table), words_1L, table))[0]
  expected = np.asarray(table.counts_V, np.float64)
  expected[list(table.special_ids)] = 0
  seen = np.bincount(ids, minlength=50)
  np.testing.assert_allclose(seen / 200_000, expected / expected.sum(), atol=1e-4)
  assert not seen[expected == 0].any()


def test_a_unit_split_by_token_has_many_actions_and_by_unit_one():
  table = vocabulary.table(300, 0, (0,))
  words_1L = np.random.default_rng(0).integers(0, 2**32, (1, 60), dtype=np.uint64).astype(np.uint32)
  units_1L = (np.arange(60) // 20 * 20).astype(np.int32)[None]
  actions = [
    np.asarray(
      _corrupt(
        corruption.Corruption(np.full(3, 1 / 3, np.float32), None, by_unit),
        table,
        np.full((1, 60), 9, np.int32),
        np.ones((1, 60), bool),
        units_1L,
        words_1L,
      )[1]
    )[0].reshape(3, 20)
    for by_unit in (False, True)
  ]
  assert all(len(set(each)) == 3 for each in actions[0])
  assert all(len(set(each)) == 1 for each in actions[1])
