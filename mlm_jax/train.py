"""The training loop: build, restore, step, log, evaluate, save, in this order.

It orders effects and computes nothing. What is trained, on what and how it is
scored comes in a Problem, so every kind of training shares this loop.
"""

import collections
import contextlib
import dataclasses
import os
import signal
import threading
import time
from typing import Any, Callable

import jax
import jax.numpy as jnp

from mlm_jax import checkpoint
from mlm_jax import metrics as metrics_lib
from mlm_jax import optim
from mlm_jax import reporter
from mlm_jax import rng
from mlm_jax import sharding
from mlm_jax import step as step_lib
from mlm_jax import workdir as workdir_lib
from mlm_jax.data import pipeline


class Diverged(Exception):
  """Too many gradients in a row were not finite; the state, which they left alone, is saved."""


@dataclasses.dataclass(frozen=True)
class Problem:
  """What a training run is about.

  Attributes:
    objective: prepare, weights, loss (see objectives/).
    policy: what `objective.prepare` is given.
    init: (key) -> params.
    batch: (step) -> this process's rows of the step's batch, on the host.
    evaluators: {name: (params, progress) -> {metric: value}}.
    ranked_by: (evaluator, metric) whose least value marks the best checkpoint.
    facts: {name: text} that must be the same whenever the run is taken up again.
  """
  objective: Any
  policy: Any
  init: Callable
  batch: Callable
  evaluators: dict
  ranked_by: tuple
  facts: dict


@dataclasses.dataclass(frozen=True)
class Compiled:
  """The problem's functions, jitted on a mesh."""
  init: Callable   # (key) -> TrainState
  step: Callable   # (state, policy, batch, key) -> (state, metrics)
  put: Callable    # host batch -> device batch
  steps_ahead: int  # steps that may be queued before the oldest must have ended


def compile_problem(problem, config, mesh):
  """Returns the jitted init and train step of a problem."""
  optimizer = optim.make(config.optim, config.total_steps)
  rate = optim.schedule(config.optim, config.total_steps)
  train_step = step_lib.make_train_step(
      problem.objective, optimizer, rate, config.total_steps, config.micro_batches)
  whole, rows = sharding.replicated(mesh), sharding.by_rows(mesh)
  return Compiled(
      init=jax.jit(step_lib.make_init(problem.init, optimizer), out_shardings=whole),
      # Without out_shardings layouts drift and the step compiles twice.
      step=jax.jit(train_step, in_shardings=(whole, whole, rows, whole),
                   out_shardings=(whole, whole), donate_argnums=0),
      put=lambda batch: sharding.put(batch, mesh),
      # On a CPU, queued steps with collectives can starve each other of threads.
      steps_ahead=0 if mesh.devices.flat[0].platform == 'cpu' else 2)


def run(problem, config, workdir, mesh, log=print):
  """Trains until config.total_steps, from the newest intact checkpoint on.

  Returns True when the run is complete, False when SIGTERM or SIGINT stopped it
  (its state is saved; the same call goes on from there).

  Raises:
    Diverged: config.optim.stop_after_skips non-finite gradients in a row.
    UserError: a checkpoint cannot be written.
  """
  compiled = compile_problem(problem, config, mesh)
  saved = checkpoint.Checkpoints(workdir / 'checkpoints', config.checkpoint, log)
  carry, first = _start(problem, config, compiled, mesh, saved, log)
  root_key = rng.root_key(config.seed)
  batches = pipeline.prefetch(problem.batch, first, config.total_steps, compiled.put)
  with contextlib.ExitStack() as stack:
    logs = stack.enter_context(workdir_lib.Logs(workdir, first, config.log.tensorboard))
    stack.callback(saved.wait)
    stack.callback(batches.close)
    report = stack.enter_context(reporter.Reporter(config, first, log))
    stop = stack.enter_context(_StopSignal())
    loop = _Loop(problem, config, compiled, saved, logs, report)
    if first == 0 and config.checkpoint.log_spaced:
      loop.save(0, carry)
    for step in range(first + 1, config.total_steps + 1):
      carry = loop.advance(step, carry, loop.wait_for(batches), root_key)
      is_best, loss = loop.evaluate(step, carry)
      stopping = stop.name   # a signal that comes later counts at the next step
      if stopping or loop.diverged or is_best or loop.save_is_due(step):
        loop.save(step, carry, loss)
      if loop.diverged:
        raise Diverged(f'step {step}: {loop.diverged} gradients in a row were not finite; the state is '
                       'saved; lower config.optim.learning_rate or set config.optim.clip_norm')
      if stopping and step < config.total_steps:
        log(f'stopped by {stopping} at step {step}, which is saved; the same command goes on')
        return False
  return True


def is_finished(config, workdir, log):
  """Returns whether the run's last step is saved and whole, and says so."""
  last = workdir / 'checkpoints' / str(config.total_steps)
  if checkpoint.verify(last):
    return False
  log(f'{workdir} is finished: {config.total_steps} steps')
  return True


def _start(problem, config, compiled, mesh, saved, log):
  """Returns ((state, window), step): restored, or new at step 0.

  The window holds the metric sums since the last line of metrics.jsonl. It is
  saved too, so that a run taken up between two lines writes the same next one.
  """
  key = rng.named(rng.root_key(config.seed), 'init')
  state = jax.eval_shape(compiled.init, key)
  batch = jax.eval_shape(lambda: compiled.put(problem.batch(0)))
  window = jax.eval_shape(compiled.step, state, problem.policy, batch, key)[1]
  whole = sharding.replicated(mesh)
  abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole),
                          _to_parts(state, window))
  step, parts = saved.restore_newest(abstract)
  if step is None:
    return (compiled.init(key), _zeros(abstract['window'])), 0
  if step < config.total_steps:
    log(f'goes on from step {step}')
  return _from_parts(parts), step


def _to_parts(state, window):
  """Returns a checkpoint's parts; whoever only uses the model reads `params` alone."""
  return {'params': state.params, 'optimizer': state.opt_state, 'window': window,
          'counters': {'step': state.step, 'skipped': state.skipped}}


def _from_parts(parts):
  state = step_lib.TrainState(params=parts['params'], opt_state=parts['optimizer'], **parts['counters'])
  return state, parts['window']


def _zeros(tree):
  return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype, device=x.sharding), tree)


class _Loop:
  """The effects of one step, each a method; `run` puts them in order."""

  def __init__(self, problem, config, compiled, saved, logs, report):
    self._problem, self._config, self._compiled = problem, config, compiled
    self._saved, self._logs, self._report = saved, logs, report
    self._add = jax.jit(metrics_lib.add)
    self._in_flight = collections.deque()   # what tells that a step has ended, and how
    self._unwritten = []   # (step, window, timing), read when no longer new
    seen = [line.get(self._ranking) for line in logs.read('evaluations')]
    self._least = min([loss for loss in seen if loss is not None], default=float('inf'))
    self.diverged = 0      # non-finite gradients in a row, once there are too many

  @property
  def _ranking(self):
    return '_'.join(self._problem.ranked_by)

  def wait_for(self, batches):
    """Returns the next batch; the time that takes is the loader's to answer for."""
    began = time.perf_counter()
    batch = next(batches)
    self._report.waited(time.perf_counter() - began)
    return batch

  def advance(self, step, carry, batch, root_key):
    """Queues one step; writes the metrics that earlier steps left behind."""
    state, window = carry
    state, sums = self._compiled.step(state, self._problem.policy, batch, root_key)
    window = self._add(window, sums)
    # + 0: the state is donated to the next step.
    self._in_flight.append(state.skipped + 0)
    if len(self._in_flight) > self._compiled.steps_ahead:
      skipped = int(self._in_flight.popleft())
      self.diverged = skipped if skipped >= self._config.optim.stop_after_skips else 0
    self._report.stepped()
    self._write_metrics()
    if step % self._config.log.every == 0 or step == self._config.total_steps:
      self._unwritten.append((step, window, self._report.lap(step)))
      window = _zeros(window)
    return state, window

  def evaluate(self, step, carry):
    """Evaluates where it is due; returns (whether none was better before, the ranking loss or None)."""
    if step % self._config.evaluation.every and step != self._config.total_steps:
      return False, None
    self._write_metrics()
    results = {}
    with self._report.paused():
      for name, evaluator in self._problem.evaluators.items():
        results[name] = evaluator(carry[0].params, step / self._config.total_steps)
    line = {f'{name}_{metric}': value for name, values in results.items()
            for metric, value in values.items()}
    self._logs.write('evaluations', step, line)
    self._report.evaluated(step, results)
    loss = line.get(self._ranking)
    is_best = self._config.checkpoint.keep_best > 0 and loss is not None and loss < self._least
    self._least = min(self._least, float('inf') if loss is None else loss)
    return is_best, loss

  def save_is_due(self, step):
    config = self._config.checkpoint
    return (step % config.every == 0 or step == self._config.total_steps
            or config.log_spaced and checkpoint.is_log_spaced(step))

  def save(self, step, carry, loss=None):
    """Starts to save; the logs up to here reach the disk before the step does."""
    self._write_metrics()
    with self._report.paused():
      self._logs.flush()
      self._saved.save(step, _to_parts(*carry), loss)

  def _write_metrics(self):
    for step, window, timing in self._unwritten:
      values = metrics_lib.means(jax.device_get(window))
      timing['useful_tokens_per_second'] = timing['tokens_per_second'] * (1 - values.get('padding', 0))
      self._logs.write('metrics', step, values)
      self._logs.write('timing', step, timing)
      self._report.logged(step, values, timing)
    self._unwritten = []


class _StopSignal:
  """Notes SIGTERM and SIGINT, so that the step in progress ends and is saved.

  A second SIGINT stops at once. Signals reach the main thread only; elsewhere
  nothing is noted.
  """

  def __init__(self):
    self.name = ''
    self._before = {}

  def __enter__(self):
    if threading.current_thread() is threading.main_thread():
      self._before = {number: signal.signal(number, self._note)
                      for number in (signal.SIGTERM, signal.SIGINT)}
    return self

  def __exit__(self, *unused):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _note(self, number, frame):
    if self.name and number == signal.SIGINT:
      raise KeyboardInterrupt
    self.name = signal.Signals(number).name
    # Not by `print`, which the signal may have interrupted.
    more = '; once more to stop at once' if number == signal.SIGINT else ''
    os.write(2, f'{self.name}: stopping after this step{more}\n'.encode())
