"""`mlm-jax config` and `mlm-jax --version`: what there is to set, and what a config sets."""

import subprocess
import sys

import jax
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.config import meanings
from mlm_jax.config import shipped
from mlm_jax.tasks import pretraining
from tests import shared_runs
from tests.cli.test_main import call

SETTINGS = config_lib.flatten(config_lib.base())


def test_every_setting_is_shown_with_its_meaning_and_its_default(capsys):
  status, out, _ = call(capsys, 'config')
  lines = out.splitlines()
  assert status == 0
  for key, value in SETTINGS.items():
    assert lines[lines.index(f'{key} = {value!r}') + 1].strip() == meanings.meanings()[key]
  assert '\x1b' not in out  # colours are for terminals


def test_a_group_is_shown_alone(capsys):
  _, out, _ = call(capsys, 'config', 'model.deberta')
  shown = {line.partition(' = ')[0] for line in out.splitlines() if ' = ' in line[:40]}
  assert {each for each in shown if not each.startswith(' ')} == {
    key for key in SETTINGS if key.startswith('model.deberta.')
  }
  assert 'For the DeBERTa families only' in out


@pytest.mark.parametrize(
  'key, says',
  (
    ('masking.rate', 'number: at least 0 and at most 1'),
    ('masking.unit', 'text: one of collocation, sentence, span, token, word'),
    ('optim.power', 'read only where optim.schedule is polynomial'),
    ('model.remat', 'true or false'),
    ('log.trackers', 'names of tensorboard, wandb, trackio'),
  ),
)
def test_a_setting_is_shown_with_what_it_may_be(capsys, key, says):
  _, out, _ = call(capsys, 'config', key)
  assert out.startswith(f'{key} = {SETTINGS[key]!r}\n') and says in out


@pytest.mark.parametrize(
  'key, says',
  (
    ('optim.lr', 'did you mean config.optim.learning_rate?'),
    ('maskin', 'did you mean config.masking?'),
    ('bert_base', 'show it with --config=bert_base'),
  ),
)
def test_a_key_that_is_none_is_one_line(capsys, key, says):
  status, _, err = call(capsys, 'config', key)
  assert status == 2 and says in err and err.count('\n') == 1


def test_a_config_is_shown_resolved_with_what_differs_marked(capsys):
  status, out, _ = call(capsys, 'config', '--config=bert_base:smoke', '--config.seed=3')
  config = config_lib.flatten(
    pretraining.resolve(config_lib.load('bert_base:smoke', [('seed', '3')]))
  )
  lines = out.splitlines()
  assert status == 0 and '* seed = 3   (default 0)' in lines
  for key, value in config.items():
    if value == SETTINGS[key]:
      assert f'  {key} = {value!r}' in lines
    else:
      assert f'* {key} = {value!r}   (default {SETTINGS[key]!r})' in lines
  marked = [line for line in lines[:-1] if line.startswith('* ') and ' = ' in line]
  assert f'* {len(marked)} settings differ from the defaults' in lines


def test_settings_alone_are_shown_as_a_config(capsys):
  _, out, _ = call(capsys, 'config', 'masking.rate', '--config.masking.rate=0.4')
  assert out.startswith('masking.rate = 0.4   (default 0.15)\n')


def test_what_is_open_is_said_and_filled_from_the_run_that_is_named(capsys, tmp_path_factory):
  _, out, _ = call(capsys, 'config', '--config=continued_pretraining')
  assert "* model.family = ''" in out and 'that of the run in config.init_from' in out
  run = shared_runs.to_continue(tmp_path_factory)
  _, out, _ = call(capsys, 'config', '--config=continued_pretraining', f'--config.init_from={run}')
  assert '  model.family = ' in out and '* model.width = 32' in out


def test_the_recipes_are_listed_with_what_they_are(capsys):
  _, out, _ = call(capsys, 'config', '--list')
  for name in shipped.names():
    (line,) = [line for line in out.splitlines() if line.split()[:1] == [name]]
    assert line.endswith(shipped.summary(name))


def test_a_terminal_gets_colours(capsys, monkeypatch):
  monkeypatch.setenv('FORCE_COLOR', '1')  # as if it were one
  monkeypatch.setenv('TERM', 'xterm')
  monkeypatch.delenv('NO_COLOR', raising=False)
  _, out, _ = call(capsys, 'config', 'masking.rate', '--config.masking.rate=0.4')
  assert '\x1b[' in out and 'masking.rate' in out


def test_the_version_is_told_with_those_of_what_it_depends_on(capsys):
  status, out, _ = call(capsys, '--version')
  assert status in (0, None) and out.startswith('mlm-jax 0.') and f'jax {jax.__version__}' in out
  assert out.count('\n') == 1 and mlm_jax.__version__ in out


@pytest.mark.slow
@pytest.mark.parametrize('arguments', (['--version'], ['config'], ['config', 'masking.rate']))
def test_what_only_tells_does_not_import_jax(arguments):
  done = subprocess.run(
    [sys.executable, '-X', 'importtime', '-m', 'mlm_jax', *arguments],
    capture_output=True,
    text=True,
    check=True,
  )
  imported = {line.rpartition('|')[2].strip() for line in done.stderr.splitlines()}
  assert 'mlm_jax.config.keys' in imported and 'jax' not in imported
