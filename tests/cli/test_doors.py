"""What is wrong is one line, at the command line and from Python."""

import pathlib
from typing import Any

import pytest

import mlm_jax
from mlm_jax import __main__
from mlm_jax import config as config_lib

_config: Any = config_lib  # a module that can be called


@pytest.mark.parametrize(
  'command',
  (
    'train --workdir=',
    'train --workdir=x --config=',
    'evaluate --workdir=x --data=',
    'export --workdir=x --to=',
    'import --from= --workdir=x',
    'report x --out=',
    'prepare --workdir=',
    'sweep x --workdir=',
    'demo --workdir=',
    'bench masking --rows=0',
    'bench masking --length=-3',
    'bench data --characters=0',
    'bench model --repetitions=0',
    'bench population --replicas 0',
    'bench step --dropout 1.5',
    'bench step --batch=99999999999',
  ),
)
def test_an_empty_flag_and_a_size_of_nothing_are_refused_in_one_line(
  command, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(SystemExit) as ended:
    __main__.main(command.split())
  said = capsys.readouterr()
  assert ended.value.code == 2 and said.err.count('\n') == 1 and said.err.startswith('mlm-jax ')
  assert not said.out and not any(pathlib.Path().iterdir())


@pytest.mark.parametrize(
  'call, says',
  (
    (lambda: _config(3), 'recipe = 3: must be a path'),
    (lambda: _config(''), "recipe = '': must be a path"),
    (lambda: _config(None, ['seed']), 'settings must be'),
    (lambda: _config(None, {3: 4}), 'settings must be'),
    (lambda: _config(None, {'seed': 'x'}), 'config.seed'),
    (lambda: _config(None, {'masking': 3}), 'masking'),
    (lambda: _config(None, {}, 'a:b'), 'allow_code must be a list'),
    (lambda: mlm_jax.train({'seed': 1}, 'x'), 'config is of type dict'),
    (lambda: mlm_jax.train(None, 'x'), 'no such config file: x/config.json'),
    (lambda: mlm_jax.train(_config(), ''), "workdir = '': must be a path"),
    (lambda: mlm_jax.train(_config(), ' '), "workdir = ' ': must be a path"),
    (lambda: mlm_jax.train(_config(), None), 'workdir = None: must be a path'),
    (lambda: mlm_jax.open_run(3), 'workdir = 3: must be a path'),
    (lambda: mlm_jax.open_run('x', 'newest'), "step = 'newest': must be a number"),
    (lambda: mlm_jax.open_run('x', -1), 'step = -1: must be a number'),
  ),
)
def test_a_wrong_argument_from_python_is_named(call, says, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(config_lib.UserError, match=says) as error:
    call()
  assert '\n' not in str(error.value) and not any(tmp_path.iterdir())


def test_a_name_with_dollars_is_no_mathematics(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  folder = tmp_path / r'a$\frac$'
  folder.mkdir()
  (folder / 'metrics.jsonl').write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
  __main__.main(['report', folder.name, '--out=curve.svg'])
  assert r'\frac' in (tmp_path / 'curve.svg').read_text()
