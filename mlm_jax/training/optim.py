"""The optimizer: Optax transformations put together from the config.

The learning rate is a function of the step that the trainer counts, not of a
counter inside the optimizer, so a skipped update does not shift the schedule.

A model stacks the parameters of its layers along a leading axis, under the name `layers`;
where it is trained with a generator, that is a model under the name `generator`. What an
optimizer does tensor by tensor (a trust ratio, a clipped update) is done for each layer of
the stack apart, as if the layers were separate. Since Adam goes number by number, a generator
whose gradient is clipped apart (clip_separately) and that has a rate of its own
(generator_lr_multiplier) has an optimizer of its own.

`config` is the group `optim`; its learning_rate and weight_decay may be traced numbers.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mlm_jax import config as config_lib
from mlm_jax.core import trees


def schedule(config, total_steps):
  """Returns learning_rate(step), a traceable function of the 0-based step.

  The rate rises linearly, reaches the peak at step warmup_steps - 1, keeps it until
  decay_steps before the end (0: until the end of the warm-up) and heads for
  final_lr_ratio of it at total_steps, the step after the last. With x the share of the
  decay that is left, what stands between peak and end is:
    linear: x (arXiv:1810.04805; after a constant stretch arXiv:2404.06395).
    cosine: (1 - cos(pi x)) / 2 (arXiv:1608.03983).
    polynomial: x ** power.
    one_minus_sqrt: 1 - sqrt(1 - x) (arXiv:2405.18392).
    constant: 1; the rate never falls.
  """
  shape = {
    'linear': lambda left: left,
    'cosine': lambda left: (1 - jnp.cos(jnp.pi * left)) / 2,
    'polynomial': lambda left: left**config.power,
    'one_minus_sqrt': lambda left: 1 - jnp.sqrt(1 - left),
    'constant': jnp.ones_like,
  }[config.schedule]
  decay_steps = config.decay_steps or total_steps - config.warmup_steps
  final = config.final_lr_ratio

  def learning_rate(step):
    warm = jnp.minimum((step + 1) / max(config.warmup_steps, 1), 1.0)
    left = jnp.clip((total_steps - step) / max(decay_steps, 1), 0.0, 1.0)
    return config.learning_rate * warm * (final + (1 - final) * shape(left))

  return learning_rate


def decayed(config, params):
  """Returns the tree of bools: which parameters weight decay pulls at.

  Raises:
    UserError: a parameter that no rule of `decay_rules` matches.
  """
  try:
    return trees.match(config.decay_rules, params)
  except ValueError as error:
    raise config_lib.UserError(f'config.optim.decay_rules: {error}') from None


def make(config, total_steps):
  """Returns the optax transformation; its update takes `step` as a keyword.

  The gradient is clipped by its global norm (clip_norm; 0 = not), turned into a
  direction by the optimizer, and multiplied by the rates of depth and step. Weight
  decay is a part of the direction, so both rates scale it too.
  """
  direction = {'adamw': _adamw, 'lamb': _lamb, 'stable_adamw': _stable_adamw}[config.name](config)
  parts = [direction, _scale_by_schedule(schedule(config, total_steps))]
  if config.clip_norm:
    parts.insert(0, _clip(config.clip_norm, config.clip_separately))
  if config.layerwise_lr_decay != 1:
    parts.insert(-1, _scale_by_depth(config.layerwise_lr_decay))
  if config.generator_lr_multiplier != 1:
    parts.insert(-1, _scale_generator(config.generator_lr_multiplier))
  return optax.chain(*parts)


def _clip(norm, apart):
  """Clips by the global norm; `apart` says that a generator has a norm of its own."""
  clip = optax.clip_by_global_norm(norm)

  def update(updates, params=None):
    parts = dict(updates)
    generator = {'generator': parts.pop('generator')}
    clipped = [clip.update(each, optax.EmptyState())[0] for each in (parts, generator)]
    return clipped[0] | clipped[1]

  return optax.stateless(update) if apart else clip


def _adamw(config):
  """Adam with decoupled weight decay (arXiv:1711.05101), which spares what `decay_rules` say."""
  return optax.chain(
    _scale_by_adam(config),
    optax.add_decayed_weights(config.weight_decay, lambda params: decayed(config, params)),
  )


def _lamb(config):
  """AdamW whose direction gets the length of the parameter (arXiv:1904.00962, algorithm 2).

  The ratio |parameter| / |direction| is taken tensor by tensor, 1 where either is 0. What
  `decay_rules` spare (norms and biases) has none, as in the code published with the paper.
  """
  trust = optax.scale_by_trust_ratio()

  def update(updates, params):
    scaled = _by_layer(lambda u, p: trust.update(u, optax.EmptyState(), p)[0], updates, params)
    return jax.tree.map(
      lambda adapts, s, u: s if adapts else u, decayed(config, params), scaled, updates
    )

  return optax.chain(_adamw(config), optax.stateless(update))


def _stable_adamw(config):
  """AdamW whose rate falls where gradients outgrow their average (arXiv:2304.13013, algorithm 2).

  A tensor's rate, that of its decay included, is divided by max(1, RMS), RMS being
  sqrt(mean(g^2 / max(v, epsilon^2))) over its gradient g and second moment v.
  """
  adamw = _adamw(config)
  # The square of a very small epsilon is no float32.
  floor = max(config.epsilon**2, float(jnp.finfo(jnp.float32).tiny))

  def update(grads, state, params):
    updates, state = adamw.update(grads, state, params)
    second = state[0].nu
    if config.bias_correction:
      second = optax.tree.bias_correction(second, config.beta2, state[0].count)
    return _by_layer(lambda *trees: jax.tree.map(clip, *trees), updates, grads, second), state

  def clip(direction, gradient, second):
    rms = jnp.sqrt(jnp.mean(gradient**2 / jnp.maximum(second, floor)))
    return direction / jnp.maximum(1.0, rms)

  return optax.GradientTransformation(adamw.init, update)


def _scale_by_adam(config):
  """Adam's direction (arXiv:1412.6980); BERT and ELECTRA leave its moments uncorrected."""
  adam = optax.scale_by_adam(config.beta1, config.beta2, config.epsilon)
  if config.bias_correction:
    return adam

  def update(grads, state, params=None):
    _, state = adam.update(grads, state)
    return jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + config.epsilon), state.mu, state.nu), state

  return optax.GradientTransformation(adam.init, update)


def _scale_by_depth(decay):
  """Multiplies updates of layer n of N by decay ** (N - 1 - n), of the embeddings by decay ** N.

  Everything else, the head, learns at the full rate (arXiv:1801.06146, section 3.2).
  """

  def update(updates, params=None):
    layers = jax.tree.leaves(updates['layers'])[0].shape[0]
    rate_N = jnp.asarray(decay ** np.arange(layers - 1, -1, -1), jnp.float32)
    scale = lambda tree, rate: jax.tree.map(lambda u: rate * u, tree)
    scaled = {'layers': jax.vmap(scale)(updates['layers'], rate_N)}
    if 'embeddings' in updates:
      scaled['embeddings'] = scale(updates['embeddings'], decay**layers)
    if 'generator' in updates:
      scaled['generator'] = update(updates['generator'])
    return updates | scaled

  return optax.stateless(update)


def _scale_generator(rate):
  """Multiplies the updates of a generator."""
  return optax.stateless(
    lambda updates, params=None: (
      updates | {'generator': jax.tree.map(lambda u: rate * u, updates['generator'])}
    )
  )


def _scale_by_schedule(learning_rate):
  """Multiplies updates by -learning_rate(step)."""

  def update(updates, state, params=None, *, step, **unused):
    rate = learning_rate(step)
    return jax.tree.map(lambda u: -rate * u, updates), state

  return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def _by_layer(function, *trees):
  """Returns function(*trees), to which each layer of a stack is a tree of its own."""
  apply = {'layers': jax.vmap(function), 'generator': lambda *parts: _by_layer(function, *parts)}
  return {name: apply.get(name, function)(*(tree[name] for tree in trees)) for name in trees[0]}
