"""The rate of a policy, as a function of the training's progress.

With t from 0 to 1 the share of the training that is done, a from `rate` and b from
`final_rate`:
  constant: a.
  linear: a + (b - a) t.
  cosine: b + (a - b) (1 + cos(pi t)) / 2.
  polynomial: a + (b - a) t ** rate_power, slow at first.
  early_polynomial: b + (a - b) (1 - t) ** rate_power, fast at first.
  step: a in the first half, b in the second.
  row: each row at each visit has its own, uniform between a and b.

Sources of schedules: arXiv:2208.10806 (masking ratio decay), arXiv:2305.15096.
"""

import jax.numpy as jnp
import numpy as np

from mlm_jax import config as config_lib

# Rates that are computed are multiples of 1 / _STEPS: functions like the cosine end in other
# digits from one processor to the next, and the masks must not.
_STEPS = 2.0**16


def at(policy, progress, word_B):
  """Returns rate_B, float32.

  Args:
    policy: masking.Policy.
    progress: scalar in [0, 1].
    word_B: uniform uint32, one a row at each visit.
  """
  a, b, t = policy.rate, policy.final_rate, jnp.asarray(progress, jnp.float32)
  if policy.schedule == 'constant':
    return jnp.broadcast_to(jnp.asarray(a), word_B.shape)
  if policy.schedule == 'row':
    share = (word_B >> 8).astype(jnp.float32) * 2.0**-24
  else:
    share = {
      'linear': lambda: t,
      'cosine': lambda: (1 - jnp.cos(jnp.pi * t)) / 2,
      'polynomial': lambda: t**policy.rate_power,
      'early_polynomial': lambda: 1 - (1 - t) ** policy.rate_power,
      'step': lambda: (t >= 0.5).astype(jnp.float32),
    }[policy.schedule]()
  rate = jnp.round((a + (b - a) * share) * _STEPS) / _STEPS
  # Rounding must not pass the ends: the prediction buffer is sized by them.
  return jnp.broadcast_to(jnp.clip(rate, jnp.minimum(a, b), jnp.maximum(a, b)), word_B.shape)


def ends(masking):
  """Returns (a, b): the first and the last rate of a config's group `masking`, scaled to mean_rate.

  Raises:
    UserError: the scaled rate would pass 1.
  """
  if masking.schedule == 'constant':
    return masking.rate, masking.rate
  a, b = masking.rate, masking.final_rate
  if masking.mean_rate:
    factor = masking.mean_rate / _mean(masking, a, b)
    a, b = a * factor, b * factor
    if max(a, b) > 1:
      raise config_lib.UserError(
        f'masking.mean_rate = {masking.mean_rate}: with masking.schedule = {masking.schedule!r} '
        'from '
        f'{masking.rate} to {masking.final_rate} the rate would reach {max(a, b):.3g}; lower it'
      )
  return a, b


def mean_rate(masking):
  """Returns the mean over the training of the rate of a config's group `masking`."""
  return _mean(masking, *ends(masking))


def _mean(masking, a, b):
  """Returns the mean of a schedule from a to b."""
  power = masking.rate_power
  share = {'polynomial': 1 / (power + 1), 'early_polynomial': power / (power + 1)}.get(
    masking.schedule, 0.5
  )
  return float(np.float64(a) + (b - a) * share)
