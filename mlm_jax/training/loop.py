"""The training loop: build, restore, step, log, evaluate, save, in this order.

It orders effects and computes nothing. What is trained, on what and how it is
scored comes in a Problem, so every kind of training shares this loop.
"""

import collections
import contextlib
import dataclasses
import time
from typing import Any
from typing import Callable

import jax
import jax.numpy as jnp

from mlm_jax.core import metrics as metrics_lib
from mlm_jax.core import rng
from mlm_jax.data import loader
from mlm_jax.models import flops
from mlm_jax.training import checkpoint
from mlm_jax.training import distributed
from mlm_jax.training import loss_spikes
from mlm_jax.training import optim
from mlm_jax.training import progress
from mlm_jax.training import run_log
from mlm_jax.training import sharding
from mlm_jax.training import step as step_lib

_PROFILED = 5  # steps of a trace, after as many that are left out


class Diverged(Exception):
  """Too many gradients in a row were not finite; the state, which they left alone, is saved.

  The command line gives it an exit status of its own: the same config would diverge again.
  """


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
    evaluators: {name: (params, progress, adapted) -> {metric: value}}; see step.TrainState. Of
      a population, a list with the dict of each run.
    slices: (params, adapted) -> what slices.json holds, see evaluation/slices.py. Of a
      population, a list of those of each run.
    ranked_by: (evaluator, metric) whose least value marks the best checkpoint.
    cost: ({metric: (sum, weight)}) -> FLOPs of the steps that they were summed over.
    fingerprints: {name: text} that must be the same whenever the run is taken up again.
    adapted: what the masking policy has learned before the first step; {} where it learns nothing.
    start: params in place of init's; None for these.
  """

  stages: tuple
  init: Callable
  evaluators: dict
  slices: Any
  ranked_by: tuple
  cost: Callable
  fingerprints: dict
  adapted: dict = dataclasses.field(default_factory=dict)
  start: Any = None

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
    peak: FLOP/s that the devices together can do; None where it is not known.
    replicas: None where one run is trained; R where states and metrics have a leading axis
      of R runs (see tasks/population.py).
    part: (RunState, r) -> the RunState of run r.
  """

  init: Callable
  steps: tuple
  batch: Callable
  state: Any
  steps_ahead: int
  peak: float | None
  replicas: int | None = None
  part: Callable = lambda run_state, r: run_state


def compile_problem(problem, config, mesh):
  """Returns the jitted init and train steps of a problem."""
  init = step_lib.make_init(
    problem.init, optim.make(config.optim, config.total_steps), problem.adapted
  )
  state = jax.eval_shape(init, rng.root_key(0))
  places = sharding.by_rules(mesh, state)
  whole, rows = sharding.replicated(mesh), sharding.by_rows(mesh)

  def step(stage):
    c = stage.config
    train_step = step_lib.make_train_step(
      stage.objective,
      optim.make(c.optim, c.total_steps),
      optim.schedule(c.optim, c.total_steps),
      c.total_steps,
      c.grad_accumulation_steps,
    )
    # Without out_shardings layouts drift and the step compiles twice.
    return jax.jit(
      train_step,
      in_shardings=(places, whole, rows, whole),
      out_shardings=(places, whole),
      donate_argnums=0,
    )

  def batch(number):
    stage = problem.stages[problem.stage_at(number)]
    return sharding.put(stage.batch(number), mesh, stage.config.batch_size)

  return Compiled(
    init=jax.jit(init, out_shardings=places),
    steps=tuple(map(step, problem.stages)),
    batch=batch,
    state=_placed(state, places),
    # On a CPU, queued steps with collectives can starve each other of threads.
    steps_ahead=0 if mesh.devices.flat[0].platform == 'cpu' else 2,
    peak=_peak(mesh),
  )


def _placed(tree, places):
  return jax.tree.map(
    lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), tree, places
  )


def _peak(mesh):
  one = flops.peak(mesh.devices.flat[0].device_kind)
  return one and one * mesh.devices.size


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
    Diverged: config.optim.max_consecutive_nonfinite non-finite gradients in a row.
    UserError: a checkpoint cannot be written.
  """
  compiled = compile_problem(problem, config, mesh)
  record = make_recorder(problem, config, workdir, log)
  run_state, first = start(problem, config, compiled, mesh, record)
  if 0 < first < config.total_steps:
    log(f'goes on from step {first}')
  root_key = rng.root_key(config.seed)
  tracing = (
    _Trace(workdir / 'profile', first + 1 + _PROFILED, log) if profile else contextlib.nullcontext()
  )
  with tracing as trace:
    errors, stopped = advance(
      problem,
      config,
      compiled,
      [record],
      run_state,
      first,
      config.total_steps,
      root_key,
      log,
      trace,
    )
  if errors:
    raise Diverged(errors[0])
  return not stopped


def make_recorder(problem, config, workdir, log, name=''):
  """Returns the recorder.Recorder of a run; `name` stands before what is said of it."""
  examples = lambda step: problem.stages[problem.stage_at(step)].examples(step)
  return run_log.Recorder(workdir, config, '_'.join(problem.ranked_by), examples, log, name)


def advance(problem, config, compiled, records, run_state, first, last, root_key, log, trace=None):
  """Trains from step `first` to step `last`, which is saved.

  Args:
    problem, config, compiled: of the run; of a population, what its runs share.
    records: a recorder.Recorder for each run.
    run_state: recorder.RunState at step `first`.
    root_key: what the compiled steps take.
    log: takes lines of text.
    trace: _Trace or None.

  Returns:
    ({number of a run that diverged: why}, whether a signal stopped it before `last`).
  """
  batches = loader.prefetch(compiled.batch, first, last)
  with contextlib.ExitStack() as stack:
    report = progress.Reporter(config, first, log, compiled.peak, compiled.replicas)
    for r, record in enumerate(records):
      stack.enter_context(record.open(first, compiled.part(run_state, r).losses_M, report))
    stack.callback(batches.close)
    stack.enter_context(report)
    stop = stack.enter_context(distributed.StopSignal())
    loop = _Loop(problem, config, compiled, records, report)
    if first == 0 and config.checkpoint.log_spaced:
      loop.save(0, run_state)
    for step in range(first + 1, last + 1):
      if trace:
        trace.at(step)
      run_state = loop.advance(step, run_state, loop.wait_for(batches), root_key)
      is_best = loop.evaluate(step, run_state)
      if step == config.total_steps:
        loop.slice(step, run_state)
      stopping = stop.at(step)  # a signal that comes later counts at the next step
      if stopping or is_best or step == last or loop.save_is_due(step):
        loop.save(step, run_state)
      loop.leave_diverged(step, run_state)
      if not loop.live:
        break
      if stopping and step < last:
        log(f'stopped by {stopping} at step {step}, which is saved; the same command goes on')
        return loop.errors, True
  return loop.errors, False


def is_finished(config, workdir, log):
  """Returns whether the run's last step is saved and whole, and says so."""
  last = workdir / 'checkpoints' / str(config.total_steps)
  if checkpoint.verify(last):
    return False
  log(f'{workdir} is finished: {config.total_steps} steps')
  return True


def start(problem, config, compiled, mesh, record):
  """Returns (the recorder.RunState, the step) of one run: restored, or new at step 0."""
  key = rng.named(rng.root_key(config.seed), 'init')
  batch = jax.eval_shape(lambda: compiled.batch(0))
  window = jax.eval_shape(compiled.steps[0], compiled.state, problem.stages[0].policy, batch, key)[
    1
  ]
  whole = sharding.replicated(mesh)
  window = _placed(window, jax.tree.map(lambda _: whole, window))
  losses_M = jax.device_put(loss_spikes.Watch(0).losses_M, whole)
  step, run_state = record.restore(run_log.RunState(compiled.state, window, losses_M))
  if run_state is None:
    state = compiled.init(key)
    if problem.start is not None:
      places = jax.tree.map(lambda x: x.sharding, state.params)
      state = dataclasses.replace(state, params=jax.device_put(problem.start, places))
    run_state = run_log.RunState(state, _zeros(window), losses_M)
  return run_state, step


def _zeros(tree):
  return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype, device=x.sharding), tree)


class _Loop:
  """The effects of one step, each a method; `advance` puts them in order.

  Attributes:
    live: {number: Recorder} of the runs that have not diverged.
    errors: {number: text} of those that have.
  """

  def __init__(self, problem, config, compiled, records, report):
    self._problem, self._config, self._compiled, self._report = problem, config, compiled, report
    self._add = jax.jit(metrics_lib.add)
    self._in_flight = collections.deque()  # what tells that a step has ended, and how
    self._unwritten = []  # (step, window, timing), read when no longer new
    self._stage = None  # of the last step; the first step of each compiles
    self._saved = None  # the last step that was
    self._is_alone = compiled.replicas is None
    self.live, self.errors = dict(enumerate(records)), {}

  def _of(self, r, values):
    """Returns run r's part of values on the host, which have an axis of runs where there are
    several.
    """
    return values if self._is_alone else jax.tree.map(lambda x: x[r], values)

  def wait_for(self, batches):
    """Returns the next batch; the time that takes is the loader's to answer for."""
    began = time.perf_counter()
    batch = next(batches)
    self._report.waited(time.perf_counter() - began)
    return batch

  def advance(self, step, run_state, batch, root_key):
    """Queues one step; writes the metrics that earlier steps left behind."""
    number = self._problem.stage_at(step - 1)
    stage, is_new = self._problem.stages[number], number != self._stage
    self._stage = number
    with self._report.paused() if is_new else contextlib.nullcontext():  # it compiles
      state, sums = self._compiled.steps[number](run_state.state, stage.policy, batch, root_key)
    window = self._add(run_state.window, sums)
    # + 0: the state is donated to the next step.
    self._in_flight.append((step, state.skipped + 0, sums))
    self._read_steps(self._compiled.steps_ahead)
    self._report.stepped(stage.config)
    self._write_metrics()
    if step % self._config.log.every == 0 or step == self._config.total_steps:
      self._unwritten.append((step, window, self._report.lap(step)))
      window = _zeros(window)
    return run_state._replace(state=state, window=window)

  def _read_steps(self, in_flight):
    """Waits until no more steps than that are in flight; looks at how the others ended."""
    while len(self._in_flight) > in_flight:
      step, skipped, sums = self._in_flight.popleft()
      skipped, sums = jax.device_get(
        (skipped, {name: sums[name] for name in ('loss', 'gradient_norm')})
      )
      for r, record in self.live.items():
        record.ended(step, int(self._of(r, skipped)), metrics_lib.means(self._of(r, sums)))

  def evaluate(self, step, run_state):
    """Evaluates where it is due; returns whether it was some run's best, and so to be saved."""
    if step % self._config.evaluation.every and step != self._config.total_steps:
      return False
    self._read_steps(0)
    self._write_metrics()
    with self._report.paused():
      results = {
        name: evaluator(
          run_state.state.params, step / self._config.total_steps, run_state.state.adapted
        )
        for name, evaluator in self._problem.evaluators.items()
      }
    is_best = False
    for r, record in self.live.items():
      own = results if self._is_alone else {name: each[r] for name, each in results.items()}
      is_best |= record.evaluated(step, own)
    return is_best

  def slice(self, step, run_state):
    """Scores the runs by slices of the held-out tokens; before the last save, so that it has
    them.
    """
    with self._report.paused():
      for r, record in self.live.items():
        state = self._compiled.part(run_state, r).state
        score = self._problem.slices if self._is_alone else self._problem.slices[r]
        record.sliced(step, score(state.params, state.adapted))

  def save_is_due(self, step):
    config = self._config.checkpoint
    return (
      step % config.every == 0
      or step == self._config.total_steps
      or config.log_spaced
      and checkpoint.is_log_spaced(step)
    )

  def save(self, step, run_state):
    """Starts to save every run; its logs up to here reach the disk before the step does."""
    self._save(step, run_state, self.live)

  def leave_diverged(self, step, run_state):
    """Saves the runs with too many non-finite gradients in a row, and turns away from them."""
    over = {r: record for r, record in self.live.items() if record.diverged}
    if over and self._saved != step:
      self._save(step, run_state, over)
    for r, record in over.items():
      del self.live[r]
      self.errors[r] = (
        f'step {step}: {record.diverged} gradients in a row were not finite; the state is saved; '
        'start '
        'anew in another --workdir with a lower config.optim.learning_rate, or with '
        'config.optim.clip_norm'
      )

  def _save(self, step, run_state, records):
    self._read_steps(0)
    self._write_metrics()
    with self._report.paused():
      for r, record in records.items():
        record.save(step, self._compiled.part(run_state, r))
    if records is self.live:
      self._saved = step

  def _write_metrics(self):
    for step, window, timing in self._unwritten:
      window, lines = jax.device_get(window), []
      for r, record in self.live.items():
        sums = self._of(r, window)
        values = metrics_lib.means(sums)
        lines.append(
          (values, timing | self._report.rates(timing, values, self._problem.cost(sums)))
        )
        record.measured(step, *lines[-1])
      self._report.logged(step, lines)
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
