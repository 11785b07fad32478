"""What one run leaves behind, and what it resumes from: its logs and its checkpoints."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import json
import math
import pathlib
import types
import typing
from typing import Any

import jax
import numpy as np

from mlm_jax.core import files
from mlm_jax.training import checkpoint
from mlm_jax.training import distributed
from mlm_jax.training import divergence
from mlm_jax.training import logs
from mlm_jax.training import loss_spikes
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import progress as progress_lib
from mlm_jax.training import step as step_lib
from mlm_jax.training import stopping
from mlm_jax.training import trackers
from mlm_jax.training import workdir as workdir_lib
from mlm_jax.training.trackers import interface

_ROWS_OF_SPIKE = 64  # examples of a batch that spikes.jsonl names; a batch may have thousands


class RunState(typing.NamedTuple):
  """What a resumed run needs in order to continue as if it had never stopped.

  Attributes:
    state: TrainState.
    window: the metric sums since the last line of metrics.jsonl.
    losses_M: of the last steps, see `loss_spikes`.
  """

  state: step_lib.TrainState
  window: Any
  losses_M: Any


def _to_parts(run_state: RunState) -> dict:
  """Returns a checkpoint's parts; to use the model alone, `params` and `aux` are enough."""
  state = run_state.state
  # Orbax saves no empty tree.
  aux = {'aux': state.aux} if jax.tree.leaves(state.aux) else {}
  return aux | {
    'params': state.params,
    'optimizer': state.opt_state,
    'window': run_state.window,
    'counters': {
      'step': state.step,
      'skipped': state.skipped,
      'losses_M': run_state.losses_M,
    },
  }


def _from_parts(parts: dict) -> RunState:
  counters = dict(parts['counters'])
  losses_M = counters.pop('losses_M')
  state = step_lib.TrainState(
    params=parts['params'],
    opt_state=parts['optimizer'],
    aux=parts.get('aux', {}),
    **counters,
  )
  return RunState(state, parts['window'], losses_M)


class Recorder:
  """Writes what happens to one run; of several processes the first one does.

  Args:
    workdir: the run's folder.
    config: the run's.
    problem: what it trains.
    log: takes lines of text.
    name: precedes what is said of it; '' for a run on its own.

  Attributes:
    diverged: whether too many gradients in a row were not finite.
    why_stopped: why training ends at the last evaluation; '' until then.
  """

  def __init__(
    self,
    workdir: pathlib.Path,
    config: Any,
    problem: problem_lib.Problem,
    log: Callable[[str], None] = print,
    name: str = '',
  ):
    self._name = name and f'{name}: '
    self._workdir, self._config, self._problem = workdir, config, problem
    ranking = problem.ranking
    self._saved = checkpoint.Checkpoints(
      workdir / 'checkpoints', config.checkpoint, log, ranking.mode == 'max'
    )
    self._score: tuple[int | None, float | None] = None, None  # (step, score), last evaluated
    self._restored: int | None = None  # the step that it goes on from
    self._skipped = 0, 0  # (first step, number) of the last non-finite gradients in a row
    self.diverged, self.why_stopped = False, ''

  def restore(self, abstract: RunState) -> tuple[int, RunState | None]:
    """Returns (step, RunState) of the newest whole checkpoint; (0, None) where there is none."""
    lacking = lambda marks: logs.lacking(self._workdir, marks)
    step, parts = self._saved.restore_newest(_to_parts(abstract), lacking)
    self._restored = step
    return (0, None) if step is None or parts is None else (step, _from_parts(parts))

  @contextlib.contextmanager
  def open(
    self, first: int, losses_M: Any, progress: progress_lib.Progress
  ) -> Iterator['Recorder']:
    """Holds the logs open from the step `first` on; a person sees `progress`."""
    self._progress = progress
    self._watch = loss_spikes.Watch(self._config.log.spike, np.asarray(losses_M))
    run = trackers.describe(self._workdir, self._config, first)
    writes = distributed.is_first()
    with (
      logs.Logs(self._workdir, first, writes) as self._logs,
      trackers.Trackers(run, progress.say, writes) as self._trackers,
    ):
      # Its own lines decide, so that a resumed run stops where an unbroken one does.
      self._evaluations = [line for line in self._logs.read('evaluations') if line['step'] <= first]
      # A run that begins again at step 0 is evaluated there again, as if it never had been.
      ends = range(1, len(self._evaluations) + 1) if first else ()
      scores = [self._ranked(self._evaluations[:end]) for end in ends]
      self._best = min((score for score in scores if score is not None), default=math.inf)
      self._metrics = [line for line in self._logs.read('metrics') if line['step'] <= first][-2:]
      # Saved after the evaluation that ends it, but the process died before it noted the end.
      if self._evaluations and self._evaluations[-1]['step'] == first:
        self.why_stopped = stopping.reason(self._problem, self._evaluations)
      try:
        yield self
      finally:
        self._saved.wait()  # a save that has begun ends, whatever ends the run

  @property
  def logged(self) -> int:
    """The step of the last line of metrics.jsonl, 0 where there is none."""
    return self._metrics[-1]['step'] if self._metrics else 0

  def _ranked(self, evaluations: list[dict]) -> float | None:
    """Returns the last evaluation's score, less being better; None where it cannot be the best."""
    score = evaluations[-1].get(self._problem.ranking.field)
    if score is None or not math.isfinite(score):
      return None
    if stopping.beyond(self._problem.ranking, evaluations):
      return None
    return stopping.best_first(self._problem.ranking, score)

  def ended(self, step: int, skipped: int, values: dict[str, float]) -> None:
    """Notes how a step ended.

    Args:
      step: 1-based.
      skipped: the non-finite gradients in a row up to it.
      values: of the spike metric and `gradient_norm`.
    """
    # Steps that were queued ahead may have been skipped too: the last of them has the number. A
    # finite one among them does not undo what has ended the run.
    if skipped or not self.diverged:
      self._skipped = step - skipped + 1, skipped
    self.diverged |= skipped >= self._config.optim.max_consecutive_nonfinite
    metric = self._problem.spike_metric
    median = self._watch.add(values[metric]) if metric in values else None
    if median is None:
      return
    rows = self._problem.examples(step - 1)[:_ROWS_OF_SPIKE].tolist()
    self._write(
      'spikes',
      step,
      {
        metric: values[metric],
        'median': median,
        'gradient_norm': values['gradient_norm'],
        'rows': rows,
      },
    )
    self._progress.say(
      f'{self._name}step {step}: the {metric} spiked to {values[metric]:.3f}, from {median:.3f} '
      '(median of the steps before it); its rows are in spikes.jsonl'
    )

  def _write(self, log: str, step: int, values: dict[str, Any]) -> dict[str, Any]:
    """Appends a line to a log, and shows it in the trackers; returns the line."""
    line = self._logs.write(log, step, values)
    self._trackers.write(log, step, values)
    return line

  def measured(self, step: int, values: dict, timing: dict) -> None:
    """Writes the metrics of the steps since the last time, and how long they took."""
    self._metrics = [*self._metrics[-1:], self._write('metrics', step, values)]
    self._write('timing', step, timing)

  def evaluated(self, step: int, results: dict[str, dict[str, float]]) -> bool:
    """Writes {evaluator: {metric: value}}; returns whether it is the best so far, to be saved."""
    line = {
      f'{name}_{metric}': value
      for name, values in results.items()
      for metric, value in values.items()
    }
    # That of step 0 may be there, from a start that was killed before it saved anything later.
    if [each['step'] for each in self._evaluations[-1:]] != [step]:
      self._evaluations.append(self._write('evaluations', step, line))
    self._progress.evaluated(step, results, self._name)
    self.why_stopped = stopping.reason(self._problem, self._evaluations)
    score = self._ranked(self._evaluations)
    if score is None:
      return False
    self._score = step, line[self._problem.ranking.field]
    is_best = self._config.checkpoint.keep_best > 0 and score < self._best
    self._best = min(self._best, score)
    return is_best

  def fault(self, step: int, params: Any) -> str:
    """Returns what is not finite of a run that ends at a step; '' where it may end so."""
    return divergence.seen(step, self._skipped, params, self._metrics, self._evaluations)

  def final_model(self, step: int, params: Any, aux: Any) -> tuple[int, Any, Any]:
    """Returns (step, params, aux) of the run's model, from those of the step that it ends at."""
    if self._problem.keeps == 'last':
      return step, params, aux
    self._saved.wait()
    best = distributed.from_first(self._saved.best())
    if best in (None, step):
      return step, params, aux
    _, *found = checkpoint.read_model(self._workdir / 'checkpoints', best)
    put = lambda new, old: jax.tree.map(lambda a, b: jax.device_put(a, b.sharding), new, old)
    return best, put(found[0], params), put(found[1], aux)

  def report(self, step: int, params: Any, aux: Any) -> None:
    """Writes the final reports, files in the run's folder with the step that they are of."""
    # All processes make them, since the parameters lie on the devices of all; one writes.
    reports = self._problem.final_reports(params, aux)
    for name, content in reports.items() if distributed.is_first() else ():
      path = self._workdir / name
      if name.endswith('.npz'):
        files.write_arrays(path, types.SimpleNamespace(step=np.int64(step), **content))
      elif name.endswith('.jsonl'):
        files.write(path, ''.join(json.dumps(each, ensure_ascii=False) + '\n' for each in content))
      else:
        files.write(path, json.dumps({'step': step, **content}, indent=1) + '\n')

  def save(self, step: int, run_state: RunState) -> None:
    """Starts to save; the logs up to here reach the disk before the step does."""
    if step == self._restored:  # of step 0, where what is due at the start is due again
      return
    losses_M = jax.device_put(self._watch.losses_M, run_state.losses_M.sharding)
    evaluated, score = self._score
    # A checkpoint ahead of its logs would leave a gap in them when the run resumes from it.
    marks = self._logs.flush()
    self._saved.save(
      step,
      _to_parts(run_state._replace(losses_M=losses_M)),
      score if evaluated == step else None,
      marks,
    )

  def finish(self, step: int, reason: str, model: int) -> None:
    """Notes that the run is finished, once its last step is whole on disk.

    Args:
      step: the last one.
      reason: why it ends there.
      model: the step that is the run's model.
    """
    self._saved.wait()  # a run that counts as finished has a last step that can be read
    if distributed.is_first():
      workdir_lib.finish(self._workdir, step, reason, model)
    self._trackers.end(interface.DONE)

  def diverge(self, step: int, reason: str) -> None:
    """Notes that the run has diverged, once the step at which that was seen is whole on disk."""
    self._saved.wait()
    if distributed.is_first():
      workdir_lib.diverge(self._workdir, step, reason)
    self._trackers.end(interface.DIVERGED)

  def leave(self) -> None:
    """Tells the trackers that the run goes on later, unless it has ended, and waits for none."""
    self._trackers.end(interface.STOPPED)
