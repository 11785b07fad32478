"""Which units are preferred: a weight for each token.

A unit weighs as its heaviest token, and is chosen with probability min(1, c weight), c such
that the expected number of tokens is the row's budget (see `weighted_sampling.inclusion`).

Each file of this folder holds one class that derives from `Selection`; its name in small
letters is a value of config.masking.selection. A new file is a new choice, and nothing else
has to be edited. A class outside this folder is chosen as module:Class, see own_selection.py.

What a selection learns while the model trains is a dict of arrays that is saved with each
checkpoint and updated on the device once a step; the same numbers give the same masks anywhere.

Weights that are computed on the device are rounded to steps of 2**-12 of the largest, at
least one: sums and powers end in other digits from one processor to the next.
"""

from typing import Any
from typing import ClassVar

import jax
import jax.numpy as jnp

from mlm_jax.core import batches
from mlm_jax.core import vocabulary

_STEPS = 2.0**12


class Selection:
  """The base of all selections: a frozen dataclass and a pytree, its numbers being leaves.

  Attributes (`reads` and `needs` are plain literals, for the config reads them without
  importing the file):
    reads: settings of the group `masking` that only this selection reads.
    needs: what the data must have been prepared with: 'collocations' or 'classes'.
    is_uniform: whether all units weigh the same, so that `weights` gives None.
    counted: what the objective has to count for `adapt`: 'vocabulary', 'class' or ''.
    learned: of a selection that learns, a field: what it has learned so far, a dict of arrays.
  """

  reads: ClassVar[tuple[str, ...]] = ()
  needs: ClassVar[tuple[str, ...]] = ()
  is_uniform: ClassVar[bool] = False
  counted: str = ''

  @classmethod
  def make(cls, masking: Any, table: vocabulary.Table, rate: float) -> 'Selection':
    """Returns the selection of a config's group `masking`; `rate` is the first of the training."""
    del masking, table, rate
    return cls()

  def weights(
    self, table: vocabulary.Table, batch: batches.Batch, units_BL: jax.Array
  ) -> jax.Array | None:
    """Returns float32 weight_BL of each token, not negative; None where all weigh the same."""
    raise NotImplementedError

  def adapt(self, counts: dict[str, jax.Array], step: Any, rate: Any) -> dict[str, batches.Array]:
    """Returns what has been learned after a step.

    Args:
      counts: sums over the step's predictions: correct_V and wrong_V where `counted` is
        'vocabulary', loss_C and number_C where it is 'class'.
      step: the 0-based step.
      rate: float32 scalar, the masking rate of the step.
    """
    raise NotImplementedError


def rounded(weight_N: batches.Array) -> jax.Array:
  """Returns weights from 2**-12 to 1, in steps of 2**-12 of the largest (of the last axis).

  0 stays 0.
  """
  # At least one step, so that what weighs little can still be chosen.
  weight_N = jnp.asarray(weight_N)
  steps_N = jnp.round(weight_N / weight_N.max(axis=-1, keepdims=True) * _STEPS)
  return jnp.where(weight_N > 0, jnp.maximum(steps_N, 1), 0) / _STEPS


def classes(batch: batches.Batch) -> jax.Array:
  """Returns uint8 classes_BL of words; zeros where the data has none."""
  if batch.classes_BL is not None:
    return batch.classes_BL
  return jnp.zeros(batch.tokens_BL.shape, jnp.uint8)
