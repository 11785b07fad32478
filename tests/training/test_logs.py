"""The logs of a run that resumes are whole: what was cut below a checkpoint is written again."""

import shutil

import pytest

from mlm_jax import config as config_lib
from mlm_jax.training import checkpoint
from mlm_jax.training import logs
from mlm_jax.training import workdir as workdir_lib
from tests.training import toy


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  workdir = tmp_path_factory.mktemp('whole') / 'run'
  assert toy.train(config(), workdir)
  return workdir


def config():
  return toy.config(
    checkpoint__keep_latest=9, checkpoint__keep_best=0, log__every=1, evaluation__every=1
  )


def without(number):
  return lambda lines: lines[:number] + lines[number + 1 :]


@pytest.mark.parametrize('name', ('metrics', 'evaluations', 'timing'))
@pytest.mark.parametrize(
  'damage, resumes, says',
  (
    (lambda lines: lines[:3], 2, 'that was cut'),
    (lambda lines: [*lines[:2], lines[2][:9]], 2, 'that was cut'),  # in the middle of a line
    (without(2), 2, 'that was cut|that was altered'),
  ),
)
def test_a_run_whose_logs_lack_lines_resumes_where_they_are_whole(
  tmp_path, monkeypatch, whole, name, damage, resumes, says
):
  run = tmp_path / 'run'
  toy.train_until(config(), run, 4, monkeypatch)
  log = run / f'{name}.jsonl'
  log.write_text(''.join(damage(log.read_text().splitlines(keepends=True))))
  lines = []
  assert toy.train(config(), run, lines.append)
  (said,) = [line for line in lines if line.startswith('warning')]
  assert f'{run}/checkpoints/4 has a {name}.jsonl' in said and said.endswith('moved to 4.broken')
  assert f'resumes at step {resumes}' in lines
  assert [line['step'] for line in logs.read_log(run, name)] == [1, 2, 3, 4, 5, 6]
  toy.assert_equal_runs(whole, run)


def test_a_run_without_a_log_is_refused_and_nothing_is_moved(tmp_path, monkeypatch):
  run = tmp_path / 'run'
  toy.train_until(config(), run, 4, monkeypatch)
  (run / 'metrics.jsonl').unlink()
  says = 'can be restored: step 4 has a metrics.jsonl that was cut: 0 bytes of the .*; step 2'
  with pytest.raises(config_lib.UserError, match=says):
    toy.train(config(), run)
  assert checkpoint.steps(run / 'checkpoints') == [2, 4]


@pytest.mark.parametrize('name', ('metrics', 'evaluations'))
def test_a_finished_run_whose_logs_were_cut_is_not_finished_and_says_so(tmp_path, whole, name):
  """It goes on from where its logs are whole, and ends as it had ended."""
  run = shutil.copytree(whole, tmp_path / 'run')
  log = run / f'{name}.jsonl'
  log.write_text(''.join(log.read_text().splitlines(keepends=True)[:5]))
  assert workdir_lib.finished(whole) and not workdir_lib.finished(run)
  lines = []
  assert toy.train(config(), run, lines.append)
  assert f'{run}/checkpoints/6 has a {name}.jsonl that was cut' in lines[0]
  assert 'resumes at step 4' in lines and workdir_lib.finished(run)
  toy.assert_equal_runs(whole, run)


def test_a_damaged_line_is_refused_before_anything_is_written(tmp_path, whole):
  run = shutil.copytree(whole, tmp_path / 'run')
  (run / 'finished.json').unlink()
  with (run / 'timing.jsonl').open('a') as file:
    file.write('{"step": "x"}\n')
  before = {path: path.read_bytes() for path in run.rglob('*') if path.is_file()}
  with pytest.raises(config_lib.UserError, match=r"timing.jsonl line \d+ is damaged .*step is 'x'"):
    toy.train(config(), run)
  assert {path: path.read_bytes() for path in run.rglob('*') if path.is_file()} == before
