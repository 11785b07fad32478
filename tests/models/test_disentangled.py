"""Scores from relative positions: bit-equal to the gather that they replace; distances share rows
as published.
"""

import functools
import itertools

import jax
import numpy as np
import pytest

from mlm_jax.models import disentangled
from tests import toys


def random(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def both_forms(one_BLHK, table_SHK, weights_BHLL, sign):
  """Returns (scores, gradients of their weighed sum) of the shifted blocks and of the gather."""
  row_of = functools.partial(disentangled.row_of_distance, span=20, buckets=(20, 60))
  for function in (disentangled.scores, disentangled.gathered_scores):
    score = functools.partial(function, row_of=row_of, sign=sign)
    total = lambda *arrays: (score(*arrays) * weights_BHLL).sum()
    both = jax.jit(lambda *arrays: (score(*arrays), jax.grad(total, (0, 1))(*arrays)))
    yield jax.device_get(both(one_BLHK, table_SHK))


@pytest.mark.parametrize(
  'length, sign',
  [
    each if each in ((1, 1), (64, -1), (130, 1)) else pytest.param(*each, marks=pytest.mark.slow)
    for each in itertools.product((1, 5, 63, 64, 65, 130), (1, -1))
  ],
)
def test_shifted_blocks_are_the_gather_bit_for_bit_and_so_are_their_gradients(length, sign):
  """On whole numbers, whose sums are exact: how others are rounded depends on a product's shape."""

  def whole(*shape, seed):
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(np.float32)

  ours, plain = both_forms(
    whole(2, length, 3, 8, seed=0),
    whole(40, 3, 8, seed=1),
    whole(2, 3, length, length, seed=2),
    sign,
  )
  jax.tree.map(np.testing.assert_array_equal, ours, plain)


@pytest.mark.parametrize('length', (64, pytest.param(130, marks=pytest.mark.slow)))
def test_shifted_blocks_round_as_a_product_does(length):
  ours, plain = both_forms(
    random(2, length, 3, 8), random(40, 3, 8, seed=1), random(2, 3, length, length, seed=2), 1
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * np.abs(b).max()),
    ours,
    plain,
  )


def test_scores_are_the_products_with_the_embedding_of_each_distance():
  query_BLHK, table_SHK = random(1, 9, 1, 4), random(12, 1, 4, seed=1)
  row_of = functools.partial(disentangled.row_of_distance, span=6, buckets=None)
  scores_LL = np.asarray(disentangled.scores(query_BLHK, table_SHK, row_of, sign=1))[0, 0]
  for i in range(9):
    for j in range(9):
      row = min(max(i - j + 6, 0), 11)
      assert scores_LL[i, j] == pytest.approx(
        float(query_BLHK[0, i, 0] @ table_SHK[row, 0]), abs=1e-5
      )


def test_near_distances_have_rows_of_their_own_and_far_ones_share_them():
  """The numbers of DeBERTa-v3: 256 buckets over 512 positions."""
  distance_N = np.arange(-511, 512)
  row_N = disentangled.row_of_distance(distance_N, 256, (256, 512))
  np.testing.assert_array_equal(
    row_N[np.abs(distance_N) < 128], distance_N[np.abs(distance_N) < 128] + 256
  )
  assert np.all(np.diff(row_N) >= 0) and row_N.min() == 1 and row_N.max() == 511
  np.testing.assert_array_equal(row_N[::-1] - 256, 256 - row_N)  # the two sides are alike
  # Bucket b > 128 begins where 127 log(d / 128) / log(511 / 128) passes b - 129: each wider than
  # those before.
  widths = np.bincount(row_N)[385:-1]
  assert np.all(np.diff(widths) >= -1) and widths[-1] > widths[0]


def test_neighbours_of_the_convolution_are_of_the_same_document():
  from mlm_jax.models.families import deberta_v2

  segments_BL = np.array([[1, 1, 2, 2, 2, 0]])
  hidden_BLD = np.arange(1.0, 7.0)[None, :, None]
  found = [
    np.asarray(deberta_v2._neighbour(hidden_BLD, segments_BL, offset))[0, :, 0]
    for offset in (-1, 0, 1)
  ]
  np.testing.assert_array_equal(found, [[0, 1, 0, 3, 4, 0], [1, 2, 3, 4, 5, 0], [2, 0, 4, 5, 0, 0]])


def test_the_convolution_joins_the_first_layer_alone():
  model = toys.model(**toys.FAMILIES['deberta_v2'])
  params = toys.start(model)
  tokens_BL = np.arange(5, 21)[None]
  ones_BL = np.ones_like(tokens_BL)
  changed = params | {'convolution': jax.tree.map(lambda x: 2 * x + 0.1, params['convolution'])}
  a, b = (
    toys.apply(model, each, tokens_BL, ones_BL, np.arange(16)[None], details=True)
    for each in (params, changed)
  )
  assert np.abs(a.layers_NBLD[0] - b.layers_NBLD[0]).max() > 0.01
  # What the second layer makes of its input is the same function in both.
  second = jax.tree.map(lambda x: x[1:], params['layers'])
  assert jax.tree.leaves(second)[0].shape[0] == 1


def test_far_distances_that_begin_a_row_are_rounded_as_in_transformers():
  """Numbers of its make_log_bucket_position, where the logarithm of 4 is two thirds of that of
  8.
  """
  rows_X = disentangled.row_of_distance(np.array([-64, -32, 32, 64]), span=32, buckets=(32, 129))
  np.testing.assert_array_equal(rows_X, [6, 11, 53, 58])
