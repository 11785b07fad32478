"""wandb and Trackio themselves, where they are installed, without a network.

pip install wandb trackio && pytest -m 'slow or not slow' tests/training/trackers/test_real.py
"""

import importlib.util
import inspect
import json
import os
import pathlib
import struct
import subprocess
import sys

import pytest

from mlm_jax.training import logs
from tests import shared_runs
from tests.training.trackers import stand_ins

_ROOT = pathlib.Path(__file__).parents[3]
# A run that is stopped at step 4, loses that checkpoint, and goes on.
_CHILD = """
import pathlib, shutil, sys
import pytest
from tests.training import toy
from tests.training.trackers import test_services
name, workdir = sys.argv[1], pathlib.Path(sys.argv[2])
config = test_services.config(name)
with pytest.MonkeyPatch.context() as patch:
  toy.train_until(config, workdir, 4, patch, log=print)
shutil.rmtree(workdir / 'checkpoints' / '4')
assert toy.train(config, workdir, print)
"""


def needs(name):
  if importlib.util.find_spec(name) is None:
    pytest.skip(f'{name} is not installed')


def train(name, workdir, **environment):
  """Trains it in a process of its own, whose settings are read when the library is imported."""
  done = subprocess.run(
    [sys.executable, '-c', _CHILD, name, str(workdir)],
    cwd=_ROOT,
    text=True,
    capture_output=True,
    timeout=300,
    env={
      **os.environ,
      'PYTHONPATH': os.pathsep.join(sys.path),
      'JAX_COMPILATION_CACHE_DIR': shared_runs.compilation_cache(),
      **environment,
    },
  )
  assert done.returncode == 0 and 'warning' not in done.stdout.lower(), done.stdout + done.stderr
  return done


@pytest.mark.parametrize(
  'name, stand_in, path',
  (
    *(('wandb', stand_ins.Wandb, name) for name in ('setup', 'login', 'init')),
    *(('wandb', stand_ins.WandbRun, f'Run.{name}') for name in ('define_metric', 'log', 'finish')),
    ('trackio', stand_ins.Trackio, 'init'),
    *(('trackio', stand_ins.TrackioRun, f'Run.{name}') for name in ('log', 'finish')),
  ),
)
def test_a_stand_in_takes_what_the_library_takes(name, stand_in, path):
  needs(name)
  real = importlib.import_module(name)
  for part in path.split('.'):
    real = getattr(real, part)
  ours = inspect.signature(getattr(stand_in, path.split('.')[-1])).parameters
  theirs = inspect.signature(real).parameters
  for key, parameter in ours.items():
    assert key == 'self' or theirs[key].default == parameter.default, key


def records(content):
  """Yields the records of a .wandb file: LevelDB's log format behind 7 bytes of header.

  In blocks of 32 KiB: a checksum, length and kind (1 a whole record, 2, 3 and 4 its first, middle
  and last part), and the bytes.
  """
  assert content.startswith(b':W&B')
  at, record = 7, b''
  while at + 7 <= len(content):
    size, kind = struct.unpack('<4xHB', content[at : at + 7])
    if kind:
      record = (record if kind in (3, 4) else b'') + content[at + 7 : at + 7 + size]
      if kind in (1, 4):
        yield record
      at += 7 + size
    if not kind or at % 32768 > 32768 - 7:
      at += -at % 32768


@pytest.mark.slow
def test_wandb_keeps_every_line_once(tmp_path):
  needs('wandb')
  from wandb.proto import wandb_internal_pb2  # pyrefly: ignore[missing-import]

  train('wandb', tmp_path / 'run', WANDB_MODE='offline')
  found, runs, exits = {}, [], []
  for path in sorted((tmp_path / 'run' / 'wandb').glob('offline-run-*/*.wandb')):
    for content in records(path.read_bytes()):
      record = wandb_internal_pb2.Record.FromString(content)
      if record.HasField('run'):
        runs.append(record.run)
      if record.HasField('exit'):
        exits.append(record.exit.exit_code)
      if record.HasField('history'):
        line = {
          item.key or '.'.join(item.nested_key): json.loads(item.value_json)
          for item in record.history.item
        }
        for key, value in line.items():
          if '/' in key:
            assert (key, line['step']) not in found
            found[key, line['step']] = value
  check(found, tmp_path / 'run')
  assert len({run.run_id for run in runs}) == 1 and exits == [1, 0]
  assert {run.display_name for run in runs} == {'run'}


@pytest.mark.slow
def test_trackio_keeps_every_line_once(tmp_path):
  needs('trackio')
  train('trackio', tmp_path / 'run', TRACKIO_DIR=str(tmp_path / 'kept'))
  program = (
    'import json, trackio\n'
    'from trackio.sqlite_storage import SQLiteStorage as s\n'
    'print(json.dumps({run: s.get_logs("mlm_jax", run) for run in s.get_runs("mlm_jax")}))'
  )
  environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)}
  done = subprocess.run(
    [sys.executable, '-c', program],
    text=True,
    capture_output=True,
    check=True,
    env={**environment, 'TRACKIO_DIR': str(tmp_path / 'kept')},
  )
  ((name, lines),) = json.loads(done.stdout).items()
  assert name.startswith('run-')
  found = {}
  for line in lines:
    for key, value in line.items():
      if '/' in key:
        assert (key, line['step']) not in found
        found[key, line['step']] = value
  check(found, tmp_path / 'run')


def check(found, workdir):
  """Asserts that {(log/key, step): value} is what the run's own files have."""
  for log in ('metrics', 'evaluations'):
    for line in logs.read_log(workdir, log):
      for key, value in line.items():
        if key != 'step':
          assert found[f'{log}/{key}', line['step']] == pytest.approx(value, rel=1e-6)
  assert {step for _, step in found} == {1, 2, 3, 4, 5, 6}
