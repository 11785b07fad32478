"""Tidy tables of a sweep: the numbers of its logs and slices, one a row."""

import csv
import io
import json

import pytest

from mlm_jax.report import sweep_report
from mlm_jax.report import sweep_results
from mlm_jax.report import tidy
from tests.report import fake


def rows(text):
  return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def folder(tmp_path):
  folder = fake.sweep(tmp_path / 'sweep', seeds=2)
  fake.of_sources(folder / 'runs' / 'rate=0.15_seed=0')
  return folder


def test_curves_are_the_held_out_numbers_and_the_training_loss_of_every_run(folder):
  found = [
    (row['run'], row['step'], row['metric'], row['source'], float(row['value']))
    for row in rows(tidy.curves(sweep_results.read(folder)))
  ]
  expected = []
  for arm in fake.RATES:
    for seed in range(2):
      run = f'{arm}_seed={seed}'
      for log, fields in (('metrics', ('loss',)), ('evaluations', None)):
        text = (folder / 'runs' / run / f'{log}.jsonl').read_text()
        for line in map(json.loads, text.splitlines()):
          for name in fields or list(line)[1:]:
            metric, source = name.split('_on_') if '_on_' in name else (name, '')
            value = pytest.approx(line[name], rel=1e-8)
            expected.append((run, str(line['step']), metric, source, value))
  assert found == expected and {row[3] for row in found} == {'', 'wiki', 'news'}


def test_slices_are_those_of_every_run_that_is_done(folder):
  fake.run(folder / 'runs' / 'rate=0.3_seed=1', 3.9, 0.3, until=4)
  (folder / 'runs' / 'rate=0.3_seed=1' / 'finished.json').unlink()
  found = rows(tidy.slices(sweep_results.read(folder)))
  assert len(found) == 5 * 7 and {row['arm'] for row in found} == set(fake.RATES)
  assert not [row for row in found if row['run'] == 'rate=0.3_seed=1']
  last = json.loads((folder / 'runs' / 'rate=0.8_seed=1' / 'slices.json').read_text())
  kept = last['slices']['policy action'][-1]
  assert found[-1] == {
    'run': 'rate=0.8_seed=1',
    'arm': 'rate=0.8',
    'seed': '1',
    'kind': 'policy action',
    'slice': 'kept',
    'tokens': '100',
    'loss': f'{kept["loss"]:.9g}',
    'accuracy': f'{kept["accuracy"]:.9g}',
  }


def test_no_file_of_a_report_names_a_folder_of_the_machine(tmp_path):
  folder = fake.sweep(tmp_path / 'sweep', experiment=f'{tmp_path}/experiments/rates', seeds=2)
  plan = json.loads((folder / 'sweep.json').read_text())
  for entry in plan['runs']:
    entry['settings']['data.source'] = f'text:{tmp_path}/{entry["arm"]}.txt'
  fake.write(folder / 'sweep.json', plan)
  fake.change(folder / 'base.json', init_from=f'{tmp_path}/other run', compilation_cache='~/cache')
  error = f"cannot read '{tmp_path}/x.txt'"
  fake.write(folder / 'status.json', {'rate=0.3_seed=0': {'state': 'failed', 'error': error}})
  fake.run(folder / 'runs' / 'rate=0.3_seed=0', 4.0, 0.3, until=2)
  (folder / 'runs' / 'rate=0.3_seed=0' / 'finished.json').unlink()
  for out in (folder, tmp_path / 'elsewhere'):
    sweep_report.write(folder, out)
    for file in (each for each in out.iterdir() if each.suffix not in ('.json', '')):
      assert str(tmp_path).encode() not in file.read_bytes(), file
  page = (folder / 'report.html').read_text()
  assert 'text:rate=0.3.txt' in page and 'x.txt&#x27;' in page and 'other run' in page
