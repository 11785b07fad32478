"""A model's outputs for the examples of a split, and what a task makes of them."""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
import numpy as np

from mlm_jax.core import metrics as metrics_lib
from mlm_jax.data import loader as loader_lib
from mlm_jax.data.examples import store

VALIDATION = 'validation'  # the split that chooses the checkpoint
TEST, PREDICTIONS = 'test.json', 'predictions.jsonl'  # in the folder of a run that has ended


@dataclasses.dataclass(frozen=True)
class Split:
  """The rows of a split on their way through a model.

  Attributes:
    step: (params, batch) -> ({metric: (sum, weight)}, {output: [B, S, ...] or [B, L, ...]}), both
      whole on every device.
    prepared: the examples.
    name: of the split.
    placement: training.sharding.Placement of its batches.
  """

  step: Callable
  prepared: store.Prepared
  name: str
  placement: Any

  def outputs(self, params: Any) -> tuple[dict[str, float], list[dict[str, np.ndarray]]]:
    """Returns ({metric: mean}, the outputs of each segment, in the order of the examples).

    An output of an example is [...], one of its tokens [tokens, ...]; `example` is its number.
    """
    loader = loader_lib.EvaluationLoader(self.prepared, self.placement.batch_size, split=self.name)
    sums, found = None, []
    for i in range(len(loader)):
      batch = loader.batch(i)
      local = jax.tree.map(lambda x: x[self.placement.local_rows], batch)
      more, outputs = jax.device_get(self.step(params, self.placement.put(local)))
      sums = more if sums is None else metrics_lib.add(sums, more)
      found += _segments(batch, outputs)
    assert sums is not None, 'a split has a row at least'
    # The sort is stable: several segments of one example stay in their order.
    return metrics_lib.means(sums), sorted(found, key=lambda each: each['example'])


def _segments(batch: Any, outputs: dict[str, np.ndarray]) -> list[dict[str, Any]]:
  """Returns the outputs of each segment of a batch."""
  example_BS, starts_BS = batch.columns[store.EXAMPLE], np.asarray(batch.starts_BS)
  found = []
  for b, s in np.argwhere(example_BS >= 0):
    begin = starts_BS[b, s]
    later = starts_BS[b][starts_BS[b] > begin]
    end = later.min() if len(later) else batch.tokens_BL.shape[1]
    here = lambda name, array: array[b, begin:end] if '_BL' in name else array[b, s]
    found.append(
      {'example': int(example_BS[b, s])} | {name: here(name, x) for name, x in outputs.items()}
    )
  return found


def make_step(objective: Any, whole: Any) -> Callable:
  """Returns the jitted step of a Split: of an objectives.finetuning.Objective.

  Args:
    objective: as said.
    whole: the sharding of what every device holds as a whole.
  """

  def step(params: Any, batch: Any) -> tuple[Any, Any]:
    inputs = objective.prepare({}, {}, batch, None, 1.0)
    outputs = objective.outputs(params, inputs)
    return objective.scored(outputs, inputs), outputs

  return jax.jit(step, out_shardings=whole)
