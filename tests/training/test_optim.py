"""Schedules against their closed forms, optimizers against their papers written out in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlm_jax import config as config_lib
from mlm_jax.core import trees
from mlm_jax.training import optim
from tests import toys

SHAPES = ('linear', 'cosine', 'polynomial', 'one_minus_sqrt')
OPTIMIZERS = ('adamw', 'lamb', 'stable_adamw')
LAYERS = 3


def settings(total=10, **optim_settings):
  """Returns config.optim with short names for its keys."""
  own = (
    {'objective__name': 'rtd'}
    if {'clip_separately', 'generator_lr_multiplier'} & set(optim_settings)
    else {}
  )
  return toys.config(
    total_steps=total, **own, **{f'optim__{k}': v for k, v in optim_settings.items()}
  ).optim


def rates(total=100, power=1.0, **optim_settings):
  """Returns the rate of each step; `power` where the schedule has one."""
  if optim_settings.get('schedule') == 'polynomial':
    optim_settings['power'] = power
  config = settings(total, **optim_settings)
  return np.array([float(optim.schedule(config, total)(step)) for step in range(total + 1)])


def model_params(seed=0):
  """Returns parameters of a made-up model with stacked layers, whose layers differ in size."""
  random = np.random.default_rng(seed)
  normal = lambda *shape: random.normal(size=shape).astype(np.float32)
  size_N = np.float32([0.1, 1, 10])
  return {
    'embeddings': {'token': {'embedding': normal(7, 4)}},
    'head': {'transform': {'kernel': normal(4, 4), 'bias': np.zeros(4, np.float32)}},
    'layers': {
      'in': {'kernel': size_N[:, None, None] * normal(LAYERS, 4, 6)},
      'norm': {'scale': size_N[:, None] * (1 + 0.1 * normal(LAYERS, 4))},
    },
  }


def model_grads(params, step):
  """Returns random gradients, 50 times as large at step 3."""
  random = np.random.default_rng(100 + step)
  size = 50 if step == 3 else 1
  return jax.tree.map(lambda p: np.float32(size * random.normal(size=p.shape)), params)


def unstack(params):
  """Returns the same parameters as {path: array}, a path for each layer."""
  flat = {}
  for path, leaf in trees.paths(params).items():
    if path.startswith('layers/'):
      flat |= {path.replace('layers', f'layer_{n}'): leaf[n] for n in range(len(leaf))}
    else:
      flat[path] = leaf
  return flat


def train(config, params, steps=6):
  """Returns the parameters after some updates."""
  optimizer = optim.make(config, 10)
  state = optimizer.init(params)
  for step in range(steps):
    updates, state = jax.jit(optimizer.update)(model_grads(params, step), state, params, step=step)
    params = optax.apply_updates(params, updates)
  return params


def one_update(config, params, grads, step=0):
  """Returns {path: update} by an optimizer that has made none so far."""
  optimizer = optim.make(config, 10)
  updates, _ = jax.jit(optimizer.update)(grads, optimizer.init(params), params, step=step)
  return unstack(updates)


def assert_close(found, expected, rtol=2e-5):
  assert found.keys() == expected.keys()
  for path in found:
    np.testing.assert_allclose(found[path], expected[path], rtol=rtol, atol=1e-6, err_msg=path)


class WrittenOut:
  """AdamW and its variants for one tensor, in float64, from the papers' equations."""

  def __init__(self, name, param, corrects, decay):
    self.name, self.param, self.corrects, self.decay = name, np.float64(param), corrects, decay
    self.first, self.second, self.count = np.zeros(param.shape), np.zeros(param.shape), 0
    self.clipped = False

  def step(self, gradient, rate):
    self.count += 1
    self.first = 0.9 * self.first + 0.1 * gradient
    self.second = 0.98 * self.second + 0.02 * gradient**2
    first, second = self.first, self.second
    if self.corrects:
      first, second = first / (1 - 0.9**self.count), second / (1 - 0.98**self.count)
    direction = first / (np.sqrt(second) + 1e-6) + self.decay * self.param
    if self.name == 'lamb' and self.decay:
      length = np.linalg.norm(direction)
      if length and np.linalg.norm(self.param):
        rate *= np.linalg.norm(self.param) / length
    if self.name == 'stable_adamw':
      ratio = np.sqrt(np.mean(gradient**2 / np.maximum(second, 1e-12)))
      self.clipped |= ratio > 1.2
      rate /= max(1.0, ratio)
    self.param = self.param - rate * direction


def test_linear_warms_up_peaks_and_ends_at_the_final_ratio():
  found = rates(warmup_steps=10, learning_rate=2.0, final_lr_ratio=0.1)
  np.testing.assert_allclose(found[:10], 2.0 * np.arange(1, 11) / 10, rtol=1e-6)
  np.testing.assert_allclose(found[10:], 2.0 * (0.1 + 0.9 * np.arange(90, -1, -1) / 90), rtol=1e-6)


@pytest.mark.parametrize('shape', SHAPES)
def test_with_decay_steps_the_rate_is_flat_until_they_begin(shape):
  found = rates(
    schedule=shape,
    power=2.0,
    warmup_steps=10,
    decay_steps=20,
    learning_rate=2.0,
    final_lr_ratio=0.1,
  )
  np.testing.assert_allclose(found[:10], 2.0 * np.arange(1, 11) / 10, rtol=1e-6)
  np.testing.assert_allclose(found[9:81], 2.0, rtol=1e-6)
  assert np.all(np.diff(found[80:]) < 0)
  np.testing.assert_allclose(found[100], 0.2, rtol=1e-5)


def test_decay_shapes_are_those_of_their_sources():
  steps = np.arange(91)
  shared = dict(warmup_steps=10, learning_rate=3.0, final_lr_ratio=0.2)
  expected = {
    'linear': optax.linear_schedule(3.0, 0.6, 90)(steps),
    'cosine': optax.cosine_decay_schedule(3.0, 90, alpha=0.2)(steps),
    'polynomial': optax.polynomial_schedule(3.0, 0.6, 1.7, 90)(steps),
    'one_minus_sqrt': 0.6 + 2.4 * (1 - np.sqrt(steps / 90)),
  }
  for shape in SHAPES:
    found = rates(schedule=shape, power=1.7, **shared)
    np.testing.assert_allclose(found[10:], expected[shape], rtol=1e-5, atol=1e-6, err_msg=shape)


def test_constant_warms_up_and_stays():
  found = rates(schedule='constant', warmup_steps=10, learning_rate=2.0)
  np.testing.assert_allclose(found[:10], 2.0 * np.arange(1, 11) / 10, rtol=1e-6)
  np.testing.assert_array_equal(found[9:], 2.0)


@pytest.mark.parametrize('shape', (*SHAPES, 'constant'))
def test_a_schedule_is_finite_where_warm_up_or_decay_take_no_time(shape):
  np.testing.assert_allclose(
    rates(5, schedule=shape, warmup_steps=5, learning_rate=2.0)[:5],
    2.0 * np.arange(1, 6) / 5,
    rtol=1e-6,
  )
  found = rates(5, schedule=shape, warmup_steps=0, learning_rate=2.0)
  assert found[0] == 2.0 and np.all(np.isfinite(found))


@pytest.mark.parametrize('corrects', (True, False))
@pytest.mark.parametrize('name', OPTIMIZERS)
def test_optimizers_equal_their_papers_written_out_layer_by_layer(name, corrects):
  config = settings(
    name=name,
    bias_correction=corrects,
    weight_decay=0.1,
    clip_norm=50.0,
    warmup_steps=0,
    learning_rate=0.01,
  )
  params = model_params()
  tensors = {
    path: WrittenOut(name, param, corrects, 0.1 * path.endswith(('kernel', 'embedding')))
    for path, param in unstack(params).items()
  }
  for step in range(6):
    grads = model_grads(params, step)
    norm = np.sqrt(sum((np.float64(g) ** 2).sum() for g in jax.tree.leaves(grads)))
    for path, gradient in unstack(grads).items():
      tensors[path].step(np.float64(gradient) * min(1, 50 / norm), 0.01 * (10 - step) / 10)
  assert name != 'stable_adamw' or all(tensor.clipped for tensor in tensors.values())
  assert_close(
    unstack(train(config, params)), {path: tensor.param for path, tensor in tensors.items()}
  )


def test_stable_adamw_slows_down_where_gradients_jump():
  shared = dict(weight_decay=0.1, clip_norm=0.0, warmup_steps=0)
  params = model_params()
  moved = {}
  for name in ('adamw', 'stable_adamw'):
    config = settings(name=name, **shared)
    before, after = train(config, params, steps=3), train(config, params, steps=4)
    moved[name] = np.linalg.norm(after['layers']['in']['kernel'] - before['layers']['in']['kernel'])
  # After three steps the newest gradient has a quarter of the average's weight: an RMS near
  # sqrt(4).
  assert moved['stable_adamw'] < 0.6 * moved['adamw']


def test_lamb_and_adamw_equal_optax_on_the_unstacked_model():
  params, rate = model_params(), 0.02
  decays = lambda flat: {path: path.endswith(('kernel', 'embedding')) for path in flat}
  adamw = optax.adamw(rate, 0.9, 0.98, 1e-6, weight_decay=0.1, mask=decays)
  adam = optax.adam(rate, 0.9, 0.98, 1e-6)
  lamb = optax.partition(
    {True: optax.lamb(rate, 0.9, 0.98, 1e-6, weight_decay=0.1), False: adam}, decays
  )
  for name, other in (('adamw', adamw), ('lamb', lamb)):
    config = settings(
      name=name,
      schedule='constant',
      warmup_steps=0,
      weight_decay=0.1,
      clip_norm=0.0,
      learning_rate=rate,
    )
    flat = unstack(params)
    state = other.init(flat)
    for step in range(6):
      updates, state = jax.jit(other.update)(unstack(model_grads(params, step)), state, flat)
      flat = optax.apply_updates(flat, updates)
    assert_close(unstack(train(config, params)), flat, rtol=1e-5)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_a_zero_gradient_leaves_undecayed_parameters_alone(name):
  # An epsilon whose square underflows in float32: nothing may be divided by zero.
  config = settings(name=name, epsilon=1e-30, weight_decay=0.1, warmup_steps=0)
  params = model_params()
  for path, update in one_update(config, params, jax.tree.map(np.zeros_like, params)).items():
    assert np.all(np.isfinite(update))
    assert np.any(update != 0) == path.endswith(('kernel', 'embedding'))


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_a_skipped_update_does_not_shift_the_rate(name):
  config = settings(name=name, warmup_steps=2)
  params, rate = model_params(), optim.schedule(config, 10)
  grads = model_grads(params, 0)
  first, eighth = (one_update(config, params, grads, step) for step in (0, 7))
  factor = float(rate(7) / rate(0))
  assert_close(eighth, {path: factor * update for path, update in first.items()})


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_layerwise_lr_decay_scales_update_and_weight_decay_by_depth(name):
  params = model_params()
  even, decayed = (
    one_update(
      settings(name=name, layerwise_lr_decay=layerwise_lr_decay, weight_decay=0.1, warmup_steps=0),
      params,
      model_grads(params, 0),
    )
    for layerwise_lr_decay in (1.0, 0.5)
  )
  factor = {'embeddings': 0.125, 'layer_0': 0.25, 'layer_1': 0.5, 'layer_2': 1.0, 'head': 1.0}
  expected = {path: factor[path.split('/')[0]] * update for path, update in even.items()}
  assert_close(decayed, expected, rtol=1e-6)


@pytest.mark.parametrize('name', ('lamb', 'stable_adamw'))
def test_sharded_parameters_get_the_same_update(name):
  params = jax.tree.map(jnp.asarray, model_params())
  config = settings(name=name, layerwise_lr_decay=0.5, weight_decay=0.1, warmup_steps=0)
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ('fsdp',))

  def place(leaf):
    axis = next((a for a in reversed(range(leaf.ndim)) if leaf.shape[a] % 2 == 0), None)
    spec = [None if a != axis else 'fsdp' for a in range(leaf.ndim)]
    return jax.device_put(leaf, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec)))

  sharded = train(config, jax.tree.map(place, params))
  assert len(sharded['layers']['in']['kernel'].sharding.device_set) == 2
  assert_close(unstack(sharded), unstack(train(config, params)), rtol=1e-6)


@pytest.mark.parametrize('name', OPTIMIZERS)
def test_what_is_frozen_stays_and_the_optimizer_holds_nothing_of_it(name):
  """The rest is updated as if it were alone."""
  config, params, grads = settings(name=name), model_params(), model_grads(model_params(), 0)
  grads['layers'] = jax.tree.map(jnp.zeros_like, grads['layers'])
  optimizer = optim.make(config, 10, ('layers/.*',))
  state = optimizer.init(params)
  updates, state = jax.jit(optimizer.update)(grads, state, params, step=0)
  assert not any('layers' in path for path in trees.paths(state))
  assert all((np.asarray(each) == 0).all() for each in jax.tree.leaves(updates.pop('layers')))
  del params['layers'], grads['layers']
  assert_close(unstack(updates), one_update(config, params, grads))


def test_every_parameter_is_matched_or_it_is_an_error():
  tree = {'a': {'kernel': 1, 'bias': 2}, 'norm': {'scale': 3}}
  rules = toys.config().optim.decay_rules
  assert trees.match(rules, tree) == {
    'a': {'kernel': True, 'bias': False},
    'norm': {'scale': False},
  }
  with pytest.raises(ValueError, match='no rule matches parameter a/bias'):
    trees.match(rules[1:0] + (('.*/kernel', True),), tree)
  with pytest.raises(config_lib.UserError, match='config.optim.decay_rules: no rule matches'):
    optim.decayed(settings(decay_rules=(('.*/kernel', True),)), tree)


def test_the_models_norms_and_biases_are_not_decayed():
  params = jax.eval_shape(toys.model().init, jax.random.key(0))
  decayed = trees.paths(trees.match(toys.config().optim.decay_rules, params))
  spared = {path for path, value in decayed.items() if not value}
  assert spared == {path for path in decayed if path.endswith('bias') or path.endswith('scale')}


def test_a_generator_may_have_an_optimizer_of_its_own():
  """Clipping it separately at half the rate equals two optimizers that never meet."""
  discriminator, generator = model_params(), model_params(seed=1)
  joint = optim.make(settings(clip_separately=True, generator_lr_multiplier=0.5), 10)
  alone, slower = optim.make(settings(), 10), optim.make(settings(learning_rate=0.5e-2), 10)
  both = discriminator | {'generator': generator}
  states = [
    each.init(params)
    for each, params in ((joint, both), (alone, discriminator), (slower, generator))
  ]
  for step in range(5):
    grads = [
      model_grads(discriminator, step),
      jax.tree.map(lambda g: 7 * g, model_grads(generator, step + 50)),
    ]
    updates, states[0] = joint.update(
      grads[0] | {'generator': grads[1]}, states[0], both, step=step
    )
    both = optax.apply_updates(both, updates)
    updates, states[1] = alone.update(grads[0], states[1], discriminator, step=step)
    discriminator = optax.apply_updates(discriminator, updates)
    updates, states[2] = slower.update(grads[1], states[2], generator, step=step)
    generator = optax.apply_updates(generator, updates)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7),
    both,
    discriminator | {'generator': generator},
  )
