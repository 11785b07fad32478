"""A run's folder: its lock, its config, where it ran, and whether it is finished."""

from collections.abc import Iterator
import contextlib
import fcntl
import json
import os
import pathlib
import platform
import subprocess
import sys
from typing import Any

import jax

from mlm_jax import config as config_lib
from mlm_jax.core import files
from mlm_jax.training import checkpoint
from mlm_jax.training import logs

HELD = 'another process is at work in'  # how it is said that a folder is held
Path = str | os.PathLike[str]


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[pathlib.Path]:
  """Makes the folder and holds it for this process alone; UserError if it cannot."""
  workdir = pathlib.Path(workdir)
  is_new = not workdir.exists()
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    file = open(workdir / 'lock', 'w', opener=config_lib.without_waiting)
  except OSError as error:
    raise config_lib.UserError(
      f'cannot write to work directory {workdir}: {error.strerror}'
    ) from None
  with file:
    try:
      # Held by the open file, so the system releases it however the process ends.
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
      # Another one would cut the logs and remove the checkpoints that the first one writes.
      raise config_lib.UserError(
        f'{HELD} {workdir}; wait for it or choose another --workdir'
      ) from None
    try:
      yield workdir
    except BrokenPipeError:  # of what is printed meanwhile
      raise
    except OSError as error:
      raise config_lib.UserError(
        checkpoint.why_not_written(error, workdir, workdir / 'checkpoints')
      ) from error
    finally:
      # Wrong input leaves nothing behind, not even an empty folder; the folder may be gone too.
      with contextlib.suppress(OSError):
        if [each.name for each in workdir.iterdir()] == ['lock']:
          (workdir / 'lock').unlink()
          if is_new:
            workdir.rmdir()


def write_config(workdir: Path, config: Any) -> None:
  """Writes config.json."""
  files.write(pathlib.Path(workdir) / 'config.json', config_lib.to_json(config))


def read_config(workdir: Path) -> Any:
  """Returns the config of the run in workdir, whatever code it names."""
  path = pathlib.Path(workdir) / 'config.json'
  if not path.is_file():
    raise config_lib.UserError(f'no run in {workdir}: {path} is missing')
  return config_lib.received(config_lib.read_bytes(path), str(path))


def record_environment(
  workdir: Path, fingerprints: dict[str, str], more: dict[str, Any] | None = None
) -> None:
  """Appends where this start runs to environment.json.

  Args:
    fingerprints: {name: text} of what must stay the same for the run to make sense.
    more: what else is to be noted of this start.

  Raises:
    UserError: an earlier start had others.
  """
  path = pathlib.Path(workdir) / 'environment.json'
  starts = read_environment(workdir)
  for name, value in fingerprints.items() if starts else ():
    before = str(starts[0].get(name))
    if before != value:
      raise config_lib.UserError(
        f'{workdir} was trained with another {name.replace("_", " ")} ({before[:12]}, '
        f'now {value[:12]}); restore that or choose another --workdir'
      )
  starts.append({**fingerprints, **(more or {}), 'command': sys.argv, **environment()})
  files.write(path, json.dumps(starts, indent=1) + '\n')


def read_environment(workdir: Path) -> list[dict[str, Any]]:
  """Returns the entries of environment.json, one a start; [] where there is none."""
  path = pathlib.Path(workdir) / 'environment.json'
  if not os.path.lexists(path):
    return []
  starts = config_lib.read_json(path)
  if not isinstance(starts, list) or not all(map(_is_start, starts)):
    raise config_lib.UserError(f'{path} is damaged: it must hold a list of what starts note')
  return starts


def _is_start(entry: Any) -> bool:
  """Whether a value has the form of an entry of environment.json."""
  is_texts = lambda each: isinstance(each, dict) and all(isinstance(x, str) for x in each.values())
  return isinstance(entry, dict) and all(
    is_texts(value)
    if name in ('versions', 'code')
    else isinstance(value, str) or name in ('command', 'devices')
    for name, value in entry.items()
  )


def environment() -> dict[str, Any]:
  """Returns what runs here, and on what: versions, devices, system, commit."""
  versions = {
    name: __import__(name).__version__ for name in ('jax', 'jaxlib', 'flax', 'optax', 'numpy')
  }
  return {
    'python': platform.python_version(),
    'versions': versions,
    'devices': [device.device_kind for device in jax.devices()],
    'host': platform.platform(),
    'commit': _commit(),
  }


def _commit() -> str:
  """Returns the commit of the source tree, '' when it is not a checkout."""
  # Not git's own search: an installed copy may lie inside of somebody else's checkout.
  here = pathlib.Path(__file__).parents[1]
  if not (here.parent / '.git').exists():
    return ''
  try:
    done = subprocess.run(
      ['git', 'describe', '--always', '--dirty', '--abbrev=40'],
      cwd=here,
      capture_output=True,
      text=True,
    )
  except OSError:  # no git here
    return ''
  return done.stdout.strip()


# Written last, behind the checkpoint that they name; a run has one of them at most.
FINISHED, DIVERGED = 'finished.json', 'diverged.json'


def finish(workdir: pathlib.Path, step: int, reason: str, model: int | None = None) -> None:
  """Notes that the run has ended as it should, at a step whose checkpoint is whole, and why.

  Args:
    workdir: the run's folder.
    step: the last one.
    reason: why it ended.
    model: the step that is the run's model; None for the last one.
  """
  other = {} if model in (None, step) else {'model': model}
  files.write(workdir / FINISHED, json.dumps({'step': step, 'reason': reason} | other) + '\n')


def model_step(workdir: pathlib.Path) -> int | None:
  """Returns the step that is the model of a finished run; None for the newest one."""
  return (_noted(workdir, FINISHED) or {}).get('model')


def diverge(workdir: pathlib.Path, step: int, reason: str) -> None:
  """Notes that the run has diverged, the step that it ends with, and what was not finite."""
  files.write(workdir / DIVERGED, json.dumps({'step': step, 'reason': reason}) + '\n')


def finished(workdir: Path) -> dict | None:
  """Returns {'step': ..., 'reason': ...} of a finished run, None for any other.

  The one answer to the question whether a run is finished: it has ended as it should, not
  diverged and not stopped by a signal, and its last checkpoint and its logs until then are still
  whole.

  Raises:
    UserError: a line of a log is damaged; names it.
  """
  outcome = _noted(workdir, FINISHED)
  if outcome is None or diverged(workdir):
    return None
  path = _checkpoint(workdir, outcome)
  is_whole = not checkpoint.verify(path) and not logs.lacking(workdir, checkpoint.logged(path))
  return outcome if is_whole else None


def diverged(workdir: Path) -> dict | None:
  """Returns {'step': ..., 'reason': ...} of a run that has diverged, None for any other."""
  return _noted(workdir, DIVERGED)


def diverged_text(workdir: Path, reason: str) -> str:
  """Returns the line that says that a run has diverged, and what a user can do."""
  return (
    f'{workdir} has diverged at {reason}; train with other settings in another --workdir, or '
    f'remove {DIVERGED} and the newest of its checkpoints there to continue from an earlier one'
  )


def _noted(workdir: Path, name: str) -> dict | None:
  """Returns what a run's folder notes of its end in a file, None where that cannot be read."""
  try:
    outcome = config_lib.read_json(pathlib.Path(workdir) / name)
    _checkpoint(workdir, outcome)
    outcome['reason']
  except (config_lib.UserError, KeyError, TypeError):
    return None
  return outcome


def _checkpoint(workdir: Path, outcome: dict) -> pathlib.Path:
  return pathlib.Path(workdir) / 'checkpoints' / str(outcome['step'])
