import itertools
import time

import numpy as np
import pytest

from mlm_jax import __main__ as main
from mlm_jax.benchmarks import clock


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


@pytest.mark.parametrize('arguments', (['bench'], ['bench', 'maskin'], ['bench', 'masking', '--rowz=1']))
def test_a_wrong_bench_is_refused(arguments, capsys):
  with pytest.raises(SystemExit) as caught:
    main.main(arguments)
  assert caught.value.code == 2
