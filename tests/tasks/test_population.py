"""Populations: each replica is the run that it would have been alone."""

import json

import jax
import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax.inference import predictor as run_lib
from mlm_jax.tasks import population
from mlm_jax.tasks import pretraining
from mlm_jax.training import checkpoint
from mlm_jax.training import logs
from mlm_jax.training import loop
from mlm_jax.training import workdir as workdir_lib
from tests import toys
from tests.tasks.test_pretraining import train_until
from tests.training import toy

SILENT = lambda line: None


@pytest.fixture(scope='module')
def config(tmp_path_factory):
  folder = tmp_path_factory.mktemp('population')
  corpus = toys.write_corpus(folder / 'corpus.txt')

  def make(**settings):
    return toys.training_config(
      corpus,
      **{
        'data__prepared': str(folder / 'data'),
        'model__layers': 1,
        'model__dropout': 0.1,
        'grad_accumulation_steps': 2,
        'mesh__devices': 1,
        'checkpoint__every': 4,
        **settings,
      },
    )

  pretraining.prepare_data(make(), None, SILENT)
  return make


@pytest.fixture(scope='module')
def arms(config):
  """{name: config}: two seeds, rates and learning rates, any two of them together; decay changes
  too.
  """
  return {
    f'{seed}-{rate}-{learning_rate}': config(
      masking__selection='accuracy',
      seed=seed,
      masking__rate=rate,
      optim__learning_rate=learning_rate,
      optim__weight_decay=30 * learning_rate,
    )
    for seed, rate, learning_rate in (
      (0, 0.15, 1e-2),
      (0, 0.4, 3e-3),
      (1, 0.15, 3e-3),
      (1, 0.4, 1e-2),
    )
  }


@pytest.fixture(scope='module')
def alone(arms, tmp_path_factory):
  """The folder of each arm's run on its own."""
  folder = tmp_path_factory.mktemp('alone')
  for name, c in arms.items():
    assert pretraining.run(c, folder / name, SILENT)
  return folder


@pytest.fixture(scope='module')
def together(arms, tmp_path_factory):
  """The folder of a population of all arms."""
  folder = tmp_path_factory.mktemp('together')
  assert set(run(arms, folder).values()) == {loop.Outcome('done', loop.ALL_STEPS)}
  return folder


def run(configs, folder, log=SILENT):
  """Trains {name: config} together in folder/NAME; returns {name: Outcome}."""
  outcomes = population.run(list(configs.values()), [folder / name for name in configs], log)
  return {workdir.name: outcome for workdir, outcome in outcomes.items()}


def assert_same_run(a, b):
  """As far as float error goes (8e-7 was seen), in parameters, metrics and evaluations."""
  for name in ('metrics', 'evaluations'):
    lines, others = (logs.read_log(each, name) for each in (a, b))
    assert [line.keys() for line in lines] == [line.keys() for line in others] and lines
    for line, other in zip(lines, others):
      assert line == pytest.approx(other, rel=1e-5, abs=1e-6)
  model, other = (checkpoint.read_model(each / 'checkpoints') for each in (a, b))
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=1e-5), model, other)


def assert_identical(a, b):
  """Bit for bit."""
  for name in ('metrics.jsonl', 'evaluations.jsonl', 'spikes.jsonl'):
    assert (a / name).read_text() == (b / name).read_text()
  models = [checkpoint.read_model(each / 'checkpoints') for each in (a, b)]
  jax.tree.map(np.testing.assert_array_equal, *models)


@pytest.mark.slow
def test_two_runs_that_differ_in_every_number_equal_their_runs_alone(arms, tmp_path):
  two = {name: arms[name] for name in (list(arms)[0], list(arms)[-1])}
  assert {each.state for each in run(two, tmp_path / 'together').values()} == {'done'}
  for name, c in two.items():
    assert pretraining.run(c, tmp_path / 'alone' / name, SILENT)
    assert_same_run(tmp_path / 'together' / name, tmp_path / 'alone' / name)


@pytest.mark.slow
def test_each_replica_equals_its_run_alone(arms, alone, together):
  for name in arms:
    assert_same_run(together / name, alone / name)


@pytest.mark.slow
def test_each_replica_leaves_an_ordinary_run(arms, alone, together):
  for name, c in arms.items():
    files = [{each.name for each in (folder / name).iterdir()} for folder in (together, alone)]
    assert files[0] == files[1]
    assert config_lib.differences(workdir_lib.read_config(together / name), c, ignore=()) == []
    timing = logs.read_log(together / name, 'timing')
    assert [line['replicas'] for line in timing] == [4, 4, 4]
    slices = [
      json.loads((folder / name / 'slices.json').read_text()) for folder in (together, alone)
    ]
    assert slices[0]['reference'] == pytest.approx(slices[1]['reference'], rel=1e-5)
    filled = [
      run_lib.open_run(folder / name).fill('[MASK] [MASK]', top_k=1) for folder in (together, alone)
    ]
    assert [each[0].token for each in filled[0]] == [each[0].token for each in filled[1]]


@pytest.mark.slow
def test_a_population_stopped_and_resumed_equals_one_never_stopped(
  arms, together, tmp_path, monkeypatch
):
  with toy.stopped_at(3, monkeypatch):
    outcomes = run(arms, tmp_path)
  assert {each.state for each in outcomes.values()} == {'stopped'}
  assert [checkpoint.steps(tmp_path / name / 'checkpoints')[-1] for name in arms] == [3] * 4
  assert {each.state for each in run(arms, tmp_path).values()} == {'done'}
  for name in arms:
    assert_identical(tmp_path / name, together / name)


@pytest.mark.slow
def test_runs_of_a_population_and_runs_alone_resume_from_each_other(
  arms, alone, tmp_path, monkeypatch
):
  ahead, *others = arms
  train_until(arms[ahead], tmp_path / ahead, 4, monkeypatch)
  lines = []
  with toy.stopped_at(5, monkeypatch):
    outcomes = run(arms, tmp_path, lines.append)
  assert {each.state for each in outcomes.values()} == {'stopped'}
  assert [line for line in lines if 'train as one' in line] == [
    f'3 runs train as one from step 0 to 4: {", ".join(others)}',
    f'4 runs train as one from step 4 to 6: {", ".join(arms)}',
  ]
  assert pretraining.run(arms[others[0]], tmp_path / others[0], SILENT)
  assert {each.state for each in run(arms, tmp_path, lines.append).values()} == {'done'}
  assert any('3 runs train as one from step 5 to 6' in line for line in lines)
  for name in arms:
    assert_same_run(tmp_path / name, alone / name)


@pytest.mark.slow
def test_a_run_that_diverges_leaves_the_others_as_they_were(arms, config, together, tmp_path):
  configs = {name: c.copy_and_resolve_references() for name, c in arms.items()}
  for c in configs.values():
    c.optim.max_consecutive_nonfinite = 2
  last = list(arms)[-1]
  configs[last].optim.learning_rate = 1e30
  lines = []
  outcomes = run(configs, tmp_path, lines.append)
  assert [each.state for each in outcomes.values()] == ['done'] * 3 + ['diverged']
  assert 'the gradients of 2 steps in a row were not finite' in outcomes[last].why
  assert any(line.startswith(f'{last} diverged: step 3: the gradients of 2') for line in lines)
  for name in list(arms)[:-1]:
    assert_identical(tmp_path / name, together / name)
  step, params, _ = checkpoint.read_model(tmp_path / last / 'checkpoints')
  assert step == 3 and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
  assert [line['step'] for line in logs.read_log(tmp_path / last, 'metrics')] == [2]


@pytest.mark.slow
def test_replicas_divided_over_devices_equal_those_on_one(arms, alone, tmp_path, monkeypatch):
  configs = {name: c.copy_and_resolve_references() for name, c in arms.items()}
  for c in configs.values():
    c.mesh.devices = 2
  shares, advance = set(), loop._Loop.advance

  def watched(self, step, run_state, *rest):
    shares.update(
      leaf.sharding.shard_shape(leaf.shape)[0] for leaf in jax.tree.leaves(run_state.state)
    )
    return advance(self, step, run_state, *rest)

  monkeypatch.setattr(loop._Loop, 'advance', watched)
  assert {each.state for each in run(configs, tmp_path).values()} == {'done'}
  assert shares == {2}  # of four
  for name in arms:
    assert_same_run(tmp_path / name, alone / name)


@pytest.mark.parametrize(
  'settings, says',
  (
    (
      dict(masking__unit='word'),
      "config.masking.unit is 'token' in .*/a, 'word' in .*/b: it is built into",
    ),
    (dict(batch_size=16), 'config.batch_size is 8 in .*/a, 16 in .*/b'),
    (dict(model__width=64), 'config.model.width is 32 in .*/a, 64 in .*/b'),
    (dict(log__every=3), 'config.log.every is 2 in .*/a, 3 in .*/b'),
  ),
)
def test_runs_that_differ_in_more_than_numbers_are_refused_by_key(config, tmp_path, settings, says):
  with pytest.raises(config_lib.UserError, match=says):
    run({'a': config(), 'b': config(**settings)}, tmp_path)
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  'settings, says',
  (
    (dict(stages=({'steps': 3}, {'steps': 3})), 'config.stages: a population trains in one stage'),
    (dict(mesh__devices=2, mesh__fsdp=2), 'config.mesh.fsdp = 2: must be 1'),
    (
      dict(batch_size=9, grad_accumulation_steps=2),
      'config.batch_size = 9: must be a multiple of grad_accumulation_steps',
    ),
  ),
)
def test_what_cannot_be_a_population_is_refused(config, tmp_path, settings, says):
  with pytest.raises(config_lib.UserError, match=says):
    run({name: config(seed=seed, **settings) for seed, name in enumerate('ab')}, tmp_path)
  assert not list(tmp_path.iterdir())


def test_a_folder_that_is_at_work_or_another_runs_is_refused(config, tmp_path):
  with workdir_lib.locked(tmp_path / 'b'):
    with pytest.raises(config_lib.UserError, match='another process is at work in .*/b'):
      run({'a': config(), 'b': config(seed=1)}, tmp_path)
  (tmp_path / 'b').mkdir(exist_ok=True)
  workdir_lib.write_config(tmp_path / 'b', config(seed=2))
  with pytest.raises(config_lib.UserError, match='config.seed is 1 here, 2 there'):
    run({'a': config(), 'b': config(seed=1)}, tmp_path)
  with pytest.raises(config_lib.UserError, match='two runs of a population have one folder'):
    population.run([config(), config(seed=1)], [tmp_path / 'a'] * 2, SILENT)
  assert not (tmp_path / 'a').exists()


def test_runs_are_grouped_by_what_is_not_a_number(config):
  configs = {
    'a': config(),
    'word': config(masking__unit='word'),
    'b': config(seed=1, masking__rate=0.4),
    'word 2': config(masking__unit='word', optim__learning_rate=1e-4),
    'long': config(total_steps=8),
  }
  assert population.groups(configs) == [['a', 'b'], ['word', 'word 2'], ['long']]
