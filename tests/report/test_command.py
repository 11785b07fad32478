"""`mlm-jax report` of a sweep, from the command line."""

from mlm_jax.training import workdir as workdir_lib
from tests.cli.test_main import call
from tests.report import fake


def test_a_sweep_is_reported_into_its_folder_or_another(capsys, tmp_path):
  sweep = fake.sweep(tmp_path / 'sweep')
  status, out, _ = call(capsys, 'report', sweep)
  assert (
    status == 0
    and 'rate=0.3 against rate=0.15' in out
    and 'better under the reference masks (-0.099)' in out
    and 'masks of rate=0.3   rate=0.3 ' in out
    and f'{sweep}/report.html' in out
  )
  _, help_, _ = call(capsys, 'report', '--help')
  assert all(
    f'{sweep / name}' in out and name in help_
    for name in ('report.html', 'results.csv', 'table.tex', 'figure.png')
  )
  assert len((sweep / 'results.csv').read_text().splitlines()) == 10
  assert (sweep / 'figure.png').read_bytes().startswith(b'\x89PNG')
  status, out, _ = call(capsys, 'report', sweep, f'--out={tmp_path}/elsewhere')
  assert status == 0
  assert (tmp_path / 'elsewhere' / 'results.csv').read_bytes() == (
    sweep / 'results.csv'
  ).read_bytes()


def test_runs_of_a_sweep_are_drawn_like_other_runs(capsys, tmp_path):
  sweep = fake.sweep(tmp_path / 'sweep')
  runs = sorted((sweep / 'runs').iterdir())[:2]
  status, out, _ = call(capsys, 'report', *runs, f'--out={tmp_path}/curve.png')
  assert status == 0 and f'curve: {tmp_path}/curve.png' in out


def test_a_run_that_has_diverged_is_called_so_and_drawn_up_to_there(capsys, tmp_path):
  run = tmp_path / 'run'
  fake.run(run, 4.0, 0.15)
  for name in ('metrics.jsonl', 'evaluations.jsonl'):
    text = (run / name).read_text()
    last = text.splitlines()[-1]
    (run / name).write_text(text.replace(last, '{"step": 6, "loss": null, "reference_loss": null}'))
  workdir_lib.diverge(run, 6, 'step 6: why')
  status, out, _ = call(capsys, 'report', run, f'--out={tmp_path}/curve.png')
  assert status == 0 and out.splitlines()[1].split()[1:] == ['ffffffff', '6', 'diverged', '-']


def test_a_sweep_that_cannot_be_reported_is_one_line_and_status_2(capsys, tmp_path):
  sweep = fake.sweep(tmp_path / 'sweep')
  for argv, says in (
    ((sweep, sweep / 'runs' / 'rate=0.3_seed=0'), 'is a sweep: report it alone'),
    ((sweep, f'--out={tmp_path}/a.png'), 'for a sweep, --out is the folder'),
  ):
    status, _, err = call(capsys, 'report', *argv)
    assert status == 2 and says in err and err.count('\n') == 1
  fake.change(sweep / 'sweep.json', runs=[])
  status, _, err = call(capsys, 'report', sweep)
  assert status == 2 and 'is an empty sweep' in err and err.count('\n') == 1
