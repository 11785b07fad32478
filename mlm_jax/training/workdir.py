"""A run's folder: its lock, its config, its environment and its logs."""

import contextlib
import fcntl
import json
import math
import os
import pathlib
import platform
import subprocess
import sys

import jax
import tensorboardX

from mlm_jax import config as config_lib

HELD = 'another process is at work in'  # how it is said that a folder is held
LOGS = ('metrics.jsonl', 'evaluations.jsonl', 'timing.jsonl', 'spikes.jsonl')


@contextlib.contextmanager
def locked(workdir):
  """Makes the folder and holds it for this process alone; UserError if it cannot."""
  workdir = pathlib.Path(workdir)
  is_new = not workdir.exists()
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    file = open(workdir / 'lock', 'w')
  except OSError as error:
    raise config_lib.UserError(
      f'cannot write to work directory {workdir}: {error.strerror}'
    ) from None
  with file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
      raise config_lib.UserError(
        f'{HELD} {workdir}; wait for it or choose another --workdir'
      ) from None
    try:
      yield workdir
    except OSError as error:
      raise config_lib.UserError(f'cannot write to work directory {workdir}: {error}') from error
    finally:
      # Wrong input leaves nothing behind, not even an empty folder.
      if [each.name for each in workdir.iterdir()] == ['lock']:
        (workdir / 'lock').unlink()
        if is_new:
          workdir.rmdir()


def check_same(workdir, config):
  """Raises UserError if the folder already belongs to a run with another config."""
  if not (pathlib.Path(workdir) / 'config.json').exists():
    return
  differing = config_lib.differences(config, read_config(workdir))
  if differing:
    keys = '; '.join(
      f'config.{key} is {new!r} here, {old!r} there' for key, new, old in differing[:5]
    )
    raise config_lib.UserError(
      f'{workdir} holds a run with another config: {keys}; choose another --workdir'
    )


def write_config(workdir, config):
  """Writes config.json."""
  write_text(pathlib.Path(workdir) / 'config.json', config_lib.to_json(config))


def read_config(workdir):
  """Returns the config of the run in workdir."""
  path = pathlib.Path(workdir) / 'config.json'
  if not path.is_file():
    raise config_lib.UserError(f'no run in {workdir}: {path} is missing')
  return config_lib.from_json(path.read_bytes(), str(path))


def record_environment(workdir, fingerprints):
  """Appends where this start runs to environment.json.

  Args:
    fingerprints: what must stay the same for the run to make sense (data fingerprint,
      tokenizer); UserError if an earlier start had others.
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
  starts.append({**fingerprints, **_environment()})
  write_text(path, json.dumps(starts, indent=1) + '\n')


def read_environment(workdir):
  """Returns the entries of environment.json, one a start; [] where there is none."""
  path = pathlib.Path(workdir) / 'environment.json'
  if not path.exists():
    return []
  try:
    starts = json.loads(path.read_bytes())
  except ValueError as error:
    raise config_lib.UserError(f'{path} is damaged: {error}') from None
  if not isinstance(starts, list) or not all(isinstance(each, dict) for each in starts):
    raise config_lib.UserError(f'{path} is damaged: it must hold a list of objects')
  return starts


def _environment():
  versions = {
    name: __import__(name).__version__ for name in ('jax', 'jaxlib', 'flax', 'optax', 'numpy')
  }
  return {
    'command': sys.argv,
    'python': platform.python_version(),
    'versions': versions,
    'devices': [device.device_kind for device in jax.devices()],
    'host': platform.platform(),
    'commit': _commit(),
  }


def _commit():
  """Returns the commit of the source tree, '' when it is not a checkout."""
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


def write_text(path, text):
  """Replaces a file as a whole, or leaves it as it was."""
  partial = path.with_name(path.name + '.partial')
  try:
    partial.write_text(text)
    partial.rename(path)
  finally:
    partial.unlink(missing_ok=True)


class Logs:
  """The run's metrics.jsonl, evaluations.jsonl, spikes.jsonl, timing.jsonl and TensorBoard events.

  All but timing.jsonl hold deterministic fields only, so that two equal runs have
  equal files; wall-clock figures go there.
  """

  def __init__(self, workdir, step, tensorboard, writes=True):
    """Opens the logs of a run that goes on from `step`: what is later is cut off.

    Of several processes one `writes`; the others may read.
    """
    self._workdir = pathlib.Path(workdir)
    self._files, self._board = {}, None
    if not writes:
      return
    for name in LOGS:
      _cut(self._workdir / name, step)
    self._files = {name: open(self._workdir / name, 'a', buffering=1) for name in LOGS}
    self._board = (
      tensorboardX.SummaryWriter(str(self._workdir / 'tensorboard'), purge_step=step + 1)
      if tensorboard
      else None
    )

  def write(self, name, step, values):
    """Appends {step, **values} to a log and, but for lists, to TensorBoard."""
    if not self._files:
      return
    line = {'step': step, **{key: _written(value) for key, value in values.items()}}
    print(json.dumps(line), file=self._files[name + '.jsonl'])
    if self._board:
      for key, value in values.items():
        if not isinstance(value, list) and math.isfinite(value):
          self._board.add_scalar(f'{name}/{key}', value, step)

  def read(self, name):
    """Returns the lines of a log so far."""
    return read_log(self._workdir, name)

  def flush(self):
    """Returns when everything written is on disk."""
    for file in self._files.values():
      file.flush()
      os.fsync(file.fileno())
    if self._board:
      self._board.flush()

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    for file in self._files.values():
      file.close()
    if self._board:
      self._board.close()


def _written(value):
  """Returns a value as a log has it: seven digits, null for what is no number."""
  if not isinstance(value, float):
    return value
  return float(f'{value:.7g}') if math.isfinite(value) else None


def read_log(workdir, name):
  """Returns the lines of a log as a list of dicts; an unfinished last line is left out.

  Raises:
    UserError: another line is damaged.
  """
  path = pathlib.Path(workdir) / (name + '.jsonl')
  return [line for _, line in _lines(path)]


def _lines(path):
  """Yields (text, content) of each line; a crash may have left the last one unfinished."""
  texts = path.read_text(errors='replace').splitlines(keepends=True) if path.exists() else []
  for number, text in enumerate(texts, 1):
    if number == len(texts) and not text.endswith('\n'):
      return
    try:
      content = json.loads(text)
      content['step']
    except (ValueError, TypeError, KeyError) as error:
      raise config_lib.UserError(
        f'{path} line {number} is damaged ({config_lib.one_line(error)}); remove that line'
      ) from None
    yield text, content


def _cut(path, step):
  """Drops the lines of steps after `step`, and what a crash left unfinished."""
  if path.exists():
    write_text(path, ''.join(text for text, line in _lines(path) if line['step'] <= step))
