"""The training loop: build, restore, step, log, evaluate, save, in this order.

It orders effects and computes nothing. What is trained, on what and how it is
scored comes in a Problem, so every kind of training shares this loop.
"""

import collections
import contextlib
import dataclasses
import math
import time
import typing
from typing import Any, Callable

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import checkpoint
from mlm_jax import metrics as metrics_lib
from mlm_jax import optim
from mlm_jax import processes
from mlm_jax import reporter
from mlm_jax import rng
from mlm_jax import sharding
from mlm_jax import spikes
from mlm_jax import step as step_lib
from mlm_jax import workdir as workdir_lib
from mlm_jax.data import pipeline
from mlm_jax.models import flops

_PROFILED = 5        # steps of a trace, after as many that are left out
_ROWS_OF_SPIKE = 64  # rows of a batch that spikes.jsonl names


class Diverged(Exception):
  """Too many gradients in a row were not finite; the state, which they left alone, is saved."""


@dataclasses.dataclass(frozen=True)
class Stage:
  """Steps that follow one another with one batch size, data and peak learning rate.

  Attributes:
    first: the 0-based step that it begins with.
    config: the run's, as it is in this stage.
    objective: prepare, weights, loss (see objectives/).
    policy: what `objective.prepare` is given.
    batch: (step) -> this process's rows of the step's batch, on the host.
    examples: (step) -> the (source, row) pairs of the whole batch, [B, 2].
  """
  first: int
  config: Any
  objective: Any
  policy: Any
  batch: Callable
  examples: Callable


@dataclasses.dataclass(frozen=True)
class Problem:
  """What a training run is about.

  Attributes:
    stages: tuple of Stage, in their order; the first begins with step 0.
    init: (key) -> params.
    evaluators: {name: (params, progress) -> {metric: value}}.
    ranked_by: (evaluator, metric) whose least value marks the best checkpoint.
    cost: ({metric: (sum, weight)}) -> FLOPs of the steps that they were summed over.
    facts: {name: text} that must be the same whenever the run is taken up again.
  """
  stages: tuple
  init: Callable
  evaluators: dict
  ranked_by: tuple
  cost: Callable
  facts: dict

  def stage_at(self, step):
    """Returns the number of the stage that a 0-based step belongs to."""
    return max(n for n, stage in enumerate(self.stages) if stage.first <= step)


@dataclasses.dataclass(frozen=True)
class Compiled:
  """The problem's functions, jitted on a mesh.

  Attributes:
    init: (key) -> TrainState.
    steps: one a stage: (state, policy, batch, key) -> (state, metrics).
    batch: (step) -> the step's global batch on the devices.
    state: the TrainState's shapes, dtypes and places.
    steps_ahead: steps that may be queued before the oldest must have ended.
  """
  init: Callable
  steps: tuple
  batch: Callable
  state: Any
  steps_ahead: int


def compile_problem(problem, config, mesh):
  """Returns the jitted init and train steps of a problem."""
  init = step_lib.make_init(problem.init, optim.make(config.optim, config.total_steps))
  state = jax.eval_shape(init, rng.root_key(0))
  places = sharding.by_rules(mesh, state)
  whole, rows = sharding.replicated(mesh), sharding.by_rows(mesh)

  def step(stage):
    c = stage.config
    train_step = step_lib.make_train_step(
        stage.objective, optim.make(c.optim, c.total_steps), optim.schedule(c.optim, c.total_steps),
        c.total_steps, c.micro_batches)
    # Without out_shardings layouts drift and the step compiles twice.
    return jax.jit(train_step, in_shardings=(places, whole, rows, whole),
                   out_shardings=(places, whole), donate_argnums=0)

  def batch(number):
    stage = problem.stages[problem.stage_at(number)]
    return sharding.put(stage.batch(number), mesh, stage.config.batch_size)

  return Compiled(
      init=jax.jit(init, out_shardings=places), steps=tuple(map(step, problem.stages)), batch=batch,
      state=_placed(state, places),
      # On a CPU, queued steps with collectives can starve each other of threads.
      steps_ahead=0 if mesh.devices.flat[0].platform == 'cpu' else 2)


def _placed(tree, places):
  return jax.tree.map(lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree, places)


def run(problem, config, workdir, mesh, log=print, profile=False):
  """Trains until config.total_steps, from the newest intact checkpoint on.

  Args:
    problem: Problem.
    config: the run's, resolved.
    workdir: pathlib.Path.
    mesh: see `sharding`.
    log: takes lines of text.
    profile: whether to write a trace of a few steps to WORKDIR/profile.

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
  batches = pipeline.prefetch(compiled.batch, first, config.total_steps)
  with contextlib.ExitStack() as stack:
    logs = stack.enter_context(workdir_lib.Logs(workdir, first, config.log.tensorboard, processes.is_first()))
    stack.callback(saved.wait)
    stack.callback(batches.close)
    report = stack.enter_context(reporter.Reporter(config, first, log, _peak(mesh)))
    stop = stack.enter_context(processes.StopSignal())
    trace = stack.enter_context(_Trace(workdir / 'profile', first + 1 + _PROFILED, log)) if profile else None
    loop = _Loop(problem, config, compiled, saved, logs, report, first, carry.losses_M)
    if first == 0 and config.checkpoint.log_spaced:
      loop.save(0, carry)
    for step in range(first + 1, config.total_steps + 1):
      if trace:
        trace.at(step)
      carry = loop.advance(step, carry, loop.wait_for(batches), root_key)
      is_best, loss = loop.evaluate(step, carry)
      stopping = stop.at(step)   # a signal that comes later counts at the next step
      if stopping or loop.diverged or is_best or loop.save_is_due(step):
        loop.save(step, carry, loss)
      if loop.diverged:
        raise Diverged(f'step {step}: {loop.diverged} gradients in a row were not finite; the state is '
                       'saved; start anew in another --workdir with a lower '
                       'config.optim.learning_rate, or with config.optim.clip_norm')
      if stopping and step < config.total_steps:
        log(f'stopped by {stopping} at step {step}, which is saved; the same command goes on')
        return False
  return True


def _peak(mesh):
  """Returns the FLOP/s that the devices together can do, None where it is not known."""
  one = flops.peak(mesh.devices.flat[0].device_kind)
  return one and one * mesh.devices.size


def is_finished(config, workdir, log):
  """Returns whether the run's last step is saved and whole, and says so."""
  last = workdir / 'checkpoints' / str(config.total_steps)
  if checkpoint.verify(last):
    return False
  log(f'{workdir} is finished: {config.total_steps} steps')
  return True


def _start(problem, config, compiled, mesh, saved, log):
  """Returns (the carry, the step): restored, or new at step 0."""
  key = rng.named(rng.root_key(config.seed), 'init')
  batch = jax.eval_shape(lambda: compiled.batch(0))
  window = jax.eval_shape(compiled.steps[0], compiled.state, problem.stages[0].policy, batch, key)[1]
  whole = sharding.replicated(mesh)
  window = _placed(window, jax.tree.map(lambda _: whole, window))
  losses_M = jax.device_put(spikes.Watch(0).losses_M, whole)
  parts = _to_parts(_Carry(compiled.state, window, losses_M))
  step, parts = saved.restore_newest(parts)
  if step is None:
    return _Carry(compiled.init(key), _zeros(window), losses_M), 0
  if step < config.total_steps:
    log(f'goes on from step {step}')
  return _from_parts(parts), step


class _Carry(typing.NamedTuple):
  """What a run taken up again needs in order to go on as if it had never stopped.

  Attributes:
    state: TrainState.
    window: the metric sums since the last line of metrics.jsonl.
    losses_M: of the last steps, see `spikes`.
  """
  state: Any
  window: Any
  losses_M: Any


def _to_parts(carry):
  """Returns a checkpoint's parts; whoever only uses the model reads `params` alone."""
  state = carry.state
  return {'params': state.params, 'optimizer': state.opt_state, 'window': carry.window,
          'counters': {'step': state.step, 'skipped': state.skipped, 'losses_M': carry.losses_M}}


def _from_parts(parts):
  counters = dict(parts['counters'])
  losses_M = counters.pop('losses_M')
  state = step_lib.TrainState(params=parts['params'], opt_state=parts['optimizer'], **counters)
  return _Carry(state, parts['window'], losses_M)


def _zeros(tree):
  return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype, device=x.sharding), tree)


class _Loop:
  """The effects of one step, each a method; `run` puts them in order."""

  def __init__(self, problem, config, compiled, saved, logs, report, first, losses_M):
    self._problem, self._config, self._compiled = problem, config, compiled
    self._saved, self._logs, self._report = saved, logs, report
    self._add = jax.jit(metrics_lib.add)
    self._in_flight = collections.deque()   # what tells that a step has ended, and how
    self._unwritten = []   # (step, window, timing), read when no longer new
    self._watch = spikes.Watch(config.log.spike, np.asarray(losses_M))
    self._stage = None     # of the last step; the first step of each compiles
    seen = [line.get(self._ranking) for line in logs.read('evaluations') if line['step'] <= first]
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
    number = self._problem.stage_at(step - 1)
    stage, is_new = self._problem.stages[number], number != self._stage
    self._stage = number
    with self._report.paused() if is_new else contextlib.nullcontext():   # it compiles
      state, sums = self._compiled.steps[number](carry.state, stage.policy, batch, root_key)
    window = self._add(carry.window, sums)
    # + 0: the state is donated to the next step.
    self._in_flight.append((step, state.skipped + 0, sums))
    self._read_steps(self._compiled.steps_ahead)
    self._report.stepped(stage.config)
    self._write_metrics()
    if step % self._config.log.every == 0 or step == self._config.total_steps:
      self._unwritten.append((step, window, self._report.lap(step)))
      window = _zeros(window)
    return carry._replace(state=state, window=window)

  def _read_steps(self, in_flight):
    """Waits until no more steps than that are in flight; looks at how the others ended."""
    while len(self._in_flight) > in_flight:
      step, skipped, sums = self._in_flight.popleft()
      skipped = int(skipped)
      self.diverged = max(self.diverged, skipped if skipped >= self._config.optim.stop_after_skips else 0)
      values = metrics_lib.means(jax.device_get({name: sums[name] for name in ('loss', 'gradient_norm')}))
      median = self._watch.add(values['loss']) if 'loss' in values else None
      if median is not None:
        self._spiked(step, values, median)

  def _spiked(self, step, values, median):
    """Notes a step whose loss stands out, with the rows that were in its batch."""
    stage = self._problem.stages[self._problem.stage_at(step - 1)]
    rows = stage.examples(step - 1)[:_ROWS_OF_SPIKE].tolist()
    self._logs.write('spikes', step, {'loss': values['loss'], 'median': median,
                                      'gradient_norm': values['gradient_norm'], 'rows': rows})
    self._report.say(f'step {step}: the loss spiked to {values["loss"]:.3f}, from {median:.3f} (median of the steps '
                     'before it); its rows are in spikes.jsonl')

  def evaluate(self, step, carry):
    """Evaluates where it is due; returns (whether none was better before, the ranking loss or None)."""
    if step % self._config.evaluation.every and step != self._config.total_steps:
      return False, None
    self._read_steps(0)
    self._write_metrics()
    results = {}
    with self._report.paused():
      for name, evaluator in self._problem.evaluators.items():
        results[name] = evaluator(carry.state.params, step / self._config.total_steps)
    line = {f'{name}_{metric}': value for name, values in results.items()
            for metric, value in values.items()}
    self._logs.write('evaluations', step, line)
    self._report.evaluated(step, results)
    loss = line.get(self._ranking)
    loss = loss if loss is not None and math.isfinite(loss) else None
    is_best = self._config.checkpoint.keep_best > 0 and loss is not None and loss < self._least
    self._least = min(self._least, float('inf') if loss is None else loss)
    return is_best, loss

  def save_is_due(self, step):
    config = self._config.checkpoint
    return (step % config.every == 0 or step == self._config.total_steps
            or config.log_spaced and checkpoint.is_log_spaced(step))

  def save(self, step, carry, loss=None):
    """Starts to save; the logs up to here reach the disk before the step does."""
    self._read_steps(0)
    self._write_metrics()
    losses_M = jax.device_put(self._watch.losses_M, carry.losses_M.sharding)
    with self._report.paused():
      self._logs.flush()
      self._saved.save(step, _to_parts(carry._replace(losses_M=losses_M)), loss)

  def _write_metrics(self):
    for step, window, timing in self._unwritten:
      sums = jax.device_get(window)
      values = metrics_lib.means(sums)
      timing |= self._report.rates(timing, values, self._problem.cost(sums))
      self._logs.write('metrics', step, values)
      self._logs.write('timing', step, timing)
      self._report.logged(step, values, timing)
    self._unwritten = []


class _Trace:
  """A profile of a few steps, for TensorBoard or xprof, beginning before step `first`."""

  def __init__(self, folder, first, log):
    self._folder, self._steps, self._log = folder, range(first, first + _PROFILED), log
    self._running = False
    self._last = 0

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    if self._running:
      self._stop()
    elif self._last < self._steps.start:
      self._log(f'profile: none, since the run ended before step {self._steps.start}')

  def at(self, step):
    """To be called before each step."""
    self._last = step
    if step == self._steps.start:
      jax.profiler.start_trace(self._folder)
      self._running = True
    elif step == self._steps.stop and self._running:
      self._stop()

  def _stop(self):
    jax.profiler.stop_trace()
    self._running = False
    self._log(f'profile: {self._folder}')
