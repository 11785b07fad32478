"""Local attention: equal to full attention under a mask of the window, and linear in the length."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlm_jax.models import attention
from mlm_jax.models import sliding_window
from tests import toys


def windowed(query_BLHK, key_BLHK, value_BLHK, segments_BL, reach):
  """Returns what local.mix does, over all pairs."""
  visible_B1LL = (
    attention.same_document(segments_BL)
    & sliding_window.near(segments_BL.shape[1], reach)[None, None]
  )
  weights_BHLL = attention.softmax(
    attention.scores(query_BLHK, key_BLHK), visible_B1LL, query_BLHK.dtype
  )
  return attention.weighted_sum(weights_BHLL, value_BLHK)


@pytest.mark.parametrize(
  'length, reach', ((1, 3), (31, 3), (32, 32), (96, 40), (150, 33), (200, 4))
)
def test_blocks_give_what_a_masked_full_attention_gives_forward_and_backward(length, reach):
  random = np.random.default_rng(0)
  arrays = [random.normal(size=(2, length, 2, 8)).astype(np.float32) for _ in range(3)]
  weights_BLD = random.normal(size=(2, length, 16)).astype(np.float32)
  cuts = np.sort(random.integers(0, length, 3))
  segments_BL = np.tile(1 + (np.arange(length)[None] >= cuts[:, None]).sum(0), (2, 1))
  segments_BL[1, length - length // 5 :] = 0  # padding
  results = []
  for function in (sliding_window.attend, windowed):
    apply = functools.partial(function, segments_BL=jnp.asarray(segments_BL), reach=reach)
    total = lambda *arrays: (apply(*arrays) * weights_BLD).sum()
    both = jax.jit(lambda *arrays: (apply(*arrays), jax.grad(total, (0, 1, 2))(*arrays)))
    results.append(both(*arrays))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), *results)


def test_memory_and_work_grow_with_the_length_and_not_its_square():
  def cost(length):
    shape = jax.ShapeDtypeStruct((1, length, 1, 8), jnp.float32)
    segments = jax.ShapeDtypeStruct((1, length), jnp.int32)
    loss = lambda q, k, v, s: sliding_window.attend(q, k, v, s, 32).sum()
    compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(shape, shape, shape, segments).compile()
    memory = compiled.memory_analysis()
    assert memory
    return compiled.cost_analysis()['flops'], memory.temp_size_in_bytes

  short, long = cost(512), cost(4096)
  assert all(b < 9 * a for a, b in zip(short, long))  # 8 times the length; squared it would be 64


def test_two_of_three_layers_are_local_and_none_looks_beyond_its_window():
  model = toys.model(**toys.FAMILIES['modernbert'])
  params = toys.start(model)
  tokens_BL = np.arange(5, 37)[None]
  seen = toys.apply(
    model, params, tokens_BL, np.ones_like(tokens_BL), np.arange(32)[None], details=True
  )
  weights_NLL = np.asarray(seen.attention_NBHLL)[:, 0].max(axis=1)
  far_LL = np.abs(np.arange(32)[:, None] - np.arange(32)) > 3
  assert [bool(np.any(each[far_LL])) for each in weights_NLL] == [True, False, False, True]


@pytest.mark.parametrize('scan_layers', (False, True))
def test_what_is_looked_at_is_what_was_computed(scan_layers):
  """The weights that are shown are computed apart; the hidden states are the same with and
  without.
  """
  model = toys.model(**toys.FAMILIES['modernbert'], model__scan_layers=scan_layers)
  params, tokens_BL = toys.start(model), np.arange(5, 37)[None]
  arguments = model, params, tokens_BL, np.ones_like(tokens_BL), np.arange(32)[None]
  np.testing.assert_array_equal(
    toys.apply(*arguments).hidden_BLD, toys.apply(*arguments, details=True).hidden_BLD
  )


def test_unrolled_layers_compile_without_a_branch():
  model = toys.model(**toys.FAMILIES['modernbert'])
  tokens_BL = np.ones((1, 128), np.int32)
  loss = lambda params: model.apply(params, tokens_BL, tokens_BL, tokens_BL).hidden_BLD.sum()
  text = (
    jax.jit(jax.grad(loss)).lower(jax.eval_shape(model.init, jax.random.key(0))).compile().as_text()
  )
  assert text and 'conditional' not in text


def test_weights_are_dropped_before_the_sum():
  random = np.random.default_rng(0)
  arrays = [random.normal(size=(2, 40, 2, 8)).astype(np.float32) for _ in range(3)]
  segments_BL = jnp.ones((2, 40), jnp.int32)
  query, key, value = arrays
  whole = sliding_window.attend(query, key, value, segments_BL, 3)
  halved = sliding_window.attend(query, key, value, segments_BL, 3, lambda weights: weights / 2)
  np.testing.assert_allclose(halved, whole / 2, rtol=1e-6)
