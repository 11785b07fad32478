"""The optimizer: Optax transformations put together from the config.

The learning rate is a function of the step that the trainer counts, not of a
counter inside the optimizer, so a skipped update does not shift the schedule.
"""

import jax
import jax.numpy as jnp
import optax

from mlm_jax import config as config_lib
from mlm_jax import trees


def schedule(config, total_steps):
  """Returns learning_rate(step), a traceable function of the 0-based step.

  Both schedules warm up linearly, reach the peak at step warmup_steps - 1 and
  head for final_fraction of it at total_steps:
    linear: from the end of the warm-up on (arXiv:1810.04805).
    wsd: stable, then down over the last decay_steps (arXiv:2404.06395).
  """
  decay_steps = {'linear': total_steps - config.warmup_steps, 'wsd': config.decay_steps}[config.schedule]
  final = config.final_fraction

  def learning_rate(step):
    warm = (step + 1) / max(config.warmup_steps, 1)
    decay = final + (1 - final) * (total_steps - step) / max(decay_steps, 1)
    return config.learning_rate * jnp.minimum(jnp.minimum(warm, decay), 1.0)

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

  AdamW (arXiv:1711.05101): the gradient is clipped by its global norm, the
  decay is multiplied by the learning rate and spares what `decay_rules` say.
  """
  clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
  return optax.chain(
      clip,
      optax.scale_by_adam(config.beta1, config.beta2, config.epsilon),
      optax.add_decayed_weights(config.weight_decay, lambda params: decayed(config, params)),
      _scale_by_schedule(schedule(config, total_steps)),
  )


def _scale_by_schedule(learning_rate):
  """Multiplies updates by -learning_rate(step)."""
  def update(updates, state, params=None, *, step, **unused):
    rate = learning_rate(step)
    return jax.tree.map(lambda u: -rate * u, updates), state

  return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
