"""What tokens weigh, from the vocabulary, the classes and the policy's numbers; numpy.

Taken on trust: what has been learned (see the tests of what learns), and the weights of a
selection that is not known here, such as a researcher's own.
"""

import functools
from typing import Any

import jax.numpy as jnp
import numpy as np

from mlm_jax.core import batches
from mlm_jax.core import vocabulary
from mlm_jax.masking import policy as policy_lib
from mlm_jax.masking import selections
from mlm_jax.masking.selections import accuracy
from mlm_jax.masking.selections import content
from mlm_jax.masking.selections import frequency
from mlm_jax.masking.selections import word_class


def of_tokens(
  policy: policy_lib.Policy, batch: batches.Batch, units_BL: np.ndarray
) -> np.ndarray | None:
  """Returns float64 weight_BL; None where all weigh the same."""
  if policy.selection.is_uniform:
    return None
  return _of_tokens(policy.selection, policy.table, batch, units_BL)


@functools.singledispatch
def _of_tokens(
  selection: selections.Selection,
  table: vocabulary.Table,
  batch: batches.Batch,
  units_BL: np.ndarray,
) -> np.ndarray:
  weight_V = of_pieces(selection, table)
  if weight_V is not None:
    return weight_V[batch.tokens_BL]
  given_BL = selection.weights(table, batch, jnp.asarray(units_BL, jnp.int32))
  return np.asarray(given_BL, np.float64)


@_of_tokens.register
def _(selection: accuracy.Accuracy, table, batch, units_BL):
  return _in_steps(selection.learned['weight_V'])[batch.tokens_BL]


@_of_tokens.register
def _(selection: word_class.Class, table, batch, units_BL):
  fixed_C = selection.weight_C
  weight_C = fixed_C if fixed_C is not None else _of_losses(**selection.learned)
  return _in_steps(weight_C)[batch.classes_BL]


@functools.singledispatch
def of_pieces(selection: selections.Selection, table: vocabulary.Table) -> np.ndarray | None:
  """Returns float64 weight_V, 1 at most, of a selection by each piece's count, else None."""
  return None


@of_pieces.register
def _(selection: frequency.Frequency, table):
  # By logarithms, from the rarest on: another way than the policy's own.
  log_V = np.log1p(np.asarray(table.counts_V, np.float64))
  return np.exp(-float(selection.power) * (log_V - log_V.min()))


@of_pieces.register
def _(selection: content.Content, table):
  counts_V = np.array(table.counts_V, np.float64)
  ordinary = np.setdiff1d(np.arange(table.size), table.special_ids)
  counts_V[list(table.special_ids)] = 0
  weight_V, seen = np.ones(table.size), 0.0
  for piece in ordinary[np.argsort(-counts_V[ordinary], kind='stable')]:
    if seen >= counts_V.sum() / 2:  # the piece that passes one half is still frequent
      break
    weight_V[piece] = float(selection.function_weight)
    seen += counts_V[piece]
  return weight_V


def _of_losses(loss_C: Any, steps_C: Any) -> np.ndarray:
  """Returns float32 weight_C: sigmoid(2 z) of the running losses, .5 for class 0 and the unseen."""
  steps_C = np.asarray(steps_C, np.float64)
  seen_C = steps_C > 0
  seen_C[0] = False  # the lack of a class is not one of the classes that are compared
  loss = np.asarray(loss_C, np.float64)[seen_C] / (1 - 0.999 ** steps_C[seen_C])
  weight_C = np.full(len(steps_C), 0.5, np.float32)
  if seen_C.any():
    weight_C[seen_C] = 1 / (1 + np.exp(-2 * (loss - loss.mean()) / max(loss.std(), 1e-6)))
  return weight_C


def _in_steps(weight_N: Any) -> np.ndarray:
  """Returns float64 weight_N in steps of 2**-12 of the largest, at least one; see `selections`."""
  weight_N = np.asarray(weight_N, np.float32)
  steps_N = np.round(weight_N / (weight_N.max() or np.float32(1)) * np.float32(4096))
  return np.where(weight_N > 0, np.maximum(steps_N, 1), 0) / 4096.0
