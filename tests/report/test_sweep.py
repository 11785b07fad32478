"""Reading a sweep's folder."""

import csv
import io
import json
import math
import shutil

import pytest

from mlm_jax import config as config_lib
from mlm_jax.report import sweep_results
from mlm_jax.report import tables
from mlm_jax.training import workdir as workdir_lib
from tests.report import fake


@pytest.fixture
def folder(tmp_path):
  return fake.sweep(tmp_path / 'sweep')


def results(folder):
  return list(csv.DictReader(io.StringIO(tables.results(sweep_results.read(folder)))))


def test_a_sweep_is_one_row_a_run_in_the_order_of_the_plan(folder):
  rows = results(folder)
  assert [(row['arm'], row['seed']) for row in rows] == [
    (arm, str(seed)) for arm in fake.RATES for seed in range(3)
  ]
  for row in rows:
    arm, seed = row['arm'], int(row['seed'])
    assert (
      row['masking.rate'] == arm.split('=')[1] and row['state'] == 'done' and row['step'] == '6'
    )
    assert float(row['reference_loss']) == fake.loss(arm, seed)
    assert float(row['policy_loss']) == pytest.approx(fake.loss(arm, seed) - 0.1)
    assert float(row['bits_per_character']) == pytest.approx(
      fake.loss(arm, seed) / 2 / math.log(2), rel=1e-5
    )
    assert (
      row['row_length'] == '16'
      and row['tokenizer'] == 'a' * 16
      and row['data_fingerprint'] == 'f' * 16
    )


def test_costs_are_added_up_over_the_logs(folder):
  row = results(folder)[3]  # rate .3: 6 steps of 8 rows of 16, a quarter of it padding
  assert float(row['tokens']) == 6 * 8 * 16 * 0.75
  assert float(row['predictions']) == 6 * 8 * 16 * 0.3 * 5 / 8
  assert (float(row['seconds']), float(row['flops'])) == (1.5, 1.5e6)
  assert float(row['tokens_per_second']) == 6 * 8 * 16 * 0.75 / 1.5


def test_counts_are_whole_numbers(folder):
  # Logs round shares to seven digits: 24,444 of 98,304 places were padding, 10,007 predicted.
  run = folder / 'runs' / 'rate=0.3_seed=0'
  fake.run(run, 3.9, 0.3, batch_size=3072)
  shares = {'padding': float(f'{24444 / 98304:.7g}'), 'predicted': float(f'{10007 / 98304:.7g}')}
  fake.lines(run / 'metrics.jsonl', [{'step': step, **shares} for step in (2, 4, 6)])
  row = results(folder)[3]
  assert (row['tokens'], row['predictions']) == (str(3 * (98304 - 24444)), str(3 * 10007))


def test_costs_are_those_up_to_the_newest_evaluation(folder):
  run = folder / 'runs' / 'rate=0.3_seed=0'
  lines = (run / 'evaluations.jsonl').read_text().splitlines(keepends=True)
  (run / 'evaluations.jsonl').write_text(''.join(lines[:2]))
  row = results(folder)[3]
  assert row['step'] == '4' and (row['tokens'], row['predictions']) == (str(4 * 96), str(4 * 24))
  assert (float(row['seconds']), float(row['flops'])) == (1.0, 1e6)


def test_a_replica_takes_its_share_of_the_time_of_its_population(folder):
  timing = folder / 'runs' / 'rate=0.3_seed=0' / 'timing.jsonl'
  fake.lines(
    timing, [{**json.loads(line), 'replicas': 3} for line in timing.read_text().splitlines()]
  )
  row = results(folder)[3]
  assert (float(row['seconds']), float(row['flops'])) == (0.5, 1.5e6)


def test_costs_of_stages_count_each_stages_batch(folder):
  run = folder / 'runs' / 'rate=0.3_seed=1'
  fake.run(
    run, 3.9, 0.3, stages=({'steps': 3, 'batch_size': 32}, {'steps': 3, 'data.row_length': 32})
  )
  row = results(folder)[4]
  assert float(row['tokens']) == (3 * 32 * 16 + 3 * 8 * 32) * 0.75 and row['row_length'] == '32'


def test_what_the_logs_do_not_say_is_left_empty(folder):
  run = folder / 'runs' / 'rate=0.3_seed=1'
  metrics = [json.loads(line) for line in (run / 'metrics.jsonl').read_text().splitlines()]
  fake.lines(run / 'metrics.jsonl', [{**metrics[0], 'padding': None}, *metrics[1:]])
  (run / 'timing.jsonl').unlink()
  (run / 'slices.json').unlink()
  row = results(folder)[4]
  unknown = 'tokens', 'flops', 'seconds', 'tokens_per_second', 'bits_per_character'
  assert not any(row[name] for name in unknown)
  assert row['predictions'] == '144' and row['state'] == 'done'


def test_a_run_whose_end_is_not_finite_has_diverged_whatever_else_says_so(folder):
  noted, null = (folder / 'runs' / f'rate=0.3_seed={seed}' for seed in range(2))
  workdir_lib.diverge(noted, 6, 'step 6: the gradient of step 6 was not finite')
  log = null / 'evaluations.jsonl'
  log.write_text(log.read_text().replace(f': {fake.loss("rate=0.3", 1)}', ': null'))
  sweep = sweep_results.read(folder)
  assert [run.state for run in sweep.of('rate=0.3')] == ['diverged', 'diverged', 'done']
  assert [run.error for run in sweep.of('rate=0.3')][0] == (
    'step 6: the gradient of step 6 was not finite'
  )
  assert [row['state'] for row in results(folder)].count('diverged') == 2


def test_a_run_is_done_when_its_last_step_is_evaluated_and_saved(folder):
  runs = folder / 'runs'
  fake.run(runs / 'rate=0.15_seed=0', 4.0, 0.15, until=4)
  shutil.rmtree(runs / 'rate=0.15_seed=1' / 'checkpoints')
  shutil.rmtree(runs / 'rate=0.15_seed=2')
  shutil.rmtree(runs / 'rate=0.3_seed=0')
  fake.write(
    folder / 'status.json',
    {
      'rate=0.3_seed=0': {'state': 'failed', 'attempts': 3, 'error': 'why'},
      'rate=0.3_seed=1': {'state': 'failed', 'attempts': 1, 'error': 'early'},
      'rate=0.8_seed=2': {'state': 'diverged', 'attempts': 1, 'error': 'step 4'},
    },
  )
  fake.run(runs / 'rate=0.8_seed=2', 4.0, 0.8, until=4)
  states = [run.state for run in sweep_results.read(folder).runs]
  assert states == ['part way', 'part way', 'waiting', 'failed'] + ['done'] * 4 + ['diverged']
  assert [run.error for run in sweep_results.read(folder).runs][3:] == [
    'why',
    '',
    '',
    '',
    '',
    'step 4',
  ]
  assert [row['step'] for row in results(folder)][:4] == ['4', '6', '', '']


def test_a_loss_that_is_not_a_number_is_read_as_nan(folder):
  path = folder / 'runs' / 'rate=0.8_seed=2' / 'evaluations.jsonl'
  path.write_text(path.read_text().replace(f': {fake.loss("rate=0.8", 2)}', ': null'))
  run = sweep_results.read(folder).runs[-1]
  assert math.isnan(run.values['reference_loss']) and run.state == 'diverged'
  assert results(folder)[-1]['reference_loss'] == 'nan'


def test_the_settings_that_vary_are_distinguished_from_those_that_do_not(folder):
  plan = json.loads((folder / 'sweep.json').read_text())
  for entry in plan['runs']:
    entry['settings'] |= {'total_steps': 6}
  del plan['runs'][0]['settings']['masking.rate']  # as in the base config, .15
  fake.write(folder / 'sweep.json', plan)
  assert sweep_results.read(folder).varied == {'masking.rate': [0.15, 0.3, 0.8]}
  assert 'total_steps' not in results(folder)[0] and results(folder)[0]['masking.rate'] == '0.15'


def test_a_report_of_nothing_says_so(folder):
  shutil.rmtree(folder / 'runs')
  with pytest.raises(config_lib.UserError, match='none of the 9 runs of .* has been evaluated yet'):
    sweep_results.read(folder)
  fake.change(folder / 'sweep.json', runs=[])
  with pytest.raises(config_lib.UserError, match='is an empty sweep'):
    sweep_results.read(folder)


@pytest.mark.parametrize(
  'changes, says',
  (
    (
      {'baseline': 'rate=0.2'},
      "no arm is called 'rate=0.2'; there are rate=0.15, rate=0.3, rate=0.8",
    ),
    ({'negative_control': 'rate=0.9'}, "no arm is called 'rate=0.9'"),
    ({'negative_control': 'rate=0.15'}, 'the negative control is the baseline itself'),
    ({'runs': [{'name': 'x', 'arm': 'x', 'seed': 0, 'settings': {}}]}, "KeyError: 'total_steps'"),
    ({'runs': None}, 'is damaged'),
    ({'runs': ['x']}, 'is damaged'),
    ({'runs': [{'name': 'x', 'arm': 'x', 'seed': None, 'total_steps': 1}]}, 'is damaged'),
  ),
)
def test_a_damaged_plan_is_named(folder, changes, says):
  fake.change(folder / 'sweep.json', **changes)
  with pytest.raises(config_lib.UserError, match=says):
    sweep_results.read(folder)


@pytest.mark.parametrize(
  'name, content, says',
  (
    ('sweep.json', '{', 'sweep.json is damaged'),
    ('sweep.json', '[]', 'must hold an object'),
    ('status.json', '{"a', 'status.json is damaged'),
    ('base.json', '', 'base.json is damaged'),
    ('runs/rate=0.3_seed=0/slices.json', '{', 'slices.json is damaged'),
    ('runs/rate=0.3_seed=0/config.json', '{', 'config.json is damaged'),
    (
      'runs/rate=0.3_seed=0/evaluations.jsonl',
      '{"step": 6, "reference_loss": "x"}\n',
      "_loss is 'x'",
    ),
    ('runs/rate=0.3_seed=0/metrics.jsonl', '{"step": 2,\n{"step": 4}\n', 'line 1 is damaged'),
  ),
)
def test_a_damaged_file_is_named(folder, name, content, says):
  (folder / name).write_text(content)
  with pytest.raises(config_lib.UserError, match=says) as raised:
    sweep_results.read(folder)
  assert '\n' not in str(raised.value)
