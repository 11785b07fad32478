"""The small parts against closed forms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from mlm_jax.config import limits
from mlm_jax.core import rng
from mlm_jax.models import layers
from tests import toys


def test_gelu_is_x_times_the_normal_distribution_below_x():
  x = np.linspace(-8, 8, 1001, dtype=np.float32)
  share, density = (
    scipy.stats.norm.cdf(x.astype(np.float64)),
    scipy.stats.norm.pdf(x.astype(np.float64)),
  )
  # 1 + erf is rounded where it is near 1 or 2, so errors go with |x|, not with the result:
  # four roundings, of erf, the sum and two products.
  rounding = np.abs(x) * 4 * 2.0**-24
  assert np.all(np.abs(np.float64(layers.gelu(x)) - x * share) <= rounding)
  slope = jax.vmap(jax.grad(layers.gelu))(x)
  assert np.all(np.abs(np.float64(slope) - (share + x * density)) <= 2.0**-22)
  # bfloat16 keeps 8 binary digits.
  low = jnp.asarray(x, jnp.bfloat16)
  exact = np.float64(low) * scipy.stats.norm.cdf(np.float64(low))
  assert layers.gelu(low).dtype == jnp.bfloat16
  assert np.all(np.abs(np.float64(layers.gelu(low)) - exact) <= np.abs(exact) * 2.0**-8 + rounding)


def test_a_linear_layer_is_the_same_on_any_leading_axes():
  dense = layers.dense(5, toys.model().architecture, 'dense')
  x = jax.random.normal(rng.root_key(0), (2, 3, 4))
  params: Any = dense.init(rng.root_key(1), x)
  assert {name: each.shape for name, each in params['params'].items()} == {
    'kernel': (4, 5),
    'bias': (5,),
  }
  expected = np.einsum('abi,io->abo', x, params['params']['kernel'])
  np.testing.assert_allclose(dense.apply(params, x), expected, rtol=2e-6, atol=2e-7)
  np.testing.assert_allclose(
    dense.apply(params, x)[1], dense.apply(params, x[1]), rtol=2e-6, atol=2e-7
  )


def test_activations_are_what_their_papers_say():
  x = np.linspace(-6, 6, 1001)
  expected = {
    'gelu': x * scipy.stats.norm.cdf(x),
    'gelu_tanh': 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))),
    'relu': np.where(x > 0, x, 0),
    'silu': x / (1 + np.exp(-x)),
    'tanh': np.tanh(x),
  }
  assert set(expected) == set(layers.ACTIVATIONS) == set(limits.CHOICES['model.activation'])
  for name, values in expected.items():
    found = layers.ACTIVATIONS[name](jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found, values, rtol=0, atol=2e-6)
    assert layers.ACTIVATIONS[name](jnp.ones(2, jnp.bfloat16)).dtype == jnp.bfloat16
