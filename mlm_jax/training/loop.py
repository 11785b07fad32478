"""The training loop: build, restore, step, log, evaluate, save, in this order.

It orders effects and computes nothing. What is trained, on what and how it is
scored comes in a Problem, so every kind of training shares this loop.
"""

import collections
from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp

from mlm_jax.core import metrics as metrics_lib
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.training import checkpoint
from mlm_jax.training import compiled as compiled_lib
from mlm_jax.training import loss_spikes
from mlm_jax.training import prefetch
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import profiling
from mlm_jax.training import progress as progress_lib
from mlm_jax.training import run_log
from mlm_jax.training import signals
from mlm_jax.training import workdir as workdir_lib

ALL_STEPS = 'all steps are done'


class Diverged(Exception):
  """Gradients, parameters, loss or evaluation were not finite at the run's end; its state is saved.

  The command line gives it an exit status of its own: the same config would diverge again.
  """


@dataclasses.dataclass(frozen=True)
class Outcome:
  """How a run ended.

  Attributes:
    state: 'done', 'stopped' (by a signal; the same command continues it) or 'diverged'.
    why: in words.
  """

  state: str
  why: str = ''


def run(
  problem: problem_lib.Problem,
  config: Any,
  workdir: pathlib.Path,
  mesh: jax.sharding.Mesh,
  log: Callable[[str], None] = print,
  profile: bool = False,
) -> bool:
  """Trains until config.total_steps or the stop rule, from the newest intact checkpoint on.

  Args:
    problem: what is trained.
    config: the run's, resolved.
    workdir: the run's folder.
    mesh: see `sharding`.
    log: takes lines of text.
    profile: whether to write a trace of a few steps to WORKDIR/profile.

  Returns:
    Whether the run is complete; False when SIGTERM or SIGINT stopped it (its state is saved, and
    the same call continues from there).

  Raises:
    Diverged: config.optim.max_consecutive_nonfinite non-finite gradients in a row, or what it ends
      with is not finite.
    UserError: a checkpoint cannot be written.
  """
  with progress_lib.compiling():
    compiled = compiled_lib.compile_problem(problem, config, mesh)
    record = run_log.Recorder(workdir, config, problem, log)
    run_state, first = start(problem, config, compiled, record)
  if 0 < first < config.total_steps:
    log(f'resumes at step {first}')
  root_key = rng.root_key(config.seed)
  trace_from = first + 1 + profiling.STEPS
  with (
    profiling.Trace(workdir / 'profile', trace_from, log) if profile else contextlib.nullcontext()
  ) as trace:
    outcomes = advance(
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
  if outcomes[0].state == 'diverged':
    raise Diverged(workdir_lib.diverged_text(workdir, outcomes[0].why))
  return outcomes[0].state == 'done'


def start(
  problem: problem_lib.Problem,
  config: Any,
  compiled: compiled_lib.Compiled,
  record: run_log.Recorder,
) -> tuple[run_log.RunState, int]:
  """Returns (RunState, step) of one run: restored, or new at step 0."""
  whole = compiled.state.step.sharding
  losses_M = jax.device_put(loss_spikes.Watch(0).losses_M, whole)
  step, run_state = record.restore(run_log.RunState(compiled.state, compiled.metrics, losses_M))
  if run_state is None:
    state = compiled.init(rng.named(rng.root_key(config.seed), 'init'))
    if problem.init_params is not None:
      leaves = [
        jax.device_put(problem.init_params.get(path, leaf), leaf.sharding)
        for path, leaf in trees.paths(state.params).items()
      ]
      params = jax.tree.unflatten(jax.tree.structure(state.params), leaves)
      state = dataclasses.replace(state, params=params)
    # Compiled.init may be that of another run, whose `aux` begins with other numbers.
    aux = jax.tree.map(lambda new, x: jax.device_put(new, x.sharding), problem.aux, state.aux)
    state = dataclasses.replace(state, aux=aux)
    run_state = run_log.RunState(state, _zeros(compiled.metrics), losses_M)
  return run_state, step


def advance(
  problem: problem_lib.Problem,
  config: Any,
  compiled: compiled_lib.Compiled,
  records: list[run_log.Recorder],
  run_state: run_log.RunState,
  first: int,
  last: int,
  root_key: jax.Array,
  log: Callable[[str], None],
  trace: profiling.Trace | None = None,
) -> dict[int, Outcome]:
  """Trains from step `first` to step `last`, which is saved.

  Args:
    problem, config, compiled: of the run; of a population, what its runs share.
    records: a Recorder for each run.
    run_state: RunState at step `first`.
    first, last: as said.
    root_key: what the compiled steps take.
    log: takes lines of text.
    trace: of a profile; None for none.

  Returns:
    {number of a run: Outcome} of the runs that ended; a run that reached a `last` before its
    total_steps is not among them.
  """
  batches = prefetch.prefetch(compiled.batch, first, last)
  with contextlib.ExitStack() as stack:
    progress = progress_lib.Progress(problem, config, first, log, compiled.peak, compiled.runs)
    for r, record in enumerate(records):
      stack.enter_context(record.open(first, compiled.part(run_state, r).losses_M, progress))
    # All of them before the first is waited for.
    stack.callback(lambda: [record.leave() for record in records])
    stack.callback(batches.close)
    stack.enter_context(progress)
    stop = stack.enter_context(signals.StopSignal())
    loop = _Loop(problem, config, compiled, records, first, progress)
    if first == 0:
      is_best = config.evaluation.at_start and loop.evaluate(0, run_state)
      if is_best or config.checkpoint.log_spaced:
        loop.save(0, run_state)
    else:
      loop.look_back(first, run_state)
    loop.leave_ended(first, run_state)
    for step in range(first + 1, last + 1):
      if not loop.live:
        break
      if trace:
        trace.at(step)
      run_state = loop.advance(step, run_state, loop.wait_for(batches), root_key)
      # Before the save, which keeps the score with the step.
      is_best = loop.evaluate(step, run_state)
      stopping = stop.at(step)  # a signal that comes later counts at the next step
      if stopping or is_best or step == last or loop.save_is_due(step):
        loop.save(step, run_state)
      loop.leave_ended(step, run_state)
      if stopping and loop.live:
        log(f'stopped by {stopping} at step {step}, which is saved; the same command continues')
        return loop.outcomes | dict.fromkeys(loop.live, Outcome('stopped', stopping))
  return loop.outcomes


def _zeros(tree: Any) -> Any:
  return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype, device=x.sharding), tree)


class _Loop:
  """The effects of one step, each a method; `advance` puts them in order.

  Attributes:
    live: {number: Recorder} of the runs that have not ended.
    outcomes: {number: Outcome} of those that have.
  """

  def __init__(
    self,
    problem: problem_lib.Problem,
    config: Any,
    compiled: compiled_lib.Compiled,
    records: list[run_log.Recorder],
    first: int,
    progress: progress_lib.Progress,
  ):
    self._problem, self._config, self._compiled = problem, config, compiled
    self._progress = progress
    self._add = jax.jit(metrics_lib.add)
    self._in_flight = collections.deque()  # what tells that a step has ended, and how
    # (step, window, its steps, timing). Written one step later, when the devices have work again:
    # to read a window at once would leave them idle.
    self._unwritten: list[tuple[int, Any, int, dict]] = []
    self._window_first = records[0].logged  # the window since then was restored with the state
    self._stage: int | None = None  # of the last step; the first step of each compiles
    self._saved: int | None = first or None  # the last that was; a run starts from a saved one
    self.live: dict[int, run_log.Recorder] = dict(enumerate(records))
    self.outcomes: dict[int, Outcome] = {}

  def wait_for(self, batches: Iterator[Any]) -> Any:
    """Returns the next batch; the time that this takes counts as waiting for data."""
    began = time.perf_counter()
    batch = next(batches)
    self._progress.waited(time.perf_counter() - began)
    return batch

  def advance(
    self, step: int, run_state: run_log.RunState, batch: Any, root_key: jax.Array
  ) -> run_log.RunState:
    """Queues one step; writes the metrics that earlier steps left behind."""
    number = self._problem.stage_at(step - 1)
    is_new, self._stage = number != self._stage, number
    with self._progress.paused(progress_lib.COMPILING) if is_new else contextlib.nullcontext():
      state, sums = self._compiled.steps[number](run_state.state, batch, root_key)
    window = self._add(run_state.window, sums)
    # + 0: the state is donated to the next step.
    self._in_flight.append((step, state.skipped + 0, sums))
    self._read_steps(self._compiled.steps_ahead)
    self._write_metrics()
    if step % self._config.log.every == 0 or step == self._config.total_steps:
      steps, self._window_first = step - self._window_first, step
      self._unwritten.append((step, window, steps, self._progress.lap(step)))
      window = _zeros(window)
    return run_state._replace(state=state, window=window)

  def _read_steps(self, in_flight: int) -> None:
    """Waits until no more steps than that are in flight; looks at how the others ended."""
    # Only what is looked at is copied to the host, for this happens at every step.
    watched = {'gradient_norm', self._problem.spike_metric}
    while len(self._in_flight) > in_flight:
      step, skipped, sums = self._in_flight.popleft()
      sums = {name: value for name, value in sums.items() if name in watched}
      ends = self._compiled.parts(jax.device_get((skipped, sums)))
      for r, record in self.live.items():
        record.ended(step, int(ends[r][0]), metrics_lib.means(ends[r][1]))
      self._progress.ended(step)

  def look_back(self, step: int, run_state: run_log.RunState) -> None:
    """Looks at how the last step ended before this process: it may have been one too many."""
    for r, record in self.live.items():
      record.ended(step, int(self._compiled.part(run_state, r).state.skipped), {})

  def evaluate(self, step: int, run_state: run_log.RunState) -> bool:
    """Evaluates where it is due; returns whether it was some run's best, and so to be saved."""
    if step % self._config.evaluation.every and step != self._config.total_steps:
      return False
    # Outside of the pause: to wait for steps that are still running is training time.
    self._read_steps(0)
    self._write_metrics()
    state, progress = run_state.state, step / self._config.total_steps
    with self._progress.paused(progress_lib.EVALUATING):
      results = {
        name: evaluator(state.params, state.aux, progress)
        for name, evaluator in self._compiled.evaluators.items()
      }
    is_best = False
    for r, record in self.live.items():
      # Not `or`: every run's evaluation is to be written.
      is_best |= record.evaluated(step, {name: each[r] for name, each in results.items()})
    return is_best

  def save_is_due(self, step: int) -> bool:
    """Returns whether the config asks for a checkpoint of this step."""
    config = self._config.checkpoint
    return (
      step % config.every == 0
      or step == self._config.total_steps
      or (config.log_spaced and checkpoint.is_log_spaced(step))
    )

  def save(self, step: int, run_state: run_log.RunState) -> None:
    """Starts to save every run; its logs up to here reach the disk before the step does."""
    self._save(step, run_state, self.live)
    self._saved = step

  def _save(
    self, step: int, run_state: run_log.RunState, records: dict[int, run_log.Recorder]
  ) -> None:
    # A resumed run reads logs only up to its checkpoint, so what came before must be in them.
    self._read_steps(0)
    self._write_metrics()
    with self._progress.paused(progress_lib.SAVING):
      for r, record in records.items():
        record.save(step, self._compiled.part(run_state, r))

  def leave_ended(self, step: int, run_state: run_log.RunState) -> None:
    """Saves the runs that end at this step, writes their reports, and continues without them."""
    ended = {r: outcome for r in self.live if (outcome := self._outcome(r, step, run_state))}
    if ended and self._saved != step:
      self._save(step, run_state, {r: self.live[r] for r in ended})
    for r, outcome in ended.items():
      record = self.live.pop(r)
      self.outcomes[r] = outcome
      if outcome.state == 'done':
        state = self._compiled.part(run_state, r).state
        with self._progress.paused(progress_lib.EVALUATING):
          number, params, aux = record.final_model(step, state.params, state.aux)
          record.report(number, params, aux)
          record.finish(step, outcome.why, number)
      else:
        record.diverge(step, outcome.why)

  def _outcome(self, r: int, step: int, run_state: run_log.RunState) -> Outcome | None:
    """Returns the Outcome of a run that ends at this step, None where it continues."""
    record = self.live[r]
    why = record.why_stopped or (ALL_STEPS if step == self._config.total_steps else '')
    if not (record.diverged or why):
      return None
    # Whatever ends it: what is not finite is no result, and must not be taken for one.
    if fault := record.fault(step, self._compiled.part(run_state, r).state.params):
      return Outcome('diverged', f'step {step}: {fault}')
    if record.why_stopped:
      self._progress.say(f'ends at step {step}: {record.why_stopped}')
    return Outcome('done', why)

  def _write_metrics(self) -> None:
    """Writes the windows that are complete; waits for the devices where they are not done."""
    for step, window, steps, timing in self._unwritten:
      sums_R, lines = self._compiled.parts(jax.device_get(window)), []
      for r, record in self.live.items():
        values = self._problem.means(sums_R[r])
        work = {kind: total / steps for kind, total in self._problem.work(sums_R[r]).items()}
        lines.append((values, timing | self._progress.rates(timing, work)))
        record.measured(step, *lines[-1])
      self._progress.logged(step, lines)
    self._unwritten = []
