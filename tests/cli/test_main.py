"""The command line: exit status, one line for wrong input, help with an example."""

import io
import json
import pathlib
import pkgutil
import shutil

import pytest

import mlm_jax
from mlm_jax import __main__
from mlm_jax import cli
from mlm_jax import config
from mlm_jax.training import loop
from mlm_jax.training import workdir as workdir_lib
from tests import shared_runs

COMMANDS = [
  each.name for each in pkgutil.iter_modules(cli.__path__) if not each.name.startswith('_')
]


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


@pytest.mark.parametrize(
  'argv, says',
  (
    (('train', '--config=absent.py', '--workdir=x'), 'no such config file: absent.py'),
    (('mask', '--config.masking.rat=1', '--text=x'), 'did you mean config.masking.rate?'),
    (('train', '--confg.seed=1', '--workdir=x'), 'unknown argument --confg.seed=1'),
    (('prepare', '--config.data.source=text:absent/*.txt', '--workdir={tmp}'), 'absent/*.txt'),
    (('fill', '--workdir=absent', 'a [MASK]'), 'no run in absent'),
    (('evaluate', '--workdir=absent'), 'no run in absent'),
    (('demo', '--minutes=0'), '--minutes=0.0: must be above 0'),
    (('demo', '--minutes=inf'), '--minutes=inf: must be above 0 and finite'),
    (('demo', '--minutes=nan'), '--minutes=nan: must be above 0 and finite'),
    ((), 'mlm-jax: the following arguments are required: COMMAND; see --help'),
    (('trian',), "mlm-jax: argument COMMAND: invalid choice: 'trian'"),
    (('train',), 'mlm-jax train: the following arguments are required: --workdir; see --help'),
    (
      ('evaluate', '--workdir=x', '--step=last'),
      "mlm-jax evaluate: argument --step: invalid int value: 'last'",
    ),
    (('bench', 'maskin'), "mlm-jax bench: argument NAME: invalid choice: 'maskin'"),
    (
      ('bench', 'masking', '--rowz=1'),
      'mlm-jax bench masking: unrecognized arguments: --rowz=1; see --help',
    ),
    (('train', '--config={tmp}\nb.py', '--workdir=x'), 'no such config file'),
    (('report', 'absent', '--out=x.png'), 'no such folder: absent'),
    (('report', '.', '--out=x.png'), '. has no metrics.jsonl'),
    (('report', 'absent', '--out=x.bmp'), 'must end in .png'),
  ),
)
def test_wrong_input_is_one_line_and_status_2(capsys, tmp_path, argv, says):
  status, _, err = call(capsys, *(each.format(tmp=tmp_path / 'run') for each in argv))
  assert status == 2 and says in err
  assert len(err.strip().splitlines()) == 1 and 'Traceback' not in err


def write_logs(workdir, evaluations, fingerprint='0123456789'):
  workdir.mkdir()
  (workdir / 'metrics.jsonl').write_text(
    '{"step": 1, "loss": 5.0}\n{"step": 2}\n{"step": 3, "loss": 4.0}\n'
  )
  (workdir / 'evaluations.jsonl').write_text(evaluations)
  (workdir / 'environment.json').write_text(json.dumps([{'data_fingerprint': fingerprint}]))
  return workdir


_EVALUATION = '{"step": 3, "reference_loss": 4.5, "reference_accuracy": 0.25}\n'


def test_the_report_names_each_runs_data_and_warns_when_they_differ(capsys, tmp_path):
  one = write_logs(tmp_path / 'one', _EVALUATION)
  same = write_logs(tmp_path / 'same', _EVALUATION + '{"step": 4, "reference_lo')
  other = write_logs(tmp_path / 'other', '', fingerprint='98765432109')
  status, out, _ = call(capsys, 'report', one, same, f'--out={tmp_path}/a.png')
  assert status == 0 and 'not comparable' not in out
  assert [line.split()[1:] for line in out.splitlines()[1:3]] == [
    ['01234567', '3', '4.5000', '0.250']
  ] * 2
  status, out, _ = call(capsys, 'report', one, other, f'--out={tmp_path}/a.svg')
  assert status == 0 and [line for line in out.splitlines() if 'not comparable' in line]
  assert out.splitlines()[2].split()[1:] == ['98765432', '-', '-', '-']
  # The same data, of which one was scored on fewer rows.
  for workdir, rows in ((one, 1024), (same, 64)):
    c = config.override(config.base(), [('evaluation.rows', str(rows))])
    workdir_lib.write_config(pathlib.Path(workdir), c)
  status, out, _ = call(capsys, 'report', one, same, f'--out={tmp_path}/a.png')
  assert status == 0 and [line for line in out.splitlines() if 'not comparable' in line]


def test_a_report_that_cannot_be_made_says_why(capsys, tmp_path):
  run = write_logs(tmp_path / 'run', _EVALUATION)
  status, _, err = call(capsys, 'report', run, f'--out={tmp_path}/absent/a.png')
  assert (
    status == 2 and 'absent/a.png: cannot be written (No such file' in err and err.count('\n') == 1
  )
  strange = write_logs(tmp_path / 'strange', _EVALUATION.replace('4.5', '"x"'))
  status, _, err = call(capsys, 'report', strange, f'--out={tmp_path}/a.png')
  assert status == 2 and "evaluations.jsonl: reference_loss is 'x' in the line of step 3" in err
  assert err.count('\n') == 1


@pytest.mark.parametrize(
  'command, flags, function',
  (('train', ['--config=bert_base'], 'tasks.pretraining.run'), ('demo', [], 'demo.run')),
)
def test_a_run_that_diverges_is_one_line_and_status_3(
  capsys, monkeypatch, tmp_path, command, flags, function
):
  def diverge(*unused, **settings):
    raise loop.Diverged('step 3: not finite')

  monkeypatch.setattr(f'mlm_jax.{function}', diverge)
  status, _, err = call(capsys, command, *flags, f'--workdir={tmp_path}/run')
  assert (status, err) == (3, f'mlm-jax {command}: step 3: not finite\n')


def test_a_run_goes_on_from_its_folder_alone(capsys, tmp_path, tmp_path_factory):
  run = tmp_path / 'run'
  shutil.copytree(shared_runs.from_the_command_line(tmp_path_factory), run)
  before = (run / 'config.json').read_bytes()
  status, out, _ = call(capsys, 'train', f'--workdir={run}', '--config.log.every=1')
  assert status == 0 and out == f'{run} is finished: 6 steps, all steps are done\n'
  status, _, err = call(capsys, 'train', f'--workdir={run}', '--config.total_steps=9')
  assert status == 2 and 'config.total_steps is 9 here, 6 there (of the 6 steps done' in err
  # Nothing of this has changed it.
  assert (run / 'config.json').read_bytes() == before and not (run / 'changes.jsonl').exists()
  assert mlm_jax.train(None, run, log=shared_runs.QUIET)


@pytest.mark.parametrize('flags', ((), ('--dry-run',), ('--config.total_steps=9',)))
def test_a_folder_without_a_run_is_not_trained_in_without_a_recipe(capsys, tmp_path, flags):
  status, _, err = call(capsys, 'train', f'--workdir={tmp_path}/novls', *flags)
  assert status == 2 and err == (
    f'mlm-jax train: --workdir={tmp_path}/novls: no run there to resume; a new one needs '
    '--config=RECIPE\n'
  )
  assert not list(tmp_path.iterdir())


def test_a_redirected_log_is_written_line_by_line(monkeypatch):
  written = io.BytesIO()
  monkeypatch.setattr('sys.stdout', io.TextIOWrapper(io.BufferedWriter(written), encoding='utf-8'))
  monkeypatch.setattr(
    'mlm_jax.demo.run', lambda *unused: print('a line') or written.getvalue() == b'a line\n'
  )
  __main__.main(['demo'])  # exits with status 1 where demo.run returns False
  monkeypatch.setattr('sys.stdout', io.StringIO())
  monkeypatch.setattr('mlm_jax.demo.run', lambda *unused: True)
  __main__.main(['demo'])


def test_train_evaluate_fill_and_report_from_the_command_line(capsys, tmp_path, tmp_path_factory):
  run = shared_runs.from_the_command_line(tmp_path_factory)
  assert 'step 6/6' in run.with_name('printed.txt').read_text()
  assert workdir_lib.read_config(run).seed == 3
  status, out, _ = call(capsys, 'evaluate', f'--workdir={run}')
  assert status == 0 and json.loads(out.splitlines()[-1])['step'] == 6
  status, out, _ = call(capsys, 'fill', f'--workdir={run}', 'abc [MASK].', '--top-k=2')
  assert status == 0 and out.startswith('abc [MASK].')
  status, out, _ = call(capsys, 'report', run, f'--out={tmp_path / "curve.png"}')
  assert status == 0 and (tmp_path / 'curve.png').read_bytes().startswith(b'\x89PNG')
