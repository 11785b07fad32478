"""A run that was received from somebody else executes nothing that its reader has not named."""

import json
import shutil
import sys
from typing import Any

import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.training import own_code
from tests import shared_runs
from tests.cli.test_main import call

HOSTILE = (
  'import pathlib\n'
  'pathlib.Path(__file__).with_name("executed").touch()\n'
  'class Evil:\n'
  '  def __init__(self, table):\n'
  '    pass\n'
  '  def weights(self, row):\n'
  '    return row.tokens_L * 0 + 1\n'
  'def classes(text):\n'
  '  return []\n'
)
NAME = 'hostile_module_of_test'
CONFIG: Any = mlm_jax.config  # a module that can be called


@pytest.fixture
def run(tmp_path, tmp_path_factory, monkeypatch):
  """A run whose config names code that lies beside it and in the working directory."""
  folder = tmp_path / 'received'
  shutil.copytree(shared_runs.from_the_command_line(tmp_path_factory), folder)
  config = json.loads((folder / 'config.json').read_text())
  config['masking']['selection'] = f'{NAME}:Evil'
  config['data']['classes'] = f'{NAME}:classes'
  (folder / 'config.json').write_text(json.dumps(config))
  (tmp_path / f'{NAME}.py').write_text(HOSTILE)
  shutil.copy(tmp_path / f'{NAME}.py', folder)
  monkeypatch.chdir(tmp_path)
  monkeypatch.delitem(sys.modules, NAME, raising=False)
  monkeypatch.setattr(sys, 'path', list(sys.path))  # without the folders of other tests
  return folder


def assert_not_executed(run):
  assert not (run / 'executed').exists() and not (run.parent / 'executed').exists()


@pytest.mark.parametrize(
  'command, flags',
  (
    ('train', ('--config={run}/config.json', '--workdir={run}')),
    ('train', ('--config={run}/config.json', '--workdir={run}/../new')),
    ('prepare', ('--config={run}/config.json', '--workdir={run}/../new')),
    ('evaluate', ('--workdir={run}',)),
    ('evaluate', ('--workdir={run}', '--config={run}/config.json')),
    ('mask', ('--workdir={run}', '--text=a text')),
    ('mask', ('--config={run}/config.json', '--text=a text')),
  ),
)
def test_a_command_that_would_execute_code_says_what_and_which_flag_allows_it(
  run, capsys, command, flags
):
  status, _, err = call(capsys, command, *(each.format(run=run) for each in flags))
  assert status == 2 and err.count('\n') == 1, err
  assert f"= '{NAME}:" in err and f'would execute {run.parent}/{NAME}.py' in err
  assert f'--allow-code={NAME}:' in err
  assert_not_executed(run)
  assert sorted(each.name for each in run.parent.iterdir()) == [f'{NAME}.py', 'received']


def test_what_needs_no_code_of_it_executes_none(run, capsys):
  for argv in (
    ('fill', f'--workdir={run}', 'a [MASK]'),
    ('export', f'--workdir={run}', f'--to={run.parent}/exported'),
    ('report', run, f'--out={run.parent}/curve.png'),
    ('prepare', '--inspect', f'--workdir={run}'),
    ('mask', f'--workdir={run}', '--text=abc', '--config.masking.selection=uniform'),
  ):
    assert call(capsys, *argv)[0] == 0
  opened = mlm_jax.open_run(run)
  opened.embed(['a text'])
  for refused in (
    lambda: opened.masked(['a text']),
    lambda: CONFIG(f'{run}/config.json'),
    lambda: config_lib.from_json((run / 'config.json').read_text()),
    lambda: config_lib.load(run / 'config.json', [('seed', '3')]),
  ):
    with pytest.raises(config_lib.UserError, match=f'--allow-code={NAME}:Evil'):
      refused()
  assert_not_executed(run)


def test_what_the_user_names_is_executed(run, capsys):
  config = json.loads((run / 'config.json').read_text())
  config['data']['classes'] = ''
  (run / 'config.json').write_text(json.dumps(config))
  spec = f'{NAME}:Evil'
  loaded = CONFIG(f'{run}/config.json', {'masking.selection': spec})
  assert loaded == CONFIG(f'{run}/config.json', allow_code=[spec])
  assert loaded == config_lib.from_json((run / 'config.json').read_text(), allow_code=[spec])
  assert_not_executed(run)
  status, out, _ = call(capsys, 'mask', f'--workdir={run}', '--text=a text', f'--allow-code={spec}')
  assert status == 0 and (run.parent / 'executed').exists()
  assert mlm_jax.open_run(run, allow_code=[spec]).masked(['a text'])
  named = f'--config.masking.selection={spec}'
  assert call(capsys, 'mask', f'--config={run}/config.json', '--text=a text', named)[0] == 0


def test_a_run_that_is_opened_where_its_code_is_another_says_so_in_one_line(run, capsys):
  starts = json.loads((run / 'environment.json').read_text())
  starts[-1]['code'] = {NAME: '0' * 64}
  (run / 'environment.json').write_text(json.dumps(starts))
  says = f'warning: {run.parent}/{NAME}.py is not the code that {run} was trained with'
  for argv in (
    ('fill', f'--workdir={run}', 'a [MASK]'),
    ('export', f'--workdir={run}', f'--to={run.parent}/exported'),
    ('report', run, f'--out={run.parent}/curve.png'),
  ):
    status, out, err = call(capsys, *argv)
    (said,) = [line for line in (out + err).splitlines() if says in line]
    assert status == 0 and said.endswith(f'{run}/{own_code.FOLDER}/{NAME}.00000000.py')
  assert_not_executed(run)
