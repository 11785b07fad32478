"""A disk that fills up, turns read-only or goes away: one line, and the run goes on afterwards."""

import concurrent.futures
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
import types

import pytest

from mlm_jax import __main__
from mlm_jax import config as config_lib
from mlm_jax.core import files
from mlm_jax.training import checkpoint
from tests import shared_runs
from tests.cli.test_main import call
from tests.report import fake
from tests.training import toy

_ROOT = pathlib.Path(__file__).parents[2]
# The toy as a command: what a user sees of an error is what main prints, and what threads print.
_CHILD = """
import sys
from mlm_jax import __main__
from mlm_jax.tasks import pretraining
from tests.training import toy
logged = dict(log__every=1, log__trackers='tensorboard')
c = toy.config(total_steps=40, checkpoint__keep_latest=99, **logged)
def run(config, workdir, **unused):
  def say(line):
    print(line, flush=True)
    if line.startswith('step 4/'):
      sys.stdin.read()  # until the test has done something in the middle
  return toy.train(c, toy.checkpoint.pathlib.Path(workdir), say)
pretraining.run = run
__main__.main(['train', '--config=bert_base', '--workdir=' + sys.argv[1]])
"""


def child(workdir, **settings):
  return subprocess.Popen(
    [sys.executable, '-c', _CHILD, str(workdir)],
    cwd=_ROOT,
    text=True,
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    env={**os.environ, 'JAX_COMPILATION_CACHE_DIR': shared_runs.compilation_cache()},
    **settings,
  )


@pytest.fixture
def disk(tmp_path):
  """A small file system of its own: (its folder, function that mounts it anew with options)."""
  folder = tmp_path / 'disk'
  folder.mkdir()
  mount = lambda *flags: subprocess.run(['mount', *flags, str(folder)], capture_output=True)
  if os.geteuid() or mount('-t', 'tmpfs', '-o', 'size=100m', 'tmpfs').returncode:
    pytest.skip('only root can mount')
  yield folder, lambda options: mount('-o', f'remount,{options}')
  subprocess.run(['umount', '-l', str(folder)], check=True)


def ends(process):
  """Returns the one line with which the process says why it ended."""
  _, err = process.communicate(timeout=300)
  assert process.returncode == 2 and err.count('\n') == 1, err
  return err


def wait_for_step_4(process):
  assert process.stdout
  while not process.stdout.readline().startswith('step 4/'):
    assert process.poll() is None


def fill_up(folder, leave):
  """Leaves so many bytes."""
  with open(folder / 'filler', 'wb', buffering=0) as file, contextlib.suppress(OSError):
    while True:
      file.write(b'0' * 4096)
  os.truncate(folder / 'filler', max(0, (folder / 'filler').stat().st_size - leave))


@pytest.mark.slow
@pytest.mark.parametrize('leave', (0, 4096, 20_000, 300_000))
def test_a_full_disk_is_one_line_and_the_run_goes_on_where_there_is_room(disk, tmp_path, leave):
  folder, _ = disk
  process = child(folder / 'run')
  wait_for_step_4(process)
  fill_up(folder, leave)
  said = ends(process)
  assert f'no space left on {folder}/run' in said and 'whole checkpoint' in said
  (folder / 'filler').unlink()
  assert child(folder / 'run').communicate(timeout=300)[1] == ''
  assert child(tmp_path / 'whole').communicate(timeout=300)[1] == ''
  toy.assert_equal_runs(tmp_path / 'whole', folder / 'run')


@pytest.mark.slow
# Scratch files of a preparation that failed are closed by Python and not by name.
@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_every_command_that_writes_to_a_full_disk_is_one_line(disk, capsys, tmp_path_factory):
  folder, _ = disk
  run = shared_runs.from_the_command_line(tmp_path_factory)
  sweep = fake.sweep(folder / 'sweep')
  fill_up(folder, 4096)
  text = shared_runs.corpus(tmp_path_factory)
  for argv in (
    ('prepare', f'--config.data.source=text:{text}', f'--workdir={folder}/new'),
    ('export', f'--workdir={run}', f'--to={folder}/exported'),
    ('report', run, f'--out={folder}/curve.png'),
    ('report', sweep),
    ('import', '--from=tests/golden/absent', f'--workdir={folder}/imported'),
    ('train', f'--config={run}/config.json', f'--workdir={folder}/new'),
  ):
    status, _, err = call(capsys, *argv)
    assert status == 2 and err.count('\n') == 1, (argv, err)
    assert argv[0] == 'import' or 'no space left on' in err.lower(), (argv, err)
  assert {each.name for each in folder.iterdir()} <= {'filler', 'sweep', 'new'}


@pytest.mark.slow
def test_a_disk_that_turns_read_only_is_one_line(disk):
  folder, remount = disk
  # Files that are open for writing keep a whole file system from it; a bound folder can be turned.
  process = child(folder / 'run')
  wait_for_step_4(process)
  subprocess.run(['mount', '--bind', str(folder), str(folder)], check=True)
  try:
    remount('bind,ro')
    said = ends(child(folder / 'other'))
    assert f'cannot write to work directory {folder}/other: Read-only file system' in said
  finally:
    process.kill()
    process.communicate()
    subprocess.run(['umount', '-l', str(folder)], check=True)


def test_a_folder_that_goes_away_between_two_saves_is_one_line(tmp_path):
  run, config = tmp_path / 'run', toy.config(log__every=1, checkpoint__keep_best=0)

  def say(line):
    if line.startswith('step 3/'):  # step 2 is being saved, step 4 is the next
      while not (run / 'checkpoints' / '2' / checkpoint.MANIFEST).exists():
        time.sleep(0.01)
      run.rename(tmp_path / 'moved')

  with pytest.raises(
    config_lib.UserError, match=f'cannot write to {run}/metrics.jsonl: No such file'
  ):
    toy.train(config, run, say)
  assert not run.exists()
  (tmp_path / 'moved').rename(run)
  assert toy.train(config, run) and toy.train(config, tmp_path / 'whole')
  toy.assert_equal_runs(tmp_path / 'whole', run)


def test_a_save_that_never_ends_in_a_folder_that_is_gone_ends_in_one_line(tmp_path, monkeypatch):
  """As Orbax has once been seen to wait; what it leaves behind must not keep the process."""
  never = threading.Event()
  response = types.SimpleNamespace(result=never.wait)
  monkeypatch.setattr(checkpoint.ocp, 'save_checkpointables_async', lambda *unused: response)
  monkeypatch.setattr(checkpoint, '_LOOK', 0.05)
  folder = tmp_path / 'run' / 'checkpoints'
  folder.parent.mkdir()
  saved = checkpoint.Checkpoints(folder, toy.config().checkpoint)
  saved.save(2, {})
  with pytest.raises(concurrent.futures.TimeoutError):  # while its folder is there it may be slow
    concurrent.futures.ThreadPoolExecutor(1).submit(saved.wait).result(0.5)
  saved.save(4, {})
  shutil.rmtree(folder.parent)
  with pytest.raises(
    config_lib.Fatal, match=f'could not save step 4: cannot write to {folder}: No'
  ):
    saved.wait()
  saved.wait()  # said once
  never.set()


def test_after_a_save_that_failed_the_process_ends_at_once(monkeypatch, capsys):
  """Threads of Orbax that are left would speak while Python ends, or never end."""
  statuses = []
  monkeypatch.setattr(os, '_exit', statuses.append)
  for error in (config_lib.UserError('why'), config_lib.Fatal('why')):
    with pytest.raises(SystemExit):
      __main__._exit(2, 'train', error)
  assert statuses == [2] and capsys.readouterr().err == 'mlm-jax train: why\n' * 2


_LATE = """
import asyncio, sys
from mlm_jax.training import checkpoint

loop = asyncio.new_event_loop()
loop.close()
# As TensorStore's threads do: the outermost frame is that of asyncio.
try:
  loop.call_soon_threadsafe(print)
except RuntimeError as error:
  late = error.with_traceback(error.__traceback__.tb_next)
  sys.excepthook(RuntimeError, late, late.__traceback__)
  sys.unraisablehook(type('Raised', (), dict(
    exc_type=RuntimeError, exc_value=late, exc_traceback=late.__traceback__, err_msg='', object=None
  )))
print('nothing was said', file=sys.stderr)
loop.call_soon_threadsafe(print)
"""


def test_a_write_that_ends_after_its_event_loop_says_nothing():
  process = subprocess.run([sys.executable, '-c', _LATE], cwd=_ROOT, text=True, capture_output=True)
  # Of the same error where some Python called, all is said.
  first, *others = process.stderr.splitlines()
  assert first == 'nothing was said' and others[-1] == 'RuntimeError: Event loop is closed'


@pytest.mark.parametrize(
  'error, says',
  (
    (OSError(28, 'No space left on device'), 'no space left on X'),
    (OSError(122, 'Disk quota exceeded'), 'the quota of disk space is used up on X'),
    (OSError(30, 'Read-only file system'), 'cannot write to X: Read-only file system'),
    (FileNotFoundError(2, 'No such file'), 'cannot write to X: No such file or directory'),
    (ValueError("Failed writing: a b [os_error_code='28']"), 'no space left on X'),
    (ValueError('in\n two lines'), 'cannot write to X: in two lines'),
  ),
)
def test_what_the_system_says_is_found_in_the_errors_of_libraries(error, says):
  assert files.fault(error, 'X') == says
  wrapped = RuntimeError('wrapped')
  wrapped.__cause__ = error
  if 'lines' not in says:
    assert files.fault(wrapped, 'X') == says


@pytest.mark.parametrize('name', ('metrics', 'evaluations'))
def test_a_log_that_cannot_be_written_ends_the_run_in_one_line(tmp_path, monkeypatch, name):
  """As on a full disk, which refuses again when the file is closed."""
  run = tmp_path / 'run'
  toy.train_until(toy.config(), run, 4, monkeypatch)
  if not os.path.exists('/dev/full'):
    pytest.skip('no /dev/full here')
  opened = open

  def full(path, *arguments, **settings):
    is_log = str(path).endswith(f'{name}.jsonl') and arguments[:1] == ('a',)
    return opened('/dev/full' if is_log else path, *arguments, **settings)

  monkeypatch.setattr('builtins.open', full)
  says = f'no space left on {run}; the last whole checkpoint is step 4'
  with pytest.raises(config_lib.UserError, match=says):
    toy.train(toy.config(), run)
  monkeypatch.undo()
  assert toy.train(toy.config(), run)
