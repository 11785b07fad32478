import zlib

import jax
import numpy as np
import pytest

from mlm_jax.core import rng


def words(keys):
  return np.asarray(jax.random.key_data(keys))


def example_words(visit_B, example_B2, seed=0, name='mask'):
  return words(
    rng.example_keys(
      rng.root_key(seed), name, np.asarray(visit_B, np.uint32), np.asarray(example_B2, np.uint32)
    )
  )


@pytest.mark.parametrize('seed', (-1, 2**32, 2**40))
def test_seeds_that_would_collide_are_refused(seed):
  with pytest.raises(ValueError, match='between 0 and'):
    rng.root_key(seed)


def test_the_largest_seeds_do_not_collide():
  assert (
    len({tuple(words(rng.root_key(seed))) for seed in (0, 1, 2**31, 2**32 - 2, 2**32 - 1)}) == 5
  )


def test_keys_are_threefry_whatever_the_default_is():
  with jax.default_prng_impl('rbg'):
    key = rng.root_key(3)
  assert (words(key) == (0, 3)).all()
  assert str(jax.random.key_impl(key)) == 'threefry2x32'


def test_an_example_key_is_the_chain_of_fold_ins_that_the_law_names():
  key = jax.random.fold_in(rng.root_key(5), zlib.crc32(b'mask'))
  for each in (9, 2, 7):  # visit, source, row
    key = jax.random.fold_in(key, each)
  assert (example_words([9], [[2, 7]], seed=5) == words(key)).all()


def test_example_keys_do_not_depend_on_company_or_order():
  visit_B, example_B2 = np.arange(6) % 3, np.stack([np.arange(6) % 2, np.arange(6) * 1000], axis=1)
  together = example_words(visit_B, example_B2)
  alone = np.concatenate(
    [example_words(visit_B[i : i + 1], example_B2[i : i + 1]) for i in range(6)]
  )
  reverse = example_words(visit_B[::-1], example_B2[::-1])[::-1]
  compiled = words(
    jax.jit(lambda v, e: rng.example_keys(rng.root_key(0), 'mask', v, e))(
      visit_B.astype(np.uint32), example_B2.astype(np.uint32)
    )
  )
  assert (together == alone).all() and (together == reverse).all() and (together == compiled).all()


def test_keys_differ_by_each_thing_that_they_are_for():
  base = dict(visit_B=[1], example_B2=[[2, 3]], seed=4, name='mask')
  changes = (
    {},
    {'visit_B': [2]},
    {'example_B2': [[3, 3]]},
    {'example_B2': [[2, 4]]},
    {'example_B2': [[3, 2]]},
    {'seed': 5},
    {'name': 'generator'},
  )
  assert len({tuple(example_words(**(base | change))[0]) for change in changes}) == len(changes)


def test_step_keys_differ_by_step_micro_batch_and_name():
  key = rng.root_key(0)
  seen = {
    tuple(words(rng.step_key(key, name, step, micro_batch)))
    for name in ('dropout', 'head')
    for step in (0, 1)
    for micro_batch in (0, 1)
  }
  assert len(seen) == 8
