"""Trains the runs of a plan in this process, those that differ in numbers only as one population.

See tasks/population.py.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import os
import pathlib
import time

from mlm_jax import config as config_lib
from mlm_jax.sweeps import judging
from mlm_jax.sweeps import layout
from mlm_jax.sweeps import planning
from mlm_jax.sweeps import scoring
from mlm_jax.tasks import population
from mlm_jax.training import workdir as workdir_lib

_PAUSE = 0.2  # seconds between two looks at a lock


def run(
  plan: planning.Plan,
  workdir: str | os.PathLike[str],
  most: int = 0,
  log: Callable[[str], None] = print,
) -> bool:
  """Trains the runs that are not done, one population after another, scores and judges
  those that are.

  Returns whether all are.

  A signal (SIGINT, SIGTERM) lets all save and ends the sweep; the same call resumes it.

  Args:
    plan: planning.Plan.
    workdir: of the sweep.
    most: runs of a population; 0 = as many as there are.
    log: takes lines of text.

  Raises:
    UserError: another sweep is running or stored there; runs that cannot be a population;
      anything that is wrong with the data.
  """
  workdir = pathlib.Path(workdir).absolute()
  with workdir_lib.locked(workdir):
    layout.check(plan, workdir)
    scored = False  # as where a signal stops the sweep
    configs = {run.name: run.config for run in plan.runs}
    # No two runs fit together: the check of all as one population says why.
    if len(population.groups(configs)) == len(configs) > 1:
      population.check(configs)
    statuses = layout.statuses(plan, workdir)
    # Runs that diverged are left out: in a population they would only diverge again.
    left = {run.name: run for run in plan.runs if statuses[run.name].state == layout.WAITING}
    together = _parts(population.groups({name: run.config for name, run in left.items()}), most)
    for names in together:  # all of them before the first is trained
      population.check({name: left[name].config for name in names})
    planning.prepare_data(left.values(), log)
    layout.write(plan, workdir)
    for number, names in enumerate(together, 1):
      log(f'population {number} of {len(together)}: {len(names)} runs')
      if not _train([left[name] for name in names], workdir, statuses, log):
        break
    else:
      scored = scoring.score(plan, workdir, log)
      scored &= judging.judge(plan, workdir, log)
  states = [status.state for status in statuses.values()]
  log(f'{states.count(layout.DONE)} of {len(states)} runs are done')
  return set(states) == {layout.DONE} and scored


def _parts(groups: Sequence[Sequence[str]], most: int) -> list[Sequence[str]]:
  """Returns groups of names cut into groups of at most `most`; 0 = not cut."""
  size = lambda group: most or len(group)
  return [group[i : i + size(group)] for group in groups for i in range(0, len(group), size(group))]


def _train(
  runs: Sequence[planning.Run],
  workdir: pathlib.Path,
  statuses: Mapping[str, layout.Status],
  log: Callable[[str], None],
) -> bool:
  """Trains one population and notes how it ended; returns False where a signal stopped it."""

  def note(states: Mapping[str, tuple[str, str | None]]) -> None:
    for name, (state, error) in states.items():
      statuses[name].state, statuses[name].error = state, error
    layout.write_status(workdir, statuses)

  folders = [layout.run_folder(workdir, run) for run in runs]
  # A process of an earlier sweep may still train one of them; two would spoil its folder.
  for path in folders:
    if layout.is_at_work(path):
      log(f'{path.name}: a process that outlived its sweep is still at work there; waits for it')
    while layout.is_at_work(path):
      time.sleep(_PAUSE)
  note({run.name: (layout.RUNNING, None) for run in runs})
  for run in runs:
    statuses[run.name].attempts += 1
  try:
    outcomes = population.run([run.config for run in runs], folders, log)
  except config_lib.UserError as error:  # the other populations are still trained
    log(f'failed: {error}')
    note({run.name: (layout.FAILED, str(error)) for run in runs})
    return True
  # A stopped replica has saved its state, so the next call resumes it.
  states = {'done': layout.DONE, 'stopped': layout.WAITING, 'diverged': layout.DIVERGED}
  note(
    {
      path.name: (states[outcome.state], outcome.why if outcome.state == 'diverged' else None)
      for path, outcome in outcomes.items()
    }
  )
  return all(outcome.state != 'stopped' for outcome in outcomes.values())
