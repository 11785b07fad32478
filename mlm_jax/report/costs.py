"""What a run has spent: tokens, predictions, FLOPs and time, from its logs."""

from mlm_jax import config as config_lib
from mlm_jax.training import logs
from mlm_jax.training import workdir as workdir_lib


def spent(workdir, until):
  """Returns {name: number} of what a run's steps up to `until` took; what its logs lack is not
  there.

  tokens: that entered the encoder, without padding.
  predictions: tokens that the loss was taken at.
  flops: model FLOPs (see models/flops.py).
  seconds: of training, without compilation, evaluation and saving; of a population's, its share.
  tokens_per_second: tokens / seconds.
  """
  stages = config_lib.stages(workdir_lib.read_config(workdir))
  lines = [line for line in logs.read_log(workdir, 'metrics') if line['step'] <= until]
  timing = [line for line in logs.read_log(workdir, 'timing') if line['step'] <= until]
  ends = [line['step'] for line in lines]
  slots = [_slots(stages, *each) for each in zip([0, *ends], ends)]
  # A column of a log, or of a run of another version, may be missing or no number.
  # Logs have shares of seven digits; what they are shares of was counted.
  tokens = _total(lines, lambda line, n: round(slots[n] * (1 - line['padding'])))
  predictions = _total(lines, lambda line, n: round(slots[n] * line['predicted']))
  seconds = _total(timing, lambda line, n: line['seconds'] / line.get('replicas', 1))
  flops = _total(timing, lambda line, n: line['seconds'] * line['model_flops_per_second'])
  found = {'tokens': tokens, 'predictions': predictions, 'flops': flops, 'seconds': seconds}
  if tokens is not None and seconds:
    found['tokens_per_second'] = tokens / seconds
  return {name: value for name, value in found.items() if value is not None}


def _total(lines, value):
  """Returns the sum of value(line, number) over the lines, None where one has none or there is
  none.
  """
  try:
    return sum(value(line, n) for n, line in enumerate(lines)) if lines else None
  except (KeyError, TypeError):
    return None


def _slots(stages, begin, end):
  """Returns the places for tokens, padding included, in the rows of steps begin + 1 to end."""
  ends = [first for first, _ in stages[1:]] + [float('inf')]
  return sum(
    max(0, min(end, last) - max(begin, first)) * config.batch_size * config.data.row_length
    for (first, config), last in zip(stages, ends)
  )
