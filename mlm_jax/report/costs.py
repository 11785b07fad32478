"""What a run has spent: tokens, predictions, FLOPs and time, from its logs."""

from collections.abc import Callable
from collections.abc import Sequence
import os
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.training import logs


def spent(
  workdir: str | os.PathLike[str], config: config_lib.Config, until: int
) -> dict[str, float]:
  """Returns {name: number} of what the steps of a run of a config up to `until` have spent.

  A name is missing where the logs do not say its number.

  tokens: that entered the encoder, without padding.
  predictions: tokens that the loss was taken at.
  flops: model FLOPs (see models/flops.py).
  seconds: of training, without compilation, evaluation and saving; of a population's, its share.
  tokens_per_second: tokens / seconds.
  """
  stages = config_lib.stages(config)
  lines = [line for line in logs.read_log(workdir, 'metrics') if line['step'] <= until]
  timing = [line for line in logs.read_log(workdir, 'timing') if line['step'] <= until]
  ends = [line['step'] for line in lines]
  slots = [_slots(stages, *each) for each in zip([0, *ends], ends)]
  # Logs have shares of seven digits of counts that are whole numbers, so these are rounded.
  tokens = _total(lines, lambda line, n: round(slots[n] * (1 - line['padding'])))
  predictions = _total(lines, lambda line, n: round(slots[n] * line['predicted']))
  seconds = _total(timing, lambda line, n: line['seconds'] / line.get('replicas', 1))
  flops = _total(timing, lambda line, n: line['seconds'] * line['model_flops_per_second'])
  found = {'tokens': tokens, 'predictions': predictions, 'flops': flops, 'seconds': seconds}
  if tokens is not None and seconds:
    found['tokens_per_second'] = tokens / seconds
  return {name: value for name, value in found.items() if value is not None}


def _total(
  lines: Sequence[dict[str, Any]], value: Callable[[dict[str, Any], int], float]
) -> float | None:
  """Returns the sum of value(line, its index) over the lines, None where a line lacks it."""
  # A log of another version may lack a column, or have something else than a number there.
  try:
    return sum(value(line, n) for n, line in enumerate(lines)) if lines else None
  except (KeyError, TypeError, ArithmeticError):
    return None


def _slots(stages: Sequence[tuple[int, config_lib.Config]], begin: int, end: int) -> int:
  """Returns the number of tokens, padding included, in the rows of steps begin + 1 to end."""
  # One line of a log may span the end of a stage; each stage counts its own part of the steps.
  ends = [first for first, _ in stages[1:]] + [float('inf')]
  return sum(
    max(0, min(end, last) - max(begin, first)) * config.batch_size * config.data.row_length
    for (first, config), last in zip(stages, ends)
  )
