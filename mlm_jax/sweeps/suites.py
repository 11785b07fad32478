"""Several sweeps of one question, each by a metric of its own, such as one for each task.

They are what an experiment's get_sweep() returns where it is {name: Sweep}. Each is a sweep of its
own, in WORKDIR/NAME; suite.json names them.
"""

from collections.abc import Callable
from collections.abc import Mapping
import json
import os
import pathlib
import re

from mlm_jax import config as config_lib
from mlm_jax.core import files
from mlm_jax.report import suite_report
from mlm_jax.sweeps import launchers
from mlm_jax.sweeps import layout
from mlm_jax.sweeps import planning
from mlm_jax.sweeps import runner

_Path = str | os.PathLike[str]


def load(experiment: _Path) -> dict[str, planning.Sweep]:
  """Returns {name: Sweep} of an experiment's folder; a single sweep has the name ''.

  Raises:
    UserError: as planning.load, or a name that is none for a folder.
  """
  path, made = planning.called(experiment)
  if not isinstance(made, dict):
    return {'': planning.checked(path, made)}
  for name in made:
    if not isinstance(name, str) or not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9_-]*', name):
      raise config_lib.UserError(
        f'{path}: get_sweep names a sweep {name!r}: must be letters, digits, _ and -'
      )
  if not made:
    raise config_lib.UserError(f'{path}: get_sweep returned no sweep')
  return {name: planning.checked(path, sweep, name) for name, sweep in made.items()}


def plan(
  sweeps: Mapping[str, planning.Sweep],
  experiment: _Path,
  workdir: _Path,
  log: Callable[[str], None] = print,
) -> dict[str, planning.Plan]:
  """Returns {name: Plan} of all, before any run of them starts.

  Raises:
    UserError: as planning.plan, or other runs are stored in the folder of one.
  """
  plans = {}
  for name, sweep in sweeps.items():
    folder = pathlib.Path(workdir) / name
    try:
      plans[name] = planning.plan(sweep, experiment, folder, log)
      layout.check(plans[name], folder)  # otherwise runs of another sweep would be counted
    except config_lib.UserError as error:
      raise config_lib.UserError(f'{name}: {error}' if name else str(error)) from None
  return plans


def run(
  plans: Mapping[str, planning.Plan],
  workdir: _Path,
  launcher: launchers.Launcher,
  log: Callable[[str], None] = print,
) -> bool:
  """Makes the runs of each in turn, see runner.run; returns whether all are done."""
  workdir, stopped, done = pathlib.Path(workdir), [], True
  write(plans, workdir)
  for name, each in plans.items():
    log(f'sweep {name}') if name else None
    done &= runner.run(each, workdir / name, launcher, log, stopped.append)
    if stopped:
      return False
  return done


def write(plans: Mapping[str, planning.Plan], workdir: pathlib.Path) -> None:
  """Writes suite.json, of several sweeps."""
  if list(plans) != ['']:
    workdir.mkdir(parents=True, exist_ok=True)
    files.write(workdir / suite_report.LIST, json.dumps({'sweeps': list(plans)}, indent=2).encode())
