import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from mlm_jax import __main__ as main
from mlm_jax import config
from mlm_jax.benchmarks import clock
from mlm_jax.benchmarks import contestants
from mlm_jax.benchmarks import finetune
from mlm_jax.benchmarks import masking as masking_benchmark
from mlm_jax.benchmarks import population
from mlm_jax.benchmarks import step
from mlm_jax.benchmarks import workers
from tests import shared_runs
from tests.benchmarks import tasks
from tests.data import invented
from tests.sweeps import processes


def test_tasks_take_turns_and_fast_ones_are_called_more_often():
  calls = []
  times = clock.take_turns(
    {
      'slow': lambda: (calls.append('slow'), time.sleep(0.02)),
      'fast': lambda: (calls.append('fast'), time.sleep(0.001)),
    },
    repetitions=3,
    turn=0.01,
  )
  turns = [name for name, _ in itertools.groupby(calls)]
  assert calls.count('fast') > calls.count('slow') == 5  # warming, calibrating and three turns
  assert turns == ['slow', 'fast'] * 4
  assert times['slow'].wall_R.shape == (3,) and (times['slow'].wall_R >= 0.02).all()
  assert (times['slow'].processor_R < times['slow'].wall_R).all()  # sleeping takes no processor


def test_fine_tuning_is_measured_on_short_examples_and_by_processor_time():
  work = finetune.Work(1, 16, 300, batch=4, length=32, examples=200, dropout=0.0)
  sizes = [len(each) for each in work.tokens()]
  assert 3 <= min(sizes) and max(sizes) <= 32 and 10 <= np.median(sizes) <= 14
  times = {
    name: clock.Times(np.full(3, wall), np.full(3, processor))
    for name, wall, processor in (('ours, packed', 4.0, 2.0), ('Trainer', 5.0, 3.0))
  }
  found = finetune.measured(times, 200, dict.fromkeys(times, 1.0))
  assert found['Trainer']['ours is faster by'] == 1.5
  assert found['Trainer']['examples/processor-s'] == pytest.approx(200 / 3)


def test_the_ratio_is_taken_turn_by_turn():
  """A machine twice as slow in every other turn leaves it as it is."""
  slowness = np.array([1, 2, 1, 2, 1.0])
  assert clock.ratio(8 * slowness, 2 * slowness) == 4


def test_the_table_names_every_task_and_its_ratio():
  times = {
    'ours': clock.Times(np.full(3, 0.5), np.full(3, 1.0)),
    'theirs': clock.Times(np.full(3, 2.0), np.full(3, 2.0)),
  }
  lines = clock.table(clock.measured(times, 10, 'Mtok', 'theirs'))
  assert lines[0].split('  ')[0] == '' and 'Mtok/s' in lines[0]
  assert lines[1].split() == ['ours', '20', '10', '4x', '2x']
  assert lines[2].split() == ['theirs', '5', '5', '1x', '1x']


_PARENT = """
from mlm_jax.benchmarks import workers
from tests.benchmarks import tasks
if __name__ == '__main__':
  worker = workers.Worker(tasks.sleeper, (0.01,), [0])
  print(worker._process.pid, flush=True)
  worker.time(3)
  worker.do(tasks.cores)
  input()
"""


@pytest.mark.slow
def test_workers_end_with_a_benchmark_that_is_killed(tmp_path):
  program = tmp_path / 'parent.py'
  program.write_text(_PARENT)
  root = pathlib.Path(__file__).parents[2]
  parent = subprocess.Popen(
    [sys.executable, str(program)],
    env={**os.environ, 'PYTHONPATH': str(root)},
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  assert parent.stdout
  worker = int(parent.stdout.readline())
  parent.kill()
  parent.communicate()
  ended = lambda: not pathlib.Path(f'/proc/{worker}').exists()
  processes.wait_until(ended, 'the worker has ended')


@pytest.mark.slow  # thirteen programs
def test_bench_masking_prints_every_kind_of_policy(capsys):
  main.main(['bench', 'masking', '--rows=4', '--length=32', '--vocabulary=100', '--repetitions=1'])
  printed = capsys.readouterr().out
  for name in (*masking_benchmark._TOKENS, *masking_benchmark._WORDS):
    assert name in printed


def test_bench_model_prints_and_writes_every_part_beside_its_plain_form(capsys, tmp_path):
  main.main(
    [
      'bench',
      'model',
      '--rows=1',
      '--length=40',
      '--heads=1',
      '--window=8',
      '--vocabulary=100',
      '--repetitions=1',
      f'--out={tmp_path / "model.json"}',
    ]
  )
  printed = capsys.readouterr().out
  written = json.loads((tmp_path / 'model.json').read_text())
  assert written['flags']['length'] == 40 and written['versions']['jax'] == jax.__version__
  for name in (
    'relative positions',
    'relative positions and its gradient',
    'local attention',
    'local attention and its gradient',
    'replacements',
  ):
    ours = written['found'][f'{name}, ours']
    assert f'\n{name}, plain ' in printed
    assert re.search(rf'\n{name}, ours .* {ours["ratio by processor"]:.3g}x\n', printed)


def test_bench_data_prints_every_stage_and_the_peak_memory(capsys, tmp_path, monkeypatch):
  path = tmp_path / 'lines.txt'
  path.write_text('\n\n'.join(invented.sentences(400)))
  monkeypatch.setattr('mlm_jax.benchmarks.data._LOAD_SECONDS', 0.01)
  base = config.base

  def small():
    c = base()
    c.data.update(vocab_size=400, validation_fraction=0.1, block_characters=100)
    return c

  monkeypatch.setattr(config, 'base', small)
  main.main(['bench', 'data', f'--source=text:{path}', '--batch-size=4'])
  printed = capsys.readouterr().out
  for name in ('read', 'clean', 'deduplicate', 'tokenize', 'pack', 'load'):
    assert f'\n{name} ' in printed
  peaks = [float(each) for each in re.findall(r'peak resident memory (\d+) MB', printed)]
  assert len(peaks) == 2 and 20 < peaks[0] <= peaks[1] < 100_000


@pytest.mark.parametrize(
  'arguments', (['bench'], ['bench', 'maskin'], ['bench', 'masking', '--rowz=1'])
)
def test_a_wrong_bench_is_refused(arguments, capsys):
  with pytest.raises(SystemExit) as caught:
    main.main(arguments)
  assert caught.value.code == 2


@pytest.mark.skipif(
  not hasattr(os, 'sched_getaffinity'), reason='this system pins no process to cores'
)
def test_a_worker_is_timed_alone_on_the_cores_it_was_given():
  core = max(os.sched_getaffinity(0))
  worker = workers.Worker(tasks.sleeper, (0.01,), {core})
  try:
    assert worker.do(tasks.cores) == {core} and 0.01 <= worker.first_seconds
    begin = time.process_time()
    while time.process_time() - begin < 0.05:  # this process works, and is not counted
      pass
    wall, processor = worker.time(5)
    assert 0.01 <= wall and processor < 0.01
    assert 10 < worker.do(contestants.peak_memory) < 10_000
  finally:
    worker.close()
  assert not worker._process.is_alive()


@pytest.mark.parametrize(
  'make, argument, said',
  (
    (tasks.broken, 'no such thing', 'ValueError: no such thing'),
    (tasks.gone, 3, 'its process ended with status 3'),
  ),
)
def test_a_worker_that_fails_says_why_in_a_line(make, argument, said):
  with pytest.raises(workers.Failed) as caught:
    workers.Worker(make, (argument,), {0})
  assert str(caught.value) == said


def shape(**settings):
  return contestants.Shape(
    **{
      'layers': 1,
      'width': 64,
      'heads': 1,
      'feed_forward': 128,
      'vocabulary': 300,
      'batch': 4,
      'length': 32,
      'documents': 2,
      'masked': 0.15,
      'dropout': 0.0,
      'dtype': 'float32',
      **settings,
    }
  )


def test_all_contestants_are_given_the_same_documents_and_masks():
  packed, (inputs_BL, labels_BL, padding_BL) = shape().rows(2), shape().masked_rows()
  np.testing.assert_array_equal(packed.starts_BS, [[0, 16]] * 4)
  np.testing.assert_array_equal(padding_BL, [[False] * 16 + [True] * 16] * 4)
  chosen_BL = labels_BL >= 0
  assert set(chosen_BL.sum(1)) <= {2, 3}  # 15 % of 14
  np.testing.assert_array_equal(
    np.where(chosen_BL, labels_BL, inputs_BL)[:, :16], packed.tokens_BL[:, :16]
  )
  assert not chosen_BL[:, 16:].any()
  # By hand: 8 x 64^2 + 4 x 64 x 128 a token, 4 x 64 a pair; 2 x 64^2 + 2 x 64 x 300 a prediction.
  assert shape().model_flops(2) == pytest.approx(
    3 * (128 * (65536 + 16 * 256) + 0.15 * 112 * 46592)
  )


def test_the_report_begins_with_ratios_and_counts_useful_tokens():
  times = {
    'ours': clock.Times(np.full(3, 9.0), np.full(3, 0.5)),
    'transformers, eager': clock.Times(np.full(3, 1.0), np.full(3, 1.0)),
  }
  memory, first = ({name: value for name in times} for value in (100, 7))
  lines = step.report(step.measured(shape(), times, memory, first))
  assert lines[0] == 'ours / transformers, eager: 2.00'
  ours, theirs = (line.split()[-6:] for line in lines[-2:])
  assert ours[:2] == ['0.256', '0.256'] and theirs[:2] == ['0.128', '0.064']
  assert float(ours[2]) == pytest.approx(shape().model_flops(2) / 0.5 / 1e9, rel=1e-3)
  assert ours[4:] == ['100', '7']


@pytest.mark.slow
def test_bench_step_measures_ours_and_names_what_it_cannot_measure(capsys, monkeypatch):
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', shared_runs.compilation_cache())
  monkeypatch.setenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.3')
  monkeypatch.setattr(step, '_TURN', 0.01)
  monkeypatch.setattr(
    step,
    '_CONTESTANTS',
    {
      'ours': (contestants.ours, ()),
      'broken': (tasks.broken, ()),
      'absent': (tasks.broken, ('no_such_package',)),
    },
  )
  main.main(
    [
      'bench',
      'step',
      '--layers=1',
      '--width=64',
      '--vocabulary=300',
      '--batch=4',
      '--length=16',
      '--documents=2',
      '--repetitions=1',
      '--dropout',
      '0.1',
    ]
  )
  printed = capsys.readouterr().out
  assert re.search(r'\nours +\d', printed) and '\nbroken: not measured (ValueError: ' in printed
  assert '\nNot installed: absent. `make bench`' in printed


@pytest.mark.parametrize(
  'flag',
  (
    '--layers=0',
    '--width=65',
    '--vocabulary=200',
    '--documents=9',
    '--cores=999',
    '--dropout=2',
    '--dtype=float8',
    '--batch=0',
    '--repetitions=0',
  ),
)
def test_bench_step_refuses_what_cannot_work_in_a_line(flag, capsys):
  with pytest.raises(SystemExit) as caught:
    main.main(['bench', 'step', '--length=64', '--heads=2', flag])
  assert caught.value.code == 2
  error = capsys.readouterr().err
  assert error.count('\n') == 1 and 'must be' in error


@pytest.mark.slow
def test_bench_population_prints_a_run_alone_and_each_size(capsys):
  main.main(
    [
      'bench',
      'population',
      '--layers=1',
      '--width=64',
      '--vocabulary=300',
      '--batch=4',
      '--length=16',
      '--replicas',
      '2',
      '--repetitions=1',
    ]
  )
  lines = capsys.readouterr().out.splitlines()
  assert [line.split()[0] for line in lines[2:]] == ['alone', '2'] and lines[2].split()[-1] == '1'


def test_the_price_of_replicas_is_theirs_each():
  times = {
    'alone': clock.Times(np.full(3, 1.0), np.full(3, 2.0)),
    '4 replicas': clock.Times(np.full(3, 2.0), np.full(3, 6.0)),
  }
  lines = population.report(population.measured(times, {'alone': 1, '4 replicas': 4}))
  assert [line.split()[-3:] for line in lines[1:]] == [
    ['2000', '1000', '1'],
    ['1500', '500', '0.75'],
  ]


def test_bench_population_refuses_no_replicas(capsys):
  with pytest.raises(SystemExit) as caught:
    main.main(['bench', 'population', '--replicas', '0'])
  assert caught.value.code == 2 and 'must be at least 1' in capsys.readouterr().err
