import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax.core import rng
from mlm_jax.masking import random_words

EDGES = np.array([0, 1, 2, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1], np.uint32)


def test_threefry_equals_the_generator_of_jax():
  for seed in (0, 1, 2**32 - 1):
    key = jax.random.fold_in(rng.root_key(seed), 3)
    for data in (0, 1, 12345, 2**32 - 1):
      words_2 = jax.random.key_data(key)
      ours = random_words.threefry((words_2[0], words_2[1]), jnp.uint32(0), jnp.uint32(data))
      assert np.array_equal(jnp.stack(ours), jax.random.key_data(jax.random.fold_in(key, data)))


def test_no_two_words_of_a_row_share_their_counters():
  keys_B = rng.example_keys(
    rng.root_key(0), 'mask', jnp.zeros(3, jnp.uint32), jnp.zeros((3, 2), jnp.uint32)
  )
  words = [
    words_BL[0]
    for purpose in (random_words.SELECT, random_words.UNITS, random_words.PREDICT)
    for words_BL in random_words.for_tokens(keys_B, 64, purpose)
  ]
  seen = np.concatenate([words_B[:1] for words_B in random_words.for_rows(keys_B)] + words)
  assert len(np.unique(seen)) == 386  # a false alarm has probability 2e-5, and the key is fixed


def test_products_have_64_bits():
  g = np.random.default_rng(0)
  a = np.concatenate([EDGES, g.integers(0, 2**32, 50, dtype=np.uint64).astype(np.uint32)])
  high, low = random_words.multiply(
    a[:, None] * np.ones_like(a), a[None] * np.ones_like(a)[:, None]
  )
  exact = [[int(x) * int(y) for y in a] for x in a]
  assert high.tolist() == [[each >> 32 for each in row] for row in exact]
  assert low.tolist() == [[each & (2**32 - 1) for each in row] for row in exact]


def test_fixed_point_is_exact_below_one_and_saturates():
  fractions = np.array([0, 2**-32, 0.15, 1 / 3, 0.5, 0.8, 1 - 2**-24, 1, 1.5], np.float32)
  expected = [min(int(float(each) * 2**32), 2**32 - 1) for each in fractions]
  assert random_words.fixed_point(jnp.asarray(fractions)).tolist() == expected
