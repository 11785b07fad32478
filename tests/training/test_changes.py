"""A run that goes on with another config: what may differ, what it leaves, what is refused."""

import json
import shutil

import pytest

from mlm_jax import config as config_lib
from mlm_jax.training import changes
from mlm_jax.training import logs
from mlm_jax.training import workdir as workdir_lib
from tests.training import toy

CONSTANT = {'optim__schedule': 'constant', 'evaluation__every': 3, 'log__every': 3}
WSD = {'optim__schedule': 'one_minus_sqrt', 'optim__decay_steps': 4}


def go_on(folder, tmp_path, log=toy.silent, **settings):
  """Returns the folder of a copy of a run that goes on with another config."""
  run = tmp_path / 'changed'
  shutil.copytree(folder, run)
  assert toy.train(toy.config(**settings), run, log)
  return run


def recorded(run):
  return [(line['step'], line['key'], line['old'], line['new']) for line in changes.read(run)]


@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
  """The folder of a run of 6 steps that stopped behind the fourth, in the middle of a window."""
  run = tmp_path_factory.mktemp('toy') / 'run'
  with pytest.MonkeyPatch.context() as monkeypatch:
    toy.train_until(toy.config(log__every=3), run, 4, monkeypatch)
  return run


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
  """The folder of a run of 6 steps that never stopped."""
  run = tmp_path_factory.mktemp('toy') / 'run'
  toy.train(toy.config(), run)
  return run


def test_what_only_is_logged_saved_or_placed_may_change(stopped, finished, tmp_path):
  settings = {'log__every': 5, 'log__spike': 0.0, 'checkpoint__every': 1, 'mesh__data': 2}
  lines = []
  run = go_on(stopped, tmp_path, lines.append, **settings)
  assert 'config.log.every was 3 until step 4, 5 from then on' in lines
  toy.assert_equal_models(run, finished)
  assert [line['step'] for line in logs.read_log(run, 'metrics')] == [3, 5, 6]
  # Eight examples a step, also in the window that began under the other setting.
  for line in logs.read_log(run, 'timing'):
    assert line['examples_per_second'] * line['seconds_per_step'] == pytest.approx(8, rel=1e-3)
  assert recorded(run) == [
    (4, 'checkpoint.every', 2, 1),
    (4, 'log.every', 3, 5),
    (4, 'log.spike', 0.3, 0.0),
    (4, 'mesh.data', 0, 2),
  ]
  assert workdir_lib.read_config(run).log.every == 5


@pytest.mark.slow
def test_a_window_that_began_under_another_log_setting_is_the_mean_of_all_its_steps(
  stopped, tmp_path
):
  run = go_on(stopped, tmp_path, log__every=6)
  toy.train(toy.config(log__every=3), tmp_path / 'whole')
  assert (run / 'metrics.jsonl').read_text() == (tmp_path / 'whole' / 'metrics.jsonl').read_text()


def test_nothing_is_recorded_where_nothing_changes(stopped, tmp_path):
  run = go_on(stopped, tmp_path, log__every=3)
  assert changes.read(run) == [] and not (run / changes.FILE).exists()


def test_a_finished_run_of_a_constant_rate_grows_into_the_longer_one(tmp_path):
  run = tmp_path / 'run'
  toy.train(toy.config(**CONSTANT), run)
  assert toy.train(toy.config(total_steps=12, **CONSTANT), run)
  toy.train(toy.config(total_steps=12, **CONSTANT), tmp_path / 'whole')
  toy.assert_equal_runs(run, tmp_path / 'whole')
  assert workdir_lib.finished(run)['step'] == 12
  assert recorded(run) == [(6, 'total_steps', 6, 12)]
  assert json.loads((run / 'weights.json').read_text())['step'] == 12


@pytest.mark.slow
def test_the_old_end_keeps_its_lines_and_the_parameters_are_those_of_the_longer_run(tmp_path):
  settings = CONSTANT | {'evaluation__every': 5, 'log__every': 4}
  run = tmp_path / 'run'
  toy.train(toy.config(**settings), run)
  assert toy.train(toy.config(total_steps=12, **settings), run)
  toy.train(toy.config(total_steps=12, **settings), tmp_path / 'whole')
  toy.assert_equal_models(run, tmp_path / 'whole')
  assert [line['step'] for line in logs.read_log(run, 'metrics')] == [4, 6, 8, 12]
  assert [line['step'] for line in logs.read_log(run, 'evaluations')] == [5, 6, 10, 12]


@pytest.mark.slow
def test_a_decay_that_has_not_begun_moves_to_the_new_end(tmp_path, monkeypatch):
  run = tmp_path / 'run'
  toy.train_until(toy.config(total_steps=8, **WSD), run, 4, monkeypatch)
  assert toy.train(toy.config(total_steps=12, **WSD), run)
  toy.train(toy.config(total_steps=12, **WSD), tmp_path / 'whole')
  toy.assert_equal_runs(run, tmp_path / 'whole')


@pytest.mark.slow
def test_a_constant_rate_may_end_in_a_decay(tmp_path):
  run = tmp_path / 'run'
  toy.train(toy.config(**CONSTANT), run)
  settings = CONSTANT | WSD | {'total_steps': 10}
  assert toy.train(toy.config(**settings), run)
  toy.train(toy.config(**settings), tmp_path / 'whole')
  toy.assert_equal_models(run, tmp_path / 'whole')


@pytest.mark.slow
def test_the_last_stage_may_grow_and_no_other(tmp_path):
  stages = lambda first, last: {
    'stages': ({'steps': first}, {'steps': last, 'batch_size': 4}),
    'total_steps': first + last,
  }
  run = tmp_path / 'run'
  toy.train(toy.config(**CONSTANT, **stages(3, 3)), run)
  assert toy.train(toy.config(**CONSTANT, **stages(3, 6)), run)
  toy.train(toy.config(**CONSTANT, **stages(3, 6)), tmp_path / 'whole')
  toy.assert_equal_runs(run, tmp_path / 'whole')
  for refused in (stages(4, 6), {'total_steps': 12}):
    with pytest.raises(config_lib.UserError, match='only the steps of the last stage may change'):
      toy.train(toy.config(**CONSTANT, **refused), run)


@pytest.mark.slow
def test_a_run_that_evaluations_ended_trains_on_without_patience(tmp_path):
  settings = {'evaluation__every': 2, 'total_steps': 8}
  ends = {
    'ranking': lambda c: toy.problem_lib.Ranking(
      'fit', 'error', 'min', c.evaluation.patience, c.evaluation.min_delta
    ),
    'score': lambda params, progress: 1.0,
  }
  run = tmp_path / 'run'
  train = lambda c, folder: toy.train(c, folder, score=ends['score'], ranking=ends['ranking'](c))
  assert train(toy.config(evaluation__patience=1, **settings), run)
  assert workdir_lib.finished(run)['step'] == 4
  assert train(toy.config(evaluation__patience=0, **settings), run)
  assert train(toy.config(evaluation__patience=0, **settings), tmp_path / 'whole')
  toy.assert_equal_runs(run, tmp_path / 'whole')
  assert workdir_lib.finished(run) == workdir_lib.finished(tmp_path / 'whole')


@pytest.mark.parametrize(
  'old, new, why',
  [
    ({}, {'seed': 1}, 'seed is 1 here, 0 there (its steps so far were computed with it)'),
    ({}, {'evaluation__rows': 8}, 'evaluation.rows is 8 here, 1024 there (its scores so far'),
    (
      {'evaluation__patience': 2},
      {'evaluation__patience': 2, 'evaluation__every': 1},
      'evaluation.every is 1 here, 3 there (config.evaluation.patience = 2 counts',
    ),
    ({}, {'evaluation__patience': 2}, 'patience is 2 here, 0 there (fewer evaluations might have'),
    (
      {},
      {'total_steps': 12},
      'total_steps is 12 here, 6 there (of the 6 steps done, those from 4 on would have had',
    ),
    (CONSTANT, CONSTANT | {'total_steps': 4}, 'total_steps is 4 here, 6 there (6 steps are done)'),
    (
      CONSTANT | {'masking__schedule': 'linear', 'masking__final_rate': 0.3},
      CONSTANT | {'masking__schedule': 'linear', 'masking__final_rate': 0.3, 'total_steps': 12},
      "(config.masking.schedule = 'linear' spreads the masking rate over all steps)",
    ),
  ],
)
def test_what_would_make_the_steps_so_far_others_is_refused(finished, tmp_path, old, new, why):
  run = tmp_path / 'run'
  shutil.copytree(finished, run)
  workdir_lib.write_config(run, toy.config(**old))
  before = {each.name: each.read_bytes() for each in run.glob('*.*')}
  with pytest.raises(config_lib.UserError) as error:
    toy.train(toy.config(**new), run)
  assert why in str(error.value) and '\n' not in str(error.value)
  assert f'--config.init_from={run}' in str(error.value)
  assert before == {each.name: each.read_bytes() for each in run.glob('*.*')}


def test_evaluations_that_end_nothing_may_be_others(stopped, finished, tmp_path):
  run = go_on(stopped, tmp_path, log__every=3, evaluation__every=1, evaluation__batch_size=8)
  assert [line['step'] for line in logs.read_log(run, 'evaluations')] == [3, 5, 6]
  toy.assert_equal_models(run, finished)


@pytest.mark.parametrize('was', (True, False))
def test_a_run_of_before_the_trackers_goes_on_with_its_own_config(tmp_path, monkeypatch, was):
  """Its config.json says log.tensorboard."""
  run, name = tmp_path / 'run', 'tensorboard' if was else ''
  toy.train_until(toy.config(log__trackers=name), run, 4, monkeypatch)
  saved = json.loads((run / 'config.json').read_text())
  del saved['log']['trackers'], saved['log']['project']
  saved['log']['tensorboard'] = was
  (run / 'config.json').write_text(json.dumps(saved))
  config = config_lib.load(run / 'config.json')
  assert config.log.trackers == name
  lines = []
  assert toy.train(config, run, lines.append)
  assert 'resumes at step 4' in lines and changes.read(run) == []
  assert 'tensorboard' not in json.loads((run / 'config.json').read_text())['log']
