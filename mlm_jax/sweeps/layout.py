"""A sweep's work directory.

sweep.json    the question, each run's arm, seed, settings and steps, the policies that every run
              is scored under, the contrasts, and those that were named before there were results,
              the judges
base.json     the config that the settings are laid over
status.json   the state of each run; whether one is done is decided by its own folder
data*/        prepared data, shared by the runs with the same data settings
runs/NAME/    an ordinary run's folder, with what it printed in output.log, scores.json,
              judges.json, and what was fine-tuned from it in judges/
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.core import files
from mlm_jax.sweeps import planning
from mlm_jax.sweeps import policies
from mlm_jax.sweeps.judges import record
from mlm_jax.training import checkpoint
from mlm_jax.training import logs
from mlm_jax.training import workdir as workdir_lib

_Path = str | os.PathLike[str]

WAITING, RUNNING, DONE, FAILED, DIVERGED = 'waiting', 'running', 'done', 'failed', 'diverged'


@dataclasses.dataclass
class Status:
  """How far a run is.

  Attributes:
    state: WAITING, RUNNING, DONE, FAILED or DIVERGED.
    attempts: how often this sweep has started it.
    error: of the last attempt, one line; None where it did not fail.
  """

  state: str = WAITING
  attempts: int = 0
  error: str | None = None


def run_folder(workdir: _Path, run: planning.Run) -> pathlib.Path:
  """Returns the folder of a run."""
  return pathlib.Path(workdir) / 'runs' / run.name


def saved_step(workdir: _Path, run: planning.Run) -> int:
  """Returns the newest step of a run that is saved; 0 where there is none."""
  return max(checkpoint.steps(run_folder(workdir, run) / 'checkpoints'), default=0)


def is_done(workdir: _Path, run: planning.Run) -> bool:
  """Whether a run is finished."""
  return workdir_lib.finished(run_folder(workdir, run)) is not None


def why_diverged(workdir: _Path, run: planning.Run) -> str | None:
  """Returns what was not finite of a run that has diverged, None for any other."""
  outcome = workdir_lib.diverged(run_folder(workdir, run))
  return outcome['reason'] if outcome else None


def is_at_work(run_folder: _Path) -> bool:
  """Whether a process holds a run's folder, as one does that has outlived its sweep."""
  # A shared lock: two sweeps that look at the same time must not take each other for a run.
  try:
    with open(pathlib.Path(run_folder) / 'lock', opener=config_lib.without_waiting) as file:
      fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
  except BlockingIOError:
    return True
  except OSError:  # there is no lock to hold; anything else the run itself will report
    pass
  return False


def statuses(plan: planning.Plan, workdir: _Path) -> dict[str, Status]:
  """Returns {name: Status} of a plan's runs as they are now: DONE, DIVERGED or WAITING.

  A run that has diverged would diverge again; it starts again where its folder is removed.
  """
  found: dict[str, Status] = {}
  # By the runs' folders, which are right even if the sweep was killed before it could write.
  for run in plan.runs:
    why = why_diverged(workdir, run)
    state = DIVERGED if why else DONE if is_done(workdir, run) else WAITING
    found[run.name] = Status(state, error=why)
  return found


def check(plan: planning.Plan, workdir: _Path) -> None:
  """Raises UserError where the folder holds another sweep; runs may have been added."""
  workdir = pathlib.Path(workdir)
  # No run in common: almost surely a mistyped --workdir. Some in common: the sweep was changed.
  before = _names(workdir)
  if before and not before & {run.name for run in plan.runs}:
    raise config_lib.UserError(
      f'{workdir} holds another sweep: it has none of these runs; choose another --workdir'
    )
  for run in plan.runs:
    folder = run_folder(workdir, run)
    if not (folder / 'environment.json').exists():  # it has never started
      continue
    # The same name with another config: results of the two would be mixed.
    differing = config_lib.conflicts(run.config, workdir_lib.read_config(folder))
    if differing:
      keys = '; '.join(
        f'config.{key} is {new!r} here, {old!r} there' for key, new, old in differing[:5]
      )
      raise config_lib.UserError(
        f'{workdir} holds another sweep: in run {run.name} {keys}; choose another --workdir'
      )
  with _naming(workdir / 'sweep.json'):
    record.check(plan.judges, record.before(workdir, _read(workdir / 'sweep.json')))


def others(plan: planning.Plan, workdir: _Path) -> list[str]:
  """Returns the sorted names of started runs in the folder that are not part of the sweep."""
  started = {
    each.parent.name for each in (pathlib.Path(workdir) / 'runs').glob('*/environment.json')
  }
  return sorted(started - {run.name for run in plan.runs})


def _names(workdir: pathlib.Path) -> set[str]:
  """Returns the names of the runs in sweep.json; none where there is no such file."""
  path = workdir / 'sweep.json'
  try:
    return {run['name'] for run in _read(path).get('runs', ())}
  except (KeyError, TypeError) as error:
    raise _damaged(path, error) from None


def _read(path: pathlib.Path) -> dict[str, Any]:
  """Returns the dict in a JSON file, {} where there is no such file."""
  if not os.path.lexists(path):
    return {}
  try:
    return dict(config_lib.read_json(path, 'remove it, the runs are kept'))
  except (ValueError, TypeError) as error:
    raise _damaged(path, error) from None


@contextlib.contextmanager
def _naming(path: pathlib.Path) -> Iterator[None]:
  """Names a file in the errors of one that is damaged."""
  try:
    yield
  except (KeyError, TypeError, ValueError) as error:
    raise _damaged(path, error) from None


def _damaged(path: pathlib.Path, error: BaseException) -> config_lib.UserError:
  return config_lib.UserError(f'{path} is damaged ({error!r}); remove it, the runs are kept')


def contrasts_before_results(plan: planning.Plan, workdir: _Path) -> list[Sequence[str]]:
  """Returns the contrasts that were named when no run of the folder had a result yet."""
  workdir = pathlib.Path(workdir)
  # Also of runs that are not part of the sweep any more: they were seen.
  if not any(_has_result(place) for place in (workdir / 'runs').glob('*')):
    return [*plan.sweep.contrasts]
  return _read(workdir / 'sweep.json').get('contrasts_before_results', [])


def _has_result(run_folder: pathlib.Path) -> bool:
  # An evaluation before the first step says nothing of an arm.
  return any(line['step'] > 0 for line in logs.read_log(run_folder, 'evaluations'))


def write(plan: planning.Plan, workdir: _Path) -> None:
  """Writes sweep.json and base.json, and the config of each run that is not done."""
  workdir = pathlib.Path(workdir)
  sweep, before = plan.sweep, _read(workdir / 'sweep.json')
  described = {
    'question': sweep.question,
    'experiment': plan.experiment,
    'budget': sweep.budget,
    'baseline': sweep.baseline,
    'negative_control': sweep.negative_control,
    'metric': sweep.metric,
    'direction': sweep.direction,
    'policies': policies.differing(plan.runs),
    'contrasts': sweep.contrasts,
    'contrasts_before_results': contrasts_before_results(plan, workdir),
    'judges': record.described(plan.judges, record.before(workdir, before)),
    'runs': [
      {
        'name': run.name,
        'arm': run.arm,
        'seed': run.seed,
        'settings': {**run.settings, 'seed': run.seed},
        'total_steps': run.config.total_steps,
      }
      for run in plan.runs
    ],
  }
  files.write(workdir / 'sweep.json', json.dumps(described, indent=1) + '\n')
  files.write(workdir / 'base.json', config_lib.to_json(sweep.base))
  for run in plan.runs:
    if not is_done(workdir, run):  # the config of a finished run is part of its result
      folder = run_folder(workdir, run)
      folder.mkdir(parents=True, exist_ok=True)
      workdir_lib.write_config(folder, run.config)


def write_status(workdir: _Path, statuses: Mapping[str, Status]) -> None:
  """Writes status.json from {name: Status}."""
  described = {name: dataclasses.asdict(status) for name, status in statuses.items()}
  files.write(pathlib.Path(workdir) / 'status.json', json.dumps(described, indent=1) + '\n')
