"""What tokens weigh, from the vocabulary, the classes and the policy's numbers; numpy.

Taken on trust: the weights of a researcher's own class, what an adaptive policy has learned
(see tests of `adaptive`), and two numbers that a policy does not keep, the power of
frequencies and the weight of function words: they are read off the weights of two pieces.
"""

import jax.numpy as jnp
import numpy as np

from mlm_jax.masking import selection


def of_tokens(policy, batch, units_BL):
  """Returns float64 weight_BL; None where all weigh the same."""
  if policy.selection == 'uniform':
    return None
  if policy.selection in ('frequency', 'content'):
    return of_pieces(policy)[batch.tokens_BL]
  if policy.selection == 'accuracy':
    return _in_steps(policy.adapted['weight_V'])[batch.tokens_BL]
  if policy.selection == 'class':
    weight_C = policy.weight_C if policy.weight_C is not None else _of_losses(**policy.adapted)
    return _in_steps(weight_C)[batch.classes_BL]
  return np.asarray(selection.weights(policy, batch, jnp.asarray(units_BL, jnp.int32)), np.float64)


def of_pieces(policy):
  """Returns float64 weight_V as selection='frequency' and 'content' state it, 1 at most."""
  counts_V = np.asarray(policy.table.counts_V, np.float64)
  given_V = np.asarray(policy.weight_V, np.float64)
  if policy.selection == 'frequency':
    share_V = (counts_V + 1) / (counts_V.min() + 1)
    often, rarely = np.where(given_V > 1e-30, share_V, 0).argmax(), share_V.argmin()
    power = np.log(given_V[rarely] / given_V[often]) / np.log(max(share_V[often], 1 + 1e-9))
    return share_V**-power
  ordinary = np.setdiff1d(np.arange(policy.table.size), policy.table.special_ids)
  counts_V[list(policy.table.special_ids)] = 0
  weight_V, seen = np.ones(policy.table.size), 0.0
  for piece in ordinary[np.argsort(-counts_V[ordinary], kind='stable')]:
    if seen >= counts_V.sum() / 2:
      break
    weight_V[piece] = given_V[counts_V.argmax()]
    seen += counts_V[piece]
  return weight_V


def _of_losses(loss_C, steps_C):
  """Returns float32 weight_C: sigmoid(2 z) of the running losses, .5 for what was never seen and
  class 0.
  """
  steps_C = np.asarray(steps_C, np.float64)
  seen_C = steps_C > 0
  seen_C[0] = False
  loss = np.asarray(loss_C, np.float64)[seen_C] / (1 - 0.999 ** steps_C[seen_C])
  weight_C = np.full(len(steps_C), 0.5, np.float32)
  if seen_C.any():
    weight_C[seen_C] = 1 / (1 + np.exp(-2 * (loss - loss.mean()) / max(loss.std(), 1e-6)))
  return weight_C


def _in_steps(weight_N):
  """Returns float64 weight_N, rounded as `selection` states: to 2**-12 of the largest, at least one
  step.
  """
  weight_N = np.asarray(weight_N, np.float32)
  steps_N = np.round(weight_N / (weight_N.max() or np.float32(1)) * np.float32(4096))
  return np.where(weight_N > 0, np.maximum(steps_N, 1), 0) / 4096.0
