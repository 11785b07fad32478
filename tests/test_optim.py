"""Schedules against their closed form, AdamW against a version written out in numpy."""

import jax
import numpy as np
import pytest

from mlm_jax import optim
from mlm_jax import trees
from tests import toys


def rates(total=100, **settings):
  config = toys.config(total_steps=total, **{f'optim__{k}': v for k, v in settings.items()}).optim
  return np.array([float(optim.schedule(config, total)(step)) for step in range(total + 1)])


def test_linear_warms_up_peaks_and_ends_at_the_final_fraction():
  found = rates(warmup_steps=10, learning_rate=2.0, final_fraction=0.1)
  np.testing.assert_allclose(found[:10], 2.0 * np.arange(1, 11) / 10, rtol=1e-6)
  np.testing.assert_allclose(found[10:], 2.0 * (0.1 + 0.9 * np.arange(90, -1, -1) / 90), rtol=1e-6)


def test_wsd_is_flat_until_its_decay():
  found = rates(schedule='wsd', warmup_steps=10, decay_steps=20, learning_rate=1.0)
  np.testing.assert_allclose(found[9:81], 1.0)
  np.testing.assert_allclose(found[80:], np.arange(20, -1, -1) / 20, rtol=1e-6)


def test_adamw_equals_the_paper_written_out():
  settings = dict(optim__weight_decay=0.1, optim__clip_norm=0.5, optim__warmup_steps=0,
                  optim__learning_rate=0.01)
  config = toys.config(total_steps=10, **settings).optim
  optimizer = optim.make(config, 10)
  random = np.random.default_rng(0)
  params = {'dense': {'kernel': random.normal(size=(3, 4)), 'bias': random.normal(size=4)},
            'norm': {'scale': random.normal(size=4)}}
  params = jax.tree.map(np.float32, params)
  state = optimizer.init(params)
  expected = jax.tree.map(np.float64, params)
  first = jax.tree.map(np.zeros_like, expected)
  second = jax.tree.map(np.zeros_like, expected)
  for step in range(4):
    grads = jax.tree.map(lambda x: np.float32(random.normal(size=x.shape)), params)
    updates, state = optimizer.update(grads, state, params, step=step)
    params = jax.tree.map(lambda p, u: p + u, params, updates)
    norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in jax.tree.leaves(grads)))
    clipped = jax.tree.map(lambda g: g * min(1, 0.5 / norm), grads)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, clipped)
    second = jax.tree.map(lambda v, g: 0.98 * v + 0.02 * g ** 2, second, clipped)
    rate = 0.01 * (10 - step) / 10
    decay = {'dense': {'kernel': 0.1, 'bias': 0.0}, 'norm': {'scale': 0.0}}
    expected = jax.tree.map(
        lambda p, m, v, d: p - rate * (m / (1 - 0.9 ** (step + 1))
                                       / (np.sqrt(v / (1 - 0.98 ** (step + 1))) + 1e-6) + d * p),
        expected, first, second, decay)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), params, expected)


def test_every_parameter_is_matched_or_it_is_an_error():
  tree = {'a': {'kernel': 1, 'bias': 2}, 'norm': {'scale': 3}}
  rules = toys.config().optim.decay_rules
  assert trees.match(rules, tree) == {'a': {'kernel': True, 'bias': False}, 'norm': {'scale': False}}
  with pytest.raises(ValueError, match='no rule matches parameter a/bias'):
    trees.match(rules[1:0] + (('.*/kernel', True),), tree)


def test_the_models_norms_and_biases_are_not_decayed():
  params = jax.eval_shape(toys.model().init, jax.random.key(0))
  decayed = trees.paths(trees.match(toys.config().optim.decay_rules, params))
  spared = {path for path, value in decayed.items() if not value}
  assert spared == {path for path in decayed if path.endswith('bias') or path.endswith('scale')}
