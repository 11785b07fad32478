"""Rates of dropout: each has its own place in every family."""

import functools

import jax
import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax.core import rng
from tests import toys

RATES = {
  'bert': ('dropout', 'attention_dropout'),
  'deberta_v2': ('dropout', 'attention_dropout'),
  'modernbert': (
    'dropout',
    'attention_dropout',
    'modernbert__embedding_dropout',
    'modernbert__mlp_dropout',
  ),
}


def hidden(family, key=None, **settings):
  settings = {f'model__{name}': value for name, value in settings.items()}
  model = toys.model(**toys.FAMILIES[family] | {'model__attention_dropout': 0.0} | settings)
  return _hidden(model, _weights(family), key)


@functools.cache
def _weights(family):
  """Returns parameters large enough that what attention sees matters."""
  return jax.tree.map(lambda x: 4 * x, toys.start(toys.model(**toys.FAMILIES[family])))


@functools.partial(jax.jit, static_argnums=0)
def _hidden(model, params, key):
  tokens_BL = np.arange(5, 5 + 32).reshape(2, 16)
  positions_BL = np.broadcast_to(np.arange(16), (2, 16))
  ones_BL = np.ones((2, 16), int)
  return model.apply(params, tokens_BL, ones_BL, positions_BL, dropout_key=key).hidden_BLD


@pytest.mark.parametrize(
  'family, rate',
  [
    pytest.param(
      family, rate, marks=[pytest.mark.slow] if rate == 'dropout' or family == 'deberta_v2' else []
    )
    for family, rates in RATES.items()
    for rate in rates
  ],
)
def test_every_rate_drops_something_and_alone_decides_it(family, rate):
  one, other, still = (
    hidden(family, key, **{rate: 0.5}) for key in (rng.root_key(1), rng.root_key(2), None)
  )
  assert not np.allclose(one, other) and np.isfinite(one).all()
  np.testing.assert_array_equal(still, hidden(family))
  np.testing.assert_array_equal(still, hidden(family, rng.root_key(1)))


@pytest.mark.parametrize(
  'settings, found',
  (
    ({}, 0.25),
    ({'model__attention_dropout': 0.0}, 0.0),
    ({'model__attention_dropout': 0.5}, 0.5),
    ({'model__family': 'modernbert'}, 0.0),
    ({'model__family': 'modernbert', 'model__attention_dropout': 0.5}, 0.5),
  ),
)
def test_weights_are_dropped_as_the_rest_is_unless_the_config_or_the_family_says(settings, found):
  assert toys.config(model__dropout=0.25, **settings).model.attention_dropout == found


@pytest.mark.parametrize(
  'name', ('attention_dropout', 'modernbert__embedding_dropout', 'modernbert__mlp_dropout')
)
@pytest.mark.parametrize('value', (1.0, 2.0, -0.5))
def test_a_rate_at_which_nothing_is_kept_is_refused(name, value):
  with pytest.raises(config_lib.UserError, match='_dropout = .*: must be'):
    toys.config(model__family='modernbert', **{f'model__{name}': value})
