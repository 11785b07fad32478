"""What one run leaves behind, and goes on from: its logs and its checkpoints."""

import contextlib
import math
import typing
from typing import Any

import jax
import numpy as np

from mlm_jax.evaluation import slices
from mlm_jax.training import checkpoint
from mlm_jax.training import distributed
from mlm_jax.training import loss_spikes
from mlm_jax.training import step as step_lib
from mlm_jax.training import workdir as workdir_lib

_ROWS_OF_SPIKE = 64  # rows of a batch that spikes.jsonl names


class RunState(typing.NamedTuple):
  """What a run taken up again needs in order to go on as if it had never stopped.

  Attributes:
    state: TrainState.
    window: the metric sums since the last line of metrics.jsonl.
    losses_M: of the last steps, see `spikes`.
  """

  state: Any
  window: Any
  losses_M: Any


def _to_parts(run_state):
  """Returns a checkpoint's parts; whoever only uses the model reads `params` and `adapted`
  alone.
  """
  state = run_state.state
  adapted = {'adapted': state.adapted} if state.adapted else {}
  return adapted | {
    'params': state.params,
    'optimizer': state.opt_state,
    'window': run_state.window,
    'counters': {'step': state.step, 'skipped': state.skipped, 'losses_M': run_state.losses_M},
  }


def _from_parts(parts):
  counters = dict(parts['counters'])
  losses_M = counters.pop('losses_M')
  state = step_lib.TrainState(
    params=parts['params'],
    opt_state=parts['optimizer'],
    adapted=parts.get('adapted', {}),
    **counters,
  )
  return RunState(state, parts['window'], losses_M)


class Recorder:
  """Writes what happens to one run; of several processes the first one does.

  Args:
    workdir: pathlib.Path.
    config: the run's.
    ranked_by: the field of evaluations.jsonl whose least value marks the best checkpoint.
    examples: (0-based step) -> the (source, row) pairs of its batch, [B, 2].
    log: takes lines of text.
    name: stands before what is said of it; '' for a run on its own.

  Attributes:
    diverged: non-finite gradients in a row, once there were too many; 0 until then.
  """

  def __init__(self, workdir, config, ranked_by, examples, log=print, name=''):
    self._name = name and f'{name}: '
    self._workdir, self._config, self._examples = workdir, config, examples
    self._ranked_by = ranked_by
    self._saved = checkpoint.Checkpoints(workdir / 'checkpoints', config.checkpoint, log)
    self._loss = None, None  # (step, ranking loss) of the last evaluation
    self.diverged = 0

  def restore(self, abstract):
    """Returns (step, RunState) of the newest checkpoint that is whole; (0, None) where there is
    none.
    """
    step, parts = self._saved.restore_newest(_to_parts(abstract))
    return (0, None) if step is None else (step, _from_parts(parts))

  @contextlib.contextmanager
  def open(self, first, losses_M, report):
    """Holds the logs open from the step `first` on; what a person should see goes to a Reporter."""
    self._report = report
    self._watch = loss_spikes.Watch(self._config.log.spike, np.asarray(losses_M))
    logs = workdir_lib.Logs(
      self._workdir, first, self._config.log.tensorboard, distributed.is_first()
    )
    with logs as self._logs:
      seen = [
        line.get(self._ranked_by)
        for line in self._logs.read('evaluations')
        if line['step'] <= first
      ]
      self._least = min([loss for loss in seen if loss is not None], default=math.inf)
      try:
        yield self
      finally:
        self._saved.wait()

  def ended(self, step, skipped, values):
    """Notes how a step ended: the non-finite gradients in a row up to it, its loss and
    gradient_norm.
    """
    if skipped >= self._config.optim.max_consecutive_nonfinite:
      self.diverged = max(self.diverged, skipped)
    median = self._watch.add(values['loss']) if 'loss' in values else None
    if median is None:
      return
    rows = self._examples(step - 1)[:_ROWS_OF_SPIKE].tolist()
    self._logs.write(
      'spikes',
      step,
      {
        'loss': values['loss'],
        'median': median,
        'gradient_norm': values['gradient_norm'],
        'rows': rows,
      },
    )
    self._report.say(
      f'{self._name}step {step}: the loss spiked to {values["loss"]:.3f}, from {median:.3f} '
      '(median of the '
      'steps before it); its rows are in spikes.jsonl'
    )

  def measured(self, step, values, timing):
    """Writes the metrics of the steps since the last time, and what they took."""
    self._logs.write('metrics', step, values)
    self._logs.write('timing', step, timing)

  def evaluated(self, step, results):
    """Writes {evaluator: {metric: value}}; returns whether no checkpoint to keep was better
    before.
    """
    line = {
      f'{name}_{metric}': value
      for name, values in results.items()
      for metric, value in values.items()
    }
    self._logs.write('evaluations', step, line)
    self._report.evaluated(step, results, self._name)
    loss = line.get(self._ranked_by)
    if loss is None or not math.isfinite(loss):
      return False
    self._loss = step, loss
    is_best = self._config.checkpoint.keep_best > 0 and loss < self._least
    self._least = min(self._least, loss)
    return is_best

  def sliced(self, step, scores):
    """Writes the scores by slices."""
    if distributed.is_first():
      slices.write(self._workdir, step, scores)

  def save(self, step, run_state):
    """Starts to save a RunState; the logs up to here reach the disk before the step does."""
    losses_M = jax.device_put(self._watch.losses_M, run_state.losses_M.sharding)
    evaluated, loss = self._loss
    self._logs.flush()
    self._saved.save(
      step, _to_parts(run_state._replace(losses_M=losses_M)), loss if evaluated == step else None
    )
