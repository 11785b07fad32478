import itertools
import re
import time

import numpy as np
import pytest

from mlm_jax import __main__ as main
from mlm_jax import config
from mlm_jax.benchmarks import clock
from tests.data import invented


def test_tasks_take_turns_and_fast_ones_are_called_more_often():
  calls = []
  times = clock.take_turns({'slow': lambda: (calls.append('slow'), time.sleep(0.02)),
                            'fast': lambda: (calls.append('fast'), time.sleep(0.001))},
                           repetitions=3, turn=0.01)
  turns = [name for name, _ in itertools.groupby(calls)]
  assert calls.count('fast') > calls.count('slow') == 5  # warming, calibrating and three turns
  assert turns == ['slow', 'fast'] * 4
  assert times['slow'].wall_R.shape == (3,) and (times['slow'].wall_R >= 0.02).all()
  assert (times['slow'].processor_R < times['slow'].wall_R).all()  # sleeping takes no processor


def test_the_ratio_is_taken_turn_by_turn():
  """A machine twice as slow in every other turn leaves it as it is."""
  slowness = np.array([1, 2, 1, 2, 1.0])
  assert clock.ratio(8 * slowness, 2 * slowness) == 4


def test_the_table_names_every_task_and_its_ratio():
  times = {'ours': clock.Times(np.full(3, 0.5), np.full(3, 1.0)),
           'theirs': clock.Times(np.full(3, 2.0), np.full(3, 2.0))}
  lines = clock.table(times, 10, 'Mtok', 'theirs')
  assert lines[0].split('  ')[0] == '' and 'Mtok/s' in lines[0]
  assert lines[1].split() == ['ours', '20', '10', '4x', '2x']
  assert lines[2].split() == ['theirs', '5', '5', '1x', '1x']


def test_bench_masking_prints_both_units_and_budgets(capsys):
  main.main(['bench', 'masking', '--rows=4', '--length=32', '--vocabulary=100', '--repetitions=1'])
  printed = capsys.readouterr().out
  for name in ('token, independent', 'token, exact', 'word, independent', 'word, exact'):
    assert name in printed


def test_bench_data_prints_every_stage_and_the_peak_memory(capsys, tmp_path, monkeypatch):
  path = tmp_path / 'lines.txt'
  path.write_text('\n\n'.join(invented.sentences(400)))
  monkeypatch.setattr('mlm_jax.benchmarks.data._LOAD_SECONDS', 0.01)
  base = config.base

  def small():
    c = base()
    c.data.update(vocab_size=400, held_out=0.1, block_characters=100)
    return c

  monkeypatch.setattr(config, 'base', small)
  main.main(['bench', 'data', f'--source=text:{path}', '--batch-size=4'])
  printed = capsys.readouterr().out
  for name in ('read', 'clean', 'deduplicate', 'tokenize', 'pack', 'load'):
    assert f'\n{name} ' in printed
  peaks = [float(each) for each in re.findall(r'peak resident memory (\d+) MB', printed)]
  assert len(peaks) == 2 and 20 < peaks[0] <= peaks[1] < 100_000


@pytest.mark.parametrize('arguments', (['bench'], ['bench', 'maskin'], ['bench', 'masking', '--rowz=1']))
def test_a_wrong_bench_is_refused(arguments, capsys):
  with pytest.raises(SystemExit) as caught:
    main.main(arguments)
  assert caught.value.code == 2
