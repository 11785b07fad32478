"""What a policy learns while the model trains: pure updates, on the device.

What has been learned is a dict of arrays, TrainState's `adapted`, saved with each
checkpoint; the policy's field of that name is what masks are drawn from. The same
numbers give the same masks anywhere.

selection='accuracy' (adaptive masking, AMLM): every 200 steps the weight of a vocabulary
entry becomes .2 of itself plus .8 p (1 - accuracy), p the rate and the accuracy that of
the predictions since the last change, (correct + .5) / (correct + wrong + 1); never below .005.

selection='class' without class_weights (POS-tag-weighted masking): each class keeps the
exponential moving average, .999 a step, of the loss of its words; its weight is
sigmoid(2 z), z how many standard deviations over the classes it lies above their mean.
Averages are corrected for their start, as Adam's are; classes never seen count as average.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax.masking import schedules

_EVERY = 200  # steps
_KEPT = 0.2  # of a weight when it changes
_LEAST = 0.005  # weight of a vocabulary entry
_DECAY = 0.999  # of a class's loss
_STEEPNESS = 2.0


def counted(policy):
  """Returns what the objective has to count for `adapt`: 'vocabulary', 'class' or ''."""
  if not policy.adapted:
    return ''
  return 'vocabulary' if 'weight_V' in policy.adapted else 'class'


def start(selection, table, rate, has_weights):
  """Returns what has been learned before the first step: {} where nothing is ever learned."""
  if selection == 'accuracy':
    zeros_V = np.zeros(table.size, np.float32)
    return {'weight_V': zeros_V + np.float32(rate), 'correct_V': zeros_V, 'wrong_V': zeros_V}
  if selection == 'class' and not has_weights:
    zeros_C = np.zeros(len(table.classes) + 1, np.float32)
    return {'loss_C': zeros_C, 'steps_C': zeros_C}
  return {}


def adapt(policy, counts, step, progress):
  """Returns what has been learned after a step.

  Args:
    policy: masking.Policy; its `adapted` is what had been learned before.
    counts: sums over the step's predictions: correct_V and wrong_V, or loss_C and number_C.
    step: the 0-based step.
    progress: as for masking.mask_batch.
  """
  change = {'vocabulary': _by_accuracy, 'class': _by_loss}[counted(policy)]
  return change(policy, counts, step, progress)


def _by_accuracy(policy, counts, step, progress):
  before, size = policy.adapted, policy.table.size
  correct_V = before['correct_V'] + counts['correct_V'][:size]  # the head's padding is cut off
  wrong_V = before['wrong_V'] + counts['wrong_V'][:size]
  accuracy_V = (correct_V + 0.5) / (correct_V + wrong_V + 1)
  # Where each row has its own rate, the mean.
  rate = schedules.at(policy, progress, jnp.full(1, 1 << 31, jnp.uint32))[0]
  weight_V = jnp.maximum(_KEPT * before['weight_V'] + (1 - _KEPT) * rate * (1 - accuracy_V), _LEAST)
  due = (step + 1) % _EVERY == 0
  return {
    'weight_V': jnp.where(due, weight_V, before['weight_V']),
    'correct_V': jnp.where(due, 0, correct_V),
    'wrong_V': jnp.where(due, 0, wrong_V),
  }


def _by_loss(policy, counts, step, progress):
  del step, progress
  before = policy.adapted
  loss_C, number_C = (counts[name][: len(before['loss_C'])] for name in ('loss_C', 'number_C'))
  seen_C = number_C > 0
  mean_C = loss_C / jnp.maximum(number_C, 1)
  return {
    'loss_C': jnp.where(
      seen_C, _DECAY * before['loss_C'] + (1 - _DECAY) * mean_C, before['loss_C']
    ),
    'steps_C': before['steps_C'] + seen_C.astype(jnp.float32),
  }


def class_weights(adapted):
  """Returns weight_C in (0, 1) from the running losses; that of class 0, no class, is .5."""
  steps_C = adapted['steps_C']
  loss_C = adapted['loss_C'] / jnp.maximum(1 - _DECAY**steps_C, 1e-6)
  used_C = (steps_C > 0) & (jnp.arange(len(steps_C)) > 0)
  number = jnp.maximum(used_C.sum(dtype=jnp.float32), 1)
  away_C = jnp.where(used_C, loss_C - jnp.where(used_C, loss_C, 0).sum() / number, 0)
  deviation = jnp.sqrt((away_C**2).sum() / number)
  return jax.nn.sigmoid(_STEEPNESS * away_C / jnp.maximum(deviation, 1e-6))
