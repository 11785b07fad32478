"""Makes the runs of a plan in this process, those that differ in numbers only as one (see
tasks/population.py).
"""

import pathlib
import time

from mlm_jax import config as config_lib
from mlm_jax.sweeps import layout
from mlm_jax.sweeps import planning
from mlm_jax.tasks import population
from mlm_jax.training import workdir as workdir_lib

_PAUSE = 0.2  # seconds between two looks at who is at work


def run(plan, workdir, most=0, log=print):
  """Makes the runs that are not done, one population after another; returns whether all are.

  A signal (SIGINT, SIGTERM) lets all save and ends the sweep; the same call goes on.

  Args:
    plan: planning.Plan.
    workdir: of the sweep.
    most: runs of a population; 0 = as many as there are.
    log: takes lines of text.

  Raises:
    UserError: another sweep is at work or stands there; runs that cannot be a population;
      whatever is wrong with the data.
  """
  workdir = pathlib.Path(workdir).absolute()
  with workdir_lib.locked(workdir):
    layout.check(plan, workdir)
    configs = {run.name: run.config for run in plan.runs}
    if len(population.groups(configs)) == len(configs) > 1:  # no two go together
      population.check(configs)
    statuses = layout.statuses(plan, workdir)
    left = {run.name: run for run in plan.runs if statuses[run.name].state == layout.WAITING}
    together = _parts(population.groups({name: run.config for name, run in left.items()}), most)
    for names in together:
      population.check({name: left[name].config for name in names})
    planning.prepare_data(left.values(), log)
    layout.write(plan, workdir)
    for number, names in enumerate(together, 1):
      log(f'population {number} of {len(together)}: {len(names)} runs')
      if not _make([left[name] for name in names], workdir, statuses, log):
        break
  states = [status.state for status in statuses.values()]
  log(f'{states.count(layout.DONE)} of {len(states)} runs are done')
  return set(states) == {layout.DONE}


def _parts(groups, most):
  """Returns lists of names cut into lists of at most so many; 0 = not cut."""
  size = lambda group: most or len(group)
  return [group[i : i + size(group)] for group in groups for i in range(0, len(group), size(group))]


def _make(runs, workdir, statuses, log):
  """Trains one population and notes what became of it; returns False where a signal stopped it."""

  def note(states):
    for name, (state, error) in states.items():
      statuses[name].state, statuses[name].error = state, error
    layout.write_status(workdir, statuses)

  folders = [layout.run_folder(workdir, run) for run in runs]
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
  except config_lib.UserError as error:  # the other populations may do
    log(f'failed: {error}')
    note({run.name: (layout.FAILED, str(error)) for run in runs})
    return True
  states = {'done': layout.DONE, 'stopped': layout.WAITING, 'diverged': layout.DIVERGED}
  note(
    {
      path.name: (states[outcome.state], outcome.why if outcome.state == 'diverged' else None)
      for path, outcome in outcomes.items()
    }
  )
  return all(outcome.state != 'stopped' for outcome in outcomes.values())
