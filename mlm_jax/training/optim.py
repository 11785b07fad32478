"""The optimizer: Optax transformations put together from the config.

The learning rate is a function of the step that the trainer counts, not of a
counter inside the optimizer, so a skipped update does not shift the schedule.

A model stacks the parameters of its layers along a leading axis, under the name `layers`;
where it is trained with a generator, that is a model under the name `generator`. What an
optimizer does tensor by tensor (a trust ratio, a clipped update) is done for each layer of
the stack, as if the layers were separate. Since Adam works element by element, a generator
whose gradient is clipped separately (clip_separately) and that has a rate of its own
(generator_lr_multiplier) has an optimizer of its own.

`config` is the group `optim`; its learning_rate and weight_decay may be traced numbers.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mlm_jax import config as config_lib
from mlm_jax.core import trees

PyTree = Any  # nested dict of arrays, one leaf a parameter


def schedule(config: Any, total_steps: int) -> Callable[[Any], jax.Array]:
  """Returns learning_rate(step), a traceable function of the 0-based step.

  The rate rises linearly, reaches the peak at step warmup_steps - 1, keeps it until
  decay_steps before the end (0: until the end of the warm-up) and heads for
  final_lr_ratio of it at total_steps, the step after the last. With x the share of the
  decay that is left, the share of the way from the end up to the peak is:
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
  # Without a length of its own the decay begins where the warm-up ends.
  decay_steps = config.decay_steps or total_steps - config.warmup_steps
  final = config.final_lr_ratio

  def learning_rate(step: Any) -> jax.Array:
    # step + 1: at a rate of 0 the first step would change nothing.
    warm = jnp.minimum((step + 1) / max(config.warmup_steps, 1), 1.0)
    left = jnp.clip((total_steps - step) / max(decay_steps, 1), 0.0, 1.0)
    return config.learning_rate * warm * (final + (1 - final) * shape(left))

  return learning_rate


def decayed(config: Any, params: PyTree) -> PyTree:
  """Returns the tree of bools: which parameters weight decay applies to.

  Raises:
    UserError: a parameter that no rule of `decay_rules` matches.
  """
  try:
    return trees.match(config.decay_rules, params)
  except ValueError as error:
    raise config_lib.UserError(f'config.optim.decay_rules: {error}') from None


def make(
  config: Any, total_steps: int, frozen: Sequence[str] = ()
) -> optax.GradientTransformationExtraArgs:
  """Returns the optax transformation; its update takes `step` as a keyword.

  The gradient is clipped by its global norm (clip_norm; 0 = not), turned into a
  direction by the optimizer, and multiplied by the rates of depth and step. Weight
  decay is a part of the direction, so both rates scale it too.

  Args:
    config: as said.
    total_steps: of the schedule.
    frozen: regular expressions over the paths of parameters that have no gradient: the optimizer
      holds nothing of them, and they are not decayed.
  """
  direction = {'adamw': _adamw, 'lamb': _lamb, 'stable_adamw': _stable_adamw}[config.name](config)
  if frozen:
    rules = (*((each, False) for each in frozen), ('.*', True))
    direction = optax.masked(direction, lambda tree: trees.match(rules, tree))
  # The schedule stays last; -1 inserts just before it.
  parts = [direction, _scale_by_schedule(schedule(config, total_steps))]
  if config.clip_norm:
    parts.insert(0, _clip(config.clip_norm, config.clip_separately))
  if config.layerwise_lr_decay != 1:
    parts.insert(-1, _scale_by_depth(config.layerwise_lr_decay))
  if config.generator_lr_multiplier != 1:
    parts.insert(-1, _scale_generator(config.generator_lr_multiplier))
  return optax.chain(*parts)


def _clip(norm: float, separately: bool) -> optax.GradientTransformation:
  """Clips by the global norm; `separately` says that a generator has a norm of its own."""
  clip = optax.clip_by_global_norm(norm)

  def update(updates: Any, params: Any = None) -> Any:
    # A spike in the loss of one model must not shrink the other one's step.
    parts = dict(updates)
    generator = {'generator': parts.pop('generator')}
    clipped: list[Any] = [clip.update(each, optax.EmptyState())[0] for each in (parts, generator)]
    return clipped[0] | clipped[1]

  return optax.stateless(update) if separately else clip


def _adamw(config: Any) -> optax.GradientTransformationExtraArgs:
  """Adam with decoupled weight decay (arXiv:1711.05101), which spares what `decay_rules` say."""
  # Decay is added behind Adam's division, so it pulls at all parameters with the same strength.
  return optax.chain(
    _scale_by_adam(config),
    optax.add_decayed_weights(config.weight_decay, lambda params: decayed(config, params)),
  )


def _lamb(config: Any) -> optax.GradientTransformationExtraArgs:
  """AdamW whose direction gets the length of the parameter (arXiv:1904.00962, algorithm 2).

  The ratio |parameter| / |direction| is taken tensor by tensor, 1 where either is 0. What
  `decay_rules` spare (norms and biases) has none, as in the code published with the paper.
  """
  # Behind the decay, which is a part of the direction whose length is adapted.
  trust = optax.scale_by_trust_ratio()

  def update(updates: Any, params: Any) -> Any:
    scaled = _by_layer(lambda u, p: trust.update(u, optax.EmptyState(), p)[0], updates, params)
    return jax.tree.map(
      lambda adapts, s, u: s if adapts else u, decayed(config, params), scaled, updates
    )

  return optax.chain(_adamw(config), optax.stateless(update))


def _stable_adamw(config: Any) -> optax.GradientTransformation:
  """AdamW whose rate falls where gradients outgrow their average (arXiv:2304.13013, algorithm 2).

  A tensor's rate, that of its decay included, is divided by max(1, RMS), RMS being
  sqrt(mean(g^2 / max(v, epsilon^2))) over its gradient g and second moment v.
  """
  adamw = _adamw(config)
  # The square of a very small epsilon is 0 in float32, and 0 / 0 is not a number.
  floor = max(config.epsilon**2, float(jnp.finfo(jnp.float32).tiny))

  def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
    result: Any = adamw.update(updates, state, params)
    directions, state = result
    # Adam comes first in `adamw`. Its second moment already has this gradient in it, and is
    # stored uncorrected.
    second = state[0].nu
    if config.bias_correction:
      second = optax.tree.bias_correction(second, config.beta2, state[0].count)
    return _by_layer(lambda *trees: jax.tree.map(clip, *trees), directions, updates, second), state

  def clip(direction: jax.Array, gradient: jax.Array, second: jax.Array) -> jax.Array:
    rms = jnp.sqrt(jnp.mean(gradient**2 / jnp.maximum(second, floor)))
    return direction / jnp.maximum(1.0, rms)  # only ever slower, never faster

  return optax.GradientTransformation(adamw.init, update)


def _scale_by_adam(config: Any) -> optax.GradientTransformation:
  """Adam's direction (arXiv:1412.6980); BERT and ELECTRA leave its moments uncorrected."""
  adam = optax.scale_by_adam(config.beta1, config.beta2, config.epsilon)
  if config.bias_correction:
    return adam

  def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
    # Of Optax only the moments are used: it has no switch for its correction of them.
    result: Any = adam.update(updates, state)
    state = result[1]
    return jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + config.epsilon), state.mu, state.nu), state

  return optax.GradientTransformation(adam.init, update)


def _scale_by_depth(decay: float) -> optax.GradientTransformation:
  """Multiplies updates of layer n of N by decay ** (N - 1 - n), of the embeddings by decay ** N.

  Everything else, the head, learns at the full rate (arXiv:1801.06146, section 3.2).
  """

  def update(updates: Any, params: Any = None) -> Any:
    # Layers are stacked: every leaf below `layers` has their number as its first axis.
    layers = jax.tree.leaves(updates['layers'])[0].shape[0]
    rate_N = jnp.asarray(decay ** np.arange(layers - 1, -1, -1), jnp.float32)
    scale = lambda tree, rate: jax.tree.map(lambda u: rate * u, tree)
    scaled = {'layers': jax.vmap(scale)(updates['layers'], rate_N)}
    if 'embeddings' in updates:  # a generator that shares them has none of its own
      scaled['embeddings'] = scale(updates['embeddings'], decay**layers)
    if 'generator' in updates:
      scaled['generator'] = update(updates['generator'])
    return updates | scaled

  return optax.stateless(update)


def _scale_generator(rate: float) -> optax.GradientTransformation:
  """Multiplies the updates of a generator."""

  def update(updates: Any, params: Any = None) -> Any:
    return updates | {'generator': jax.tree.map(lambda u: rate * u, updates['generator'])}

  return optax.stateless(update)


def _scale_by_schedule(
  learning_rate: Callable[[Any], jax.Array],
) -> optax.GradientTransformationExtraArgs:
  """Multiplies updates by -learning_rate(step); minus, since updates are added to parameters."""

  def update(
    updates: Any, state: Any, params: Any = None, *, step: Any, **unused: Any
  ) -> tuple[Any, Any]:
    rate = learning_rate(step)
    return jax.tree.map(lambda u: -rate * u, updates), state

  # Optax's type has no extra argument that must be given, as `step` must.
  init = lambda params: optax.EmptyState()
  return optax.GradientTransformationExtraArgs(init, update)  # pyrefly: ignore[bad-argument-type]


def _by_layer(function: Callable, *trees: PyTree) -> PyTree:
  """Returns function(*trees), to which each layer of a stack is a tree of its own."""
  # Without the vmap a norm would be taken over all layers of a stacked tensor at once.
  apply = {'layers': jax.vmap(function), 'generator': lambda *parts: _by_layer(function, *parts)}
  # What is frozen has no leaves here.
  return {
    name: apply.get(name, function)(*(tree[name] for tree in trees))
    if jax.tree.leaves(part)
    else part
    for name, part in trees[0].items()
  }
