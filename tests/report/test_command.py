"""`mlm-jax report` of a sweep, from the command line."""

import pytest

from mlm_jax.report import sweep_report
from mlm_jax.training import workdir as workdir_lib
from tests.cli.test_main import call
from tests.report import fake


def test_a_sweep_is_reported_into_its_folder_or_another(capsys, tmp_path):
  sweep = fake.sweep(tmp_path / 'sweep')
  status, out, _ = call(capsys, 'report', sweep)
  assert (
    status == 0
    and 'rate=0.3 against rate=0.15' in out
    and 'better under the reference masks (-0.099 [' in out
    and 'masks of rate=0.3   rate=0.3 ' in out
    and f'{sweep}/report.html' in out
  )
  _, help_, _ = call(capsys, 'report', '--help')
  assert all(
    f'{sweep / name}' in out and name in help_
    for name in (
      'report.html',
      'results.csv',
      'slices.csv',
      'curves.csv',
      'table.tex',
      'figure.png',
    )
  )
  assert len((sweep / 'results.csv').read_text().splitlines()) == 10
  for name, begins in {'png': b'\x89PNG', 'svg': b'<?xml', 'pdf': b'%PDF'}.items():
    assert (sweep / f'figure.{name}').read_bytes().startswith(begins)
    assert b'/tmp' not in (sweep / f'figure.{name}').read_bytes()
  status, out, _ = call(capsys, 'report', sweep, f'--out={tmp_path}/elsewhere')
  assert status == 0
  assert (tmp_path / 'elsewhere' / 'results.csv').read_bytes() == (
    sweep / 'results.csv'
  ).read_bytes()


@pytest.mark.parametrize('kind, begins', (('png', b'\x89PNG'), ('svg', b'<?xml'), ('pdf', b'%PDF')))
def test_the_figure_of_a_sweep_alone_is_the_one_in_its_folder(capsys, tmp_path, kind, begins):
  sweep = fake.sweep(tmp_path / 'sweep')
  status, out, _ = call(capsys, 'report', sweep, f'--out={tmp_path}/new/paper.{kind}')
  written = [path.name for path in (tmp_path / 'new').iterdir()]
  assert status == 0 and written == [f'paper.{kind}'] and f'paper: {tmp_path}/new/paper' in out
  content = (tmp_path / 'new' / f'paper.{kind}').read_bytes()
  assert content.startswith(begins) and not (sweep / 'report.html').exists()
  sweep_report.write(sweep)
  assert (sweep / f'figure.{kind}').read_bytes() == content


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


def test_what_a_run_has_changed_on_its_way_is_said(capsys, tmp_path):
  run = tmp_path / 'run'
  fake.run(run, 4.0, 0.15)
  (run / 'changes.jsonl').write_text('{"step": 4, "key": "log.every", "old": 1, "new": 2}\n')
  _, out, _ = call(capsys, 'report', run, f'--out={tmp_path}/curve.png')
  assert f'{run}: config.log.every was 1 until step 4, 2 from then on' in out.splitlines()


def test_a_sweep_that_cannot_be_reported_is_one_line_and_status_2(capsys, tmp_path):
  sweep = fake.sweep(tmp_path / 'sweep')
  for argv, says in (
    ((sweep, sweep / 'runs' / 'rate=0.3_seed=0'), 'is a sweep: report it alone'),
    ((sweep, f'--out={tmp_path}/a.csv'), 'for a sweep, --out is the folder'),
  ):
    status, _, err = call(capsys, 'report', *argv)
    assert status == 2 and says in err and err.count('\n') == 1
  fake.change(sweep / 'sweep.json', runs=[])
  status, _, err = call(capsys, 'report', sweep)
  assert status == 2 and 'is an empty sweep' in err and err.count('\n') == 1


def test_a_run_that_is_refused_leaves_no_picture(capsys, tmp_path):
  run = tmp_path / 'run'
  fake.run(run, 4.0, 0.15)
  for damaged in ('[{"versions": 3}]', '[3]', '{}', '['):
    (run / 'environment.json').write_text(damaged)
    status, _, said = call(capsys, 'report', run, f'--out={tmp_path}/curve.png')
    assert status == 2 and 'environment.json is damaged' in said
  assert not (tmp_path / 'curve.png').exists()


@pytest.mark.parametrize(
  'file, changes',
  [
    ('slices.json', {'slices': {'piece': [{'slice': 'a', 'loss': {}, 'accuracy': 1}]}}),
    ('slices.json', {'slices': {'piece': [{'slice': ['a'], 'loss': 1, 'accuracy': 1}]}}),
    ('slices.json', {'slices': 3}),
    ('slices.json', {'reference': {'bits_per_character': 'few'}}),
    ('scores.json', {'under': [{'masking': {}, 'loss': 'low'}]}),
    ('scores.json', {'under': [3]}),
  ],
)
def test_a_file_of_a_run_that_holds_other_things_is_named(capsys, tmp_path, file, changes):
  sweep = fake.sweep(tmp_path / 'sweep')
  fake.change(next((sweep / 'runs').iterdir()) / file, **changes)
  status, _, said = call(capsys, 'report', sweep)
  assert status == 2 and f'{file} is damaged' in said and said.count('\n') == 1
