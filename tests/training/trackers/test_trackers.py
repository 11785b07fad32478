"""A tracker that fails, hangs or is missing never stops a run, and never slows it."""

import sys
import threading
import time
import types

import pytest

from mlm_jax import config as config_lib
from mlm_jax.config import limits
from mlm_jax.tasks import pretraining
from mlm_jax.training import run_log
from mlm_jax.training import trackers
from tests.sweeps import experiments
from tests.training import test_population
from tests.training import toy
from tests.training.trackers import stand_ins


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
  """A run that nothing shows."""
  workdir = tmp_path_factory.mktemp('plain') / 'run'
  assert toy.train(toy.config(), workdir)
  return workdir


def named(monkeypatch, start):
  """Has the tracker that `log.trackers` calls trackio start by a function."""
  module = types.ModuleType('mlm_jax.training.trackers.trackio')
  monkeypatch.setattr(module, 'start', start, raising=False)
  monkeypatch.setitem(sys.modules, module.__name__, module)
  stand_ins.install(monkeypatch, 'trackio', stand_ins.Trackio())
  return toy.config(log__trackers='trackio')


class Shown:
  """A tracker that keeps what it is given, and fails where it is told to."""

  says = ''

  def __init__(self, fail=lambda what: None):
    self.lines, self.status, self._fail = [], None, fail
    fail('start')

  def write(self, log, step, scalars):
    self._fail('write')
    self.lines.append((log, step, scalars))

  def finish(self, status):
    self._fail('finish')
    self.status = status


def warnings(lines):
  return [line for line in lines if line.startswith('warning')]


@pytest.mark.parametrize('where', ('start', 'write', 'finish'))
@pytest.mark.parametrize(
  'error',
  (
    RuntimeError('no network\nat all'),
    OSError(28, 'No space left on device'),
    KeyboardInterrupt(),
    SystemExit(3),
  ),
)
def test_whatever_a_tracker_raises_is_one_line_and_it_is_left_out(
  tmp_path, monkeypatch, where, error
):
  calls = []

  def fail(what):
    calls.append(what)
    if what == where:
      raise error

  lines, logs = [], [('metrics', step, {}) for step in range(1, 5)]
  config = named(monkeypatch, lambda run: Shown(fail))
  stand_ins.show(config, tmp_path / 'run', lines.append, logs=logs)
  (said,) = lines
  assert 'no longer shown by trackio' in said and type(error).__name__ in said and '\n' not in said
  assert calls.count(where) == 1


def test_one_that_fails_takes_no_other_with_it(tmp_path, monkeypatch, plain):
  def start(run):
    raise RuntimeError('no network')

  named(monkeypatch, start)
  wandb = stand_ins.install(monkeypatch, 'wandb', stand_ins.Wandb())
  lines = []
  config = toy.config(log__trackers='trackio,wandb,tensorboard')
  assert toy.train(config, tmp_path / 'run', lines.append)
  assert len(warnings(lines)) == 1 and wandb.runs[0].exit_code == 0
  assert list((tmp_path / 'run' / 'tensorboard').iterdir())
  toy.assert_equal_runs(plain, tmp_path / 'run')


@pytest.mark.parametrize('where', ('start', 'write', 'finish'))
def test_one_that_hangs_is_waited_for_at_the_end_alone_and_not_for_long(
  tmp_path, monkeypatch, where
):
  never, hung = threading.Event(), []
  monkeypatch.setattr(trackers, '_PATIENCE', 0.3)

  def hang(what):
    if what == where:
      hung.append(1)
      never.wait()

  lines = []
  config = named(monkeypatch, lambda run: Shown(hang))
  run = trackers.describe(tmp_path, config, 0)
  with trackers.Trackers(run, lines.append) as shown:
    for step in range(1, 100):
      shown.write('metrics', step, {'loss': 0.5})
    assert lines == []
    began = time.monotonic()
  assert 0.3 <= time.monotonic() - began < 10
  (said,) = lines
  assert 'does not answer' in said and hung == [1]
  never.set()


def test_none_is_waited_for_where_the_program_must_end_at_once(tmp_path, monkeypatch):
  never, lines = threading.Event(), []
  config = named(monkeypatch, lambda run: Shown(lambda what: never.wait()))
  run, began = trackers.describe(tmp_path, config, 0), time.monotonic()
  with pytest.raises(config_lib.Fatal), trackers.Trackers(run, lines.append):
    raise config_lib.Fatal('a save has failed')
  assert time.monotonic() - began < 10 < trackers._PATIENCE and lines == []
  never.set()


def test_one_that_is_too_slow_is_left_out(tmp_path, monkeypatch, plain):
  never, lines = threading.Event(), []
  monkeypatch.setattr(trackers, '_MOST', 2)
  config = named(monkeypatch, lambda run: Shown(lambda what: never.wait()))
  assert toy.train(config, tmp_path / 'run', lines.append)
  (said,) = warnings(lines)
  assert 'it is 2 lines behind' in said
  toy.assert_equal_runs(plain, tmp_path / 'run')
  never.set()


def test_runs_that_end_together_are_not_waited_for_one_after_another(tmp_path, monkeypatch):
  never = threading.Event()
  monkeypatch.setattr(trackers, '_PATIENCE', 2)
  named(monkeypatch, lambda run: Shown(lambda what: never.wait()))
  arms, lines = test_population.arms(log__trackers='trackio'), []
  ends = []
  leave = run_log.Recorder.leave
  monkeypatch.setattr(
    run_log.Recorder, 'leave', lambda self: (ends.append(time.monotonic()), leave(self))
  )
  with toy.stopped_at(3, monkeypatch):
    test_population.run(arms, tmp_path, log=lines.append)
  assert len(arms) == 3 and 1.5 < time.monotonic() - ends[0] < 5
  assert sorted(line[:11] for line in warnings(lines)) == [f'warning: {arm} ' for arm in arms]
  never.set()


def test_a_tracker_is_given_finite_numbers_alone(tmp_path, monkeypatch):
  shown = Shown()
  config = named(monkeypatch, lambda run: shown)
  run = trackers.describe(tmp_path, config, 0)
  with trackers.Trackers(run, toy.silent) as each:
    each.write('metrics', 1, {'a': 1, 'b': float('nan'), 'c': [1, 2], 'd': float('inf'), 'e': 0.5})
  assert shown.lines == [('metrics', 1, {'a': 1.0, 'e': 0.5})]
  assert shown.status == 1  # nobody has said that the run is done


def test_a_tracker_is_told_how_a_run_ends_and_from_where_it_goes_on(tmp_path, monkeypatch):
  runs, shown = [], []

  def start(run):
    runs.append(run)
    shown.append(Shown())
    return shown[-1]

  config = named(monkeypatch, start)
  toy.train_until(config, tmp_path / 'run', 4, monkeypatch)
  assert toy.train(config, tmp_path / 'run')
  assert [run.step for run in runs] == [0, 4] and [each.status for each in shown] == [1, 0]
  assert {run.workdir for run in runs} == {tmp_path / 'run'} and runs[0].name == 'run'


def test_every_name_is_a_tracker_and_every_tracker_a_name():
  folder = toy.checkpoint.pathlib.Path(trackers.__file__).parent
  files = {each.stem for each in folder.glob('*.py')} - {'__init__', 'interface', 'sent'}
  assert files == set(limits.TRACKERS)


@pytest.mark.parametrize('name', ('wandb', 'trackio'))
@pytest.mark.parametrize('is_folder', (False, True))  # as wandb leaves one where it was used
def test_one_that_is_not_installed_is_one_line_before_any_work(
  tmp_path, monkeypatch, name, is_folder
):
  missing(monkeypatch, name)
  if is_folder:
    (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
  says = f'^log.trackers names {name}, which is not installed: pip install .mlm_jax.{name}..$'
  make = lambda **unused: pytest.fail('work has begun')
  with pytest.raises(config_lib.UserError, match=says):
    toy.train(toy.config(log__trackers=f'tensorboard,{name}'), tmp_path / 'run', init=make)
  assert not (tmp_path / 'run').exists()


def missing(monkeypatch, name):
  """Makes a library one that is not installed."""
  monkeypatch.delitem(sys.modules, name, raising=False)
  monkeypatch.setattr(sys, 'path', [])
  sys.path_importer_cache.clear()


def test_a_finished_run_is_finished_wherever_its_trackers_are_missing(tmp_path, monkeypatch):
  config = named(monkeypatch, lambda run: Shown())
  assert toy.train(config, tmp_path / 'run')
  missing(monkeypatch, 'trackio')
  assert toy.train(config, tmp_path / 'run')


def test_a_sweep_whose_tracker_is_missing_names_the_run_and_prepares_nothing(tmp_path, monkeypatch):
  from mlm_jax.sweeps import planning

  plan = experiments.plan(tmp_path)
  for run in plan.runs:
    run.config.unlock()
    run.config.log.trackers = 'wandb'
  missing(monkeypatch, 'wandb')
  monkeypatch.setattr(pretraining, 'prepare_data', lambda *unused: pytest.fail('work'))
  says = f'run {plan.runs[0].name}: log.trackers names wandb, which is not installed'
  with pytest.raises(config_lib.UserError, match=says):
    planning.prepare_data(plan.runs, toy.silent)
