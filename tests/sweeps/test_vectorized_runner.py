"""Sweeps as populations: what differs in numbers trains as one, what fails stops nothing else."""

import contextlib
import json

import pytest

from mlm_jax import config as config_lib
from mlm_jax import sweeps
from mlm_jax.sweeps import layout
from mlm_jax.sweeps import planning
from mlm_jax.sweeps import scoring
from mlm_jax.sweeps import vectorized_runner
from mlm_jax.tasks import population
from mlm_jax.training import loop
from mlm_jax.training import workdir as workdir_lib
from tests import toys
from tests.sweeps import actors
from tests.sweeps import experiments
from tests.sweeps import test_command

_RUNS = sweeps.product(
  sweeps.param('masking.unit', ['token', 'word']),
  sweeps.param('masking.rate', [0.15, 0.3]),
  sweeps.seeds(2),
)


@pytest.fixture
def made(monkeypatch):
  """(the populations that were trained, as lists of names; what becomes of the next ones, in their
  order)
  """
  made = []

  def run(configs, workdirs, log):
    made.append([each.name for each in workdirs])
    act = acts.pop(0) if acts else 'done'
    if isinstance(act, Exception):
      raise act
    for workdir in workdirs if act == 'done' else ():
      actors.finish(workdir)
    return dict.fromkeys(workdirs, loop.Outcome(act))

  acts = []
  monkeypatch.setattr(population, 'run', run)
  monkeypatch.setattr(planning, 'prepare_data', lambda runs, log: None)
  monkeypatch.setattr(scoring, 'score', lambda *unused: True)
  return made, acts


def states(workdir):
  return {
    name: each['state'] for name, each in json.loads((workdir / 'status.json').read_text()).items()
  }


def test_runs_that_differ_in_numbers_train_as_one_and_are_made_once(made, tmp_path):
  plan = experiments.plan(tmp_path, _RUNS)
  assert vectorized_runner.run(plan, tmp_path, log=experiments.QUIET)
  names = [run.name for run in plan.runs]
  assert made[0] == [
    [name for name in names if unit in name] for unit in ('unit=token', 'unit=word')
  ]
  assert set(states(tmp_path).values()) == {'done'} and len(names) == 8
  assert vectorized_runner.run(plan, tmp_path, log=experiments.QUIET) and len(made[0]) == 2


def test_a_population_has_as_many_runs_as_asked_for(made, tmp_path):
  assert vectorized_runner.run(experiments.plan(tmp_path, _RUNS), tmp_path, 3, experiments.QUIET)
  assert [len(names) for names in made[0]] == [3, 1, 3, 1]


def test_what_fails_is_reported_and_the_next_population_is_made(made, tmp_path):
  made[1].append(config_lib.UserError('the disk is full'))
  plan = experiments.plan(tmp_path, _RUNS)
  lines = []
  assert not vectorized_runner.run(plan, tmp_path, log=lines.append)
  assert lines[-1] == '4 of 8 runs are done' and 'failed: the disk is full' in lines
  status = json.loads((tmp_path / 'status.json').read_text())
  assert {each['error'] for each in status.values() if each['state'] == 'failed'} == {
    'the disk is full'
  }
  assert vectorized_runner.run(plan, tmp_path, log=lines.append)


def test_a_run_that_diverges_is_called_so(made, tmp_path):
  made[1].append('diverged')
  assert not vectorized_runner.run(
    experiments.plan(tmp_path, _RUNS), tmp_path, log=experiments.QUIET
  )
  assert sorted(states(tmp_path).values()) == ['diverged'] * 4 + ['done'] * 4


def test_a_process_that_outlived_its_sweep_is_waited_for(made, tmp_path, monkeypatch):
  plan = experiments.plan(tmp_path, _RUNS)
  said, slept, held = [], [], contextlib.ExitStack()
  place = layout.run_folder(tmp_path, plan.runs[1])
  held.enter_context(workdir_lib.locked(place))
  (place / 'config.json').touch()  # else nothing of it would be left

  def sleep(seconds):
    assert not made[0]
    slept.append(seconds)
    held.close()

  monkeypatch.setattr(vectorized_runner.time, 'sleep', sleep)
  assert vectorized_runner.run(plan, tmp_path, log=said.append)
  assert len(slept) == 1 and len(made[0]) == 2
  assert sum('rate=0.15_seed=1: a process that outlived' in line for line in said) == 1


def test_a_signal_ends_the_sweep(made, tmp_path, monkeypatch):
  made[1].append('stopped')
  plan = experiments.plan(tmp_path, _RUNS)
  scored = []
  monkeypatch.setattr(scoring, 'score', lambda *unused: scored.append(len(made[0])) or True)
  assert not vectorized_runner.run(plan, tmp_path, log=experiments.QUIET)
  assert len(made[0]) == 1 and set(states(tmp_path).values()) == {'waiting'} and not scored
  assert vectorized_runner.run(plan, tmp_path, log=experiments.QUIET) and scored == [3]


def test_a_population_whose_runs_differ_in_no_number_is_refused(made, tmp_path):
  plan = experiments.plan(
    tmp_path, sweeps.product(sweeps.param('masking.unit', ['token', 'word']), sweeps.seeds(1))
  )
  with pytest.raises(
    config_lib.UserError, match="config.masking.unit is 'token' in unit=token_seed=0, 'word' in"
  ):
    vectorized_runner.run(plan, tmp_path / 'sweep', log=experiments.QUIET)
  assert not made[0] and not (tmp_path / 'sweep').exists()


def test_what_cannot_be_a_population_is_refused_before_anything_starts(made, tmp_path):
  base = toys.config(stages=({'steps': 3}, {'steps': 3}))
  with pytest.raises(config_lib.UserError, match='config.stages: a population trains in one stage'):
    vectorized_runner.run(
      experiments.plan(tmp_path, base=base), tmp_path / 'sweep', log=experiments.QUIET
    )
  assert not made[0] and not (tmp_path / 'sweep').exists()


@pytest.mark.parametrize(
  'flags, status, says',
  (
    (('--population',), 0, '4 of 4 runs are done'),
    (('--population=-1',), 2, '--population=-1: must be between 0'),
    (
      ('--population', '--jobs=2'),
      2,
      '--population trains in this process: leave --jobs and --launcher out',
    ),
  ),
)
def test_the_flag_population(made, capsys, tmp_path, flags, status, says):
  experiment = experiments.write(tmp_path / 'experiment', test_command._BODY.format(seeds=2))
  seen, out, err = test_command.call(
    capsys, 'sweep', experiment, f'--workdir={tmp_path / "sweep"}', *flags
  )
  assert seen == status and says in (err if status else out)
