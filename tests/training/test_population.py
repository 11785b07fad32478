"""Populations of the toy: each run is the one that it would have been alone."""

import pathlib

import jax
import numpy as np
import pytest

from mlm_jax.training import checkpoint
from mlm_jax.training import launch
from mlm_jax.training import logs
from mlm_jax.training import loop
from mlm_jax.training import population
from mlm_jax.training import sharding
from mlm_jax.training import workdir as workdir_lib
from tests.training import toy

ARMS = {
  'a': dict(seed=0, masking__rate=0.15, optim__learning_rate=1e-1),
  'b': dict(seed=0, masking__rate=0.4, optim__learning_rate=3e-2, optim__weight_decay=0.3),
  'c': dict(seed=1, masking__rate=0.15, optim__learning_rate=3e-2),
}


def arms(**settings):
  return {name: toy.config(**{'mesh__devices': 1, **arm, **settings}) for name, arm in ARMS.items()}


def run(configs, folder, changes=None, log=toy.silent):
  """Trains {name: config} together in folder/NAME; returns {name: Outcome}."""
  runs, mesh = {}, sharding.largest_mesh(1)
  for name, config in configs.items():
    workdir = pathlib.Path(folder) / name
    workdir.mkdir(parents=True, exist_ok=True)
    problem = toy.problem(config, mesh, **(changes or {}).get(name, {}))
    launch.furnish(workdir, config, problem)
    runs[workdir] = population.Run(config, problem)
  return {each.name: outcome for each, outcome in population.train(runs, log).items()}


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
  folder = tmp_path_factory.mktemp('alone')
  for name, config in arms().items():
    assert toy.train(config, folder / name)
  return folder


@pytest.fixture(scope='module')
def together(tmp_path_factory):
  folder = tmp_path_factory.mktemp('together')
  assert {each.state for each in run(arms(), folder).values()} == {'done'}
  return folder


def assert_same_run(a, b):
  for name in ('metrics', 'evaluations'):
    lines, others = (logs.read_log(each, name) for each in (a, b))
    assert lines
    for line, other in zip(lines, others, strict=True):
      assert line == pytest.approx(other, rel=1e-5, abs=1e-6)
  models = [checkpoint.read_model(each / 'checkpoints') for each in (a, b)]
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), *models)


def test_each_replica_equals_its_run_alone(alone, together):
  for name in ARMS:
    assert_same_run(together / name, alone / name)
    assert workdir_lib.finished(together / name) == workdir_lib.finished(alone / name)
    files = [{each.name for each in (folder / name).iterdir()} for folder in (alone, together)]
    assert files[0] == files[1] | {'lock'}


def test_one_run_is_a_population_too(alone, tmp_path):
  outcomes = run({'a': arms()['a']}, tmp_path)
  assert outcomes == {'a': loop.Outcome('done', loop.ALL_STEPS)}
  assert_same_run(tmp_path / 'a', alone / 'a')


def test_a_population_stopped_and_resumed_equals_one_never_stopped(together, tmp_path, monkeypatch):
  with toy.stopped_at(3, monkeypatch):
    assert {each.state for each in run(arms(), tmp_path).values()} == {'stopped'}
  assert {each.state for each in run(arms(), tmp_path).values()} == {'done'}
  for name in ARMS:
    toy.assert_equal_runs(tmp_path / name, together / name)


def test_runs_that_are_behind_catch_up_first(together, tmp_path, monkeypatch):
  with toy.stopped_at(4, monkeypatch):
    assert not toy.train(arms()['a'], tmp_path / 'a')
  lines = []
  assert {each.state for each in run(arms(), tmp_path, log=lines.append).values()} == {'done'}
  assert [line for line in lines if 'train as one' in line] == [
    '2 runs train as one from step 0 to 4: b, c',
    '3 runs train as one from step 4 to 6: a, b, c',
  ]
  for name in ARMS:
    assert_same_run(tmp_path / name, together / name)


def test_a_run_that_ends_early_leaves_the_others_to_continue(together, tmp_path):
  rule = {'b': {'stop_rule': lambda evaluations: 'enough'}}
  outcomes = run(arms(), tmp_path, rule)
  assert outcomes['b'] == loop.Outcome('done', 'enough')
  assert workdir_lib.finished(tmp_path / 'b') == {'step': 3, 'reason': 'enough'}
  assert [line['step'] for line in logs.read_log(tmp_path / 'b', 'evaluations')] == [3]
  for name in 'ac':
    toy.assert_equal_runs(tmp_path / name, together / name)


def test_a_run_that_diverges_leaves_the_others_as_they_were(together, tmp_path):
  configs = arms(optim__max_consecutive_nonfinite=2)
  configs['c'] = toy.config(
    **{'mesh__devices': 1, **ARMS['c'], 'optim__learning_rate': 1e30},
    optim__max_consecutive_nonfinite=2,
  )
  lines = []
  outcomes = run(configs, tmp_path, log=lines.append)
  assert [each.state for each in outcomes.values()] == ['done', 'done', 'diverged']
  assert any(line.startswith('c diverged: step') for line in lines)
  assert workdir_lib.finished(tmp_path / 'c') is None
  for name in 'ab':
    toy.assert_equal_runs(tmp_path / name, together / name)


def test_replicas_divided_over_devices_equal_those_on_one(together, tmp_path):
  two = {name: arms(mesh__devices=2)[name] for name in 'ab'}
  assert {each.state for each in run(two, tmp_path).values()} == {'done'}
  for name in 'ab':
    assert_same_run(tmp_path / name, together / name)
