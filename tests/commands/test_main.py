"""The command line: exit status, one line for wrong input, help with an example."""

import json
import pkgutil

import pytest

from mlm_jax import __main__
from mlm_jax import commands
from mlm_jax import workdir as workdir_lib
from tests import toys

COMMANDS = [each.name for each in pkgutil.iter_modules(commands.__path__) if not each.name.startswith('_')]


def call(capsys, *argv):
  """Returns (exit status, stdout, stderr)."""
  status = 0
  try:
    __main__.main([str(each) for each in argv])
  except SystemExit as exit:
    status = exit.code
  captured = capsys.readouterr()
  return status, captured.out, captured.err


@pytest.mark.parametrize('command', COMMANDS)
def test_help_shows_an_example(capsys, command):
  status, out, _ = call(capsys, command, '--help')
  assert status in (0, None) and f'mlm-jax {command} ' in out and 'Example' in out


@pytest.mark.parametrize('argv, says', (
    (('train', '--config=absent.py', '--workdir=x'), 'no such config file: absent.py'),
    (('train', '--config.masking.rat=1', '--workdir=x'), 'did you mean config.masking.rate?'),
    (('train', '--confg.seed=1', '--workdir=x'), 'unknown argument --confg.seed=1'),
    (('train', '--config.data.source=text:absent/*.txt', '--workdir={tmp}'), 'absent/*.txt'),
    (('fill', '--workdir=absent', 'a [MASK]'), 'no run in absent'),
    (('evaluate', '--workdir=absent'), 'no run in absent'),
    (('demo', '--minutes=0'), '--minutes=0.0: must be above 0'),
    (('report', 'absent', '--out=x.png'), 'absent has no metrics.jsonl'),
    (('report', 'absent', '--out=x.bmp'), 'must end in .png'),
))
def test_wrong_input_is_one_line_and_status_2(capsys, tmp_path, argv, says):
  status, _, err = call(capsys, *(each.format(tmp=tmp_path / 'run') for each in argv))
  assert status == 2 and says in err
  assert len(err.strip().splitlines()) == 1 and 'Traceback' not in err


def test_train_evaluate_fill_and_report_from_the_command_line(capsys, tmp_path):
  corpus = toys.write_corpus(tmp_path / 'corpus.txt')
  recipe = tmp_path / 'recipe.py'
  recipe.write_text('from tests import toys\n'
                    'def get_config(variant=None):\n'
                    f'  return toys.training_config({str(corpus)!r})\n')
  run = tmp_path / 'run'
  status, out, _ = call(capsys, 'train', f'--config={recipe}', '--config.seed=3', f'--workdir={run}')
  assert status == 0 and 'step 6/6' in out
  assert workdir_lib.read_config(run).seed == 3
  status, out, _ = call(capsys, 'evaluate', f'--workdir={run}')
  assert status == 0 and json.loads(out.splitlines()[-1])['step'] == 6
  status, out, _ = call(capsys, 'fill', f'--workdir={run}', 'abc [MASK].', '--top-k=2')
  assert status == 0 and out.startswith('abc [MASK].')
  status, out, _ = call(capsys, 'report', run, f'--out={tmp_path / "curve.png"}')
  assert status == 0 and (tmp_path / 'curve.png').read_bytes().startswith(b'\x89PNG')
