"""R >= 1 runs that share one step, each in its own folder and from wherever it is.

Nothing in a run's folder tells (but `replicas` in timing.jsonl) that it was not alone: the order
of the data and all draws are those of the run on its own, parameters and metrics are the same to
float error, and either can resume from the other's checkpoints.
"""

from collections.abc import Callable
import pathlib
import typing
from typing import Any

from mlm_jax.training import compiled as compiled_lib
from mlm_jax.training import loop
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import progress as progress_lib
from mlm_jax.training import run_log
from mlm_jax.training import sharding
from mlm_jax.training import vectorized


class Run(typing.NamedTuple):
  """A run as it would be alone, on one device.

  Attributes:
    config: resolved; the runs differ in seed, hparams, learning rate and weight decay only.
    problem: of one stage.
  """

  config: Any
  problem: problem_lib.Problem


def train(
  runs: dict[pathlib.Path, Run],
  log: Callable[[str], None] = print,
  unify: Callable[[list], list] = lambda hparams: hparams,
) -> dict[pathlib.Path, loop.Outcome]:
  """Trains each run of {folder: Run}, all together; returns how each ended.

  Those furthest behind go first, until they have caught up with the next. A run that diverges,
  or that its stop rule ends, leaves the others to continue.

  Args:
    runs: whose folders this process holds.
    log: takes lines of text.
    unify: see vectorized.assemble.
  """
  outcomes = {}
  # Each round joins at least one more run to those furthest behind, or ends some.
  while left := {workdir: each for workdir, each in runs.items() if workdir not in outcomes}:
    outcomes |= _catch_up(left, log, unify)
  return {workdir: outcomes[workdir] for workdir in runs}


def _catch_up(
  runs: dict[pathlib.Path, Run], log: Callable[[str], None], unify: Callable[[list], list]
) -> dict[pathlib.Path, loop.Outcome]:
  """Trains the runs that are furthest behind until they have caught up with the next.

  Returns {folder: Outcome} of those that ended.
  """
  with progress_lib.compiling():
    compiled, records, run_states, steps = _restore(runs, log)
  first, total = min(steps.values()), next(iter(runs.values())).config.total_steps
  last = min((step for step in steps.values() if step > first), default=total)
  # One step counter serves all the runs of a group, so they must be at the same step.
  group = [workdir for workdir in runs if steps[workdir] == first]
  names = ', '.join(each.name for each in group)
  log(f'{len(group)} runs train as one from step {first} to {last}: {names}')
  pick = lambda what: [what[workdir] for workdir in group]
  configs, problems = map(list, zip(*pick(runs), strict=True))
  together, keys_S = vectorized.assemble(configs, problems, compiled, unify)
  run_state = vectorized.stacked(pick(run_states), together)
  ended = loop.advance(
    problems[0], configs[0], together, pick(records), run_state, first, last, keys_S, log
  )
  outcomes = {group[r]: outcome for r, outcome in ended.items()}
  for workdir, outcome in outcomes.items():
    if outcome.state == 'diverged':
      log(f'{workdir.name} diverged: {outcome.why}')
  if any(outcome.state == 'stopped' for outcome in outcomes.values()):
    # The signal is for the whole process: runs that wait for the others to catch up stop too.
    stopped = next(each for each in outcomes.values() if each.state == 'stopped')
    outcomes = dict.fromkeys(runs, stopped) | outcomes
  return outcomes


def _restore(
  runs: dict[pathlib.Path, Run], log: Callable[[str], None]
) -> tuple[
  compiled_lib.Compiled,
  dict[pathlib.Path, run_log.Recorder],
  dict[pathlib.Path, run_log.RunState],
  dict[pathlib.Path, int],
]:
  """Returns (Compiled of one run, and by folder: Recorder, RunState, its step)."""
  # One program restores all of them, since they differ in numbers alone.
  mesh = sharding.largest_mesh(1)
  lead = next(iter(runs.values()))
  compiled = compiled_lib.compile_problem(lead.problem, lead.config, mesh)
  records, run_states, steps = {}, {}, {}
  for workdir, (config, problem) in runs.items():
    records[workdir] = run_log.Recorder(workdir, config, problem, log, workdir.name)
    run_states[workdir], steps[workdir] = loop.start(problem, config, compiled, records[workdir])
  return compiled, records, run_states, steps
