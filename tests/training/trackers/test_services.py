"""wandb and Trackio get every line of a run once, whatever stops it, and know it again."""

import json
import shutil
import types

import pytest

from mlm_jax import config as config_lib
from mlm_jax.sweeps import layout
from mlm_jax.training import logs
from mlm_jax.training import loop
from mlm_jax.training import run_log
from tests.sweeps import experiments
from tests.training import test_population
from tests.training import toy
from tests.training.trackers import stand_ins


@pytest.fixture(params=('wandb', 'trackio'))
def service(request, monkeypatch):
  """(its name, the stand-in)"""
  make = stand_ins.Wandb if request.param == 'wandb' else stand_ins.Trackio
  return request.param, stand_ins.install(monkeypatch, request.param, make())


@pytest.fixture
def wandb(monkeypatch):
  return stand_ins.install(monkeypatch, 'wandb', stand_ins.Wandb())


def config(name, **settings):
  return toy.config(log__trackers=name, log__every=1, **settings)


def shown(module):
  """Returns {(log/key, step): value} of all runs of a stand-in, each of which is there once."""
  found = {}
  for run in module.runs:
    for line in run.lines:
      for key, value in line.items():
        if key != 'step':
          assert (key, line['step']) not in found, f'{key} of step {line["step"]} came twice'
          found[key, line['step']] = value
  return found


def written(workdir):
  """Returns what `shown` does, of a run's own files."""
  return {
    (f'{log}/{key}', line['step']): value
    for log in ('metrics', 'evaluations', 'spikes', 'timing')
    for line in logs.read_log(workdir, log)
    for key, value in line.items()
    if key != 'step' and isinstance(value, int | float)
  }


def test_all_that_the_logs_have_is_shown(service, tmp_path):
  name, module = service
  assert toy.train(config(name), tmp_path / 'run')
  assert shown(module) == pytest.approx(written(tmp_path / 'run'), rel=1e-6)
  assert ('evaluations/fit_error', 6) in shown(module)


def test_spikes_are_shown_without_their_rows(service, tmp_path):
  name, module = service
  settings = dict(total_steps=80, log__spike=1e-3, evaluation__every=80, checkpoint__every=80)
  assert toy.train(config(name, **settings), tmp_path / 'run')
  keys = {key for key, _ in shown(module) if key.startswith('spikes/')}
  assert keys == {'spikes/error', 'spikes/median', 'spikes/gradient_norm'}
  assert shown(module) == pytest.approx(written(tmp_path / 'run'), rel=1e-6)


def test_a_run_that_goes_on_is_the_same_run_there(service, tmp_path, monkeypatch):
  name, module = service
  toy.train_until(config(name), tmp_path / 'run', 4, monkeypatch)
  assert toy.train(config(name), tmp_path / 'run')
  first, second = module.runs
  key = 'id' if name == 'wandb' else 'name'
  assert first.given[key] == second.given[key]
  assert first.given['resume'] == second.given['resume'] == 'allow'
  steps = lambda run: {line['step'] for line in run.lines}
  assert steps(first) == {1, 2, 3, 4} and steps(second) == {5, 6}
  timing = {key for key in shown(module) if key[0].startswith('timing/')}
  assert set(shown(module)) == set(written(tmp_path / 'run')) and timing


def test_steps_that_are_done_again_after_a_kill_are_not_sent_again(service, tmp_path, monkeypatch):
  """The checkpoint of step 4 is lost with what followed: steps 3 and 4 come again."""
  name, module = service
  toy.train_until(config(name), tmp_path / 'run', 4, monkeypatch)
  shutil.rmtree(tmp_path / 'run' / 'checkpoints' / '4')
  assert toy.train(config(name), tmp_path / 'run')
  assert {line['step'] for line in module.runs[1].lines} == {5, 6}
  # Those that were sent first are those that the run has: it is deterministic.
  metrics = lambda found: {key: x for key, x in found.items() if not key[0].startswith('timing/')}
  assert metrics(shown(module)) == pytest.approx(metrics(written(tmp_path / 'run')), rel=1e-6)


def test_runs_in_folders_of_one_name_are_not_one_run(service, tmp_path):
  name, module = service
  for folder in ('a', 'b'):
    stand_ins.show(config(name), tmp_path / folder / 'run', toy.silent)
  key = 'id' if name == 'wandb' else 'name'
  assert module.runs[0].given[key] != module.runs[1].given[key]


def test_a_run_says_its_project_settings_and_folder(service, tmp_path):
  name, module = service
  c = config(name, log__project='mine', masking__rate=0.3)
  stand_ins.show(c, tmp_path / 'seed_1', toy.silent)
  given = module.runs[0].given
  assert given['project'] == 'mine' and given['group'] is None
  assert given['name'].startswith('seed_1')
  flat = config_lib.flatten(given['config'])
  assert flat['masking.rate'] == 0.3 and set(flat) == set(config_lib.flatten(c))


def test_the_runs_of_a_sweep_are_a_group(service, tmp_path):
  name, module = service
  sweep = tmp_path / 'rates'
  sweep.mkdir()
  plan = experiments.plan(sweep)
  layout.write(plan, sweep)
  for run in plan.runs:
    stand_ins.show(config(name), layout.run_folder(sweep, run), toy.silent)
  assert {run.given['group'] for run in module.runs} == {'rates'}
  for run, arm in zip(module.runs, experiments.NAMES, strict=True):
    assert run.given['name'].startswith(arm)


def test_the_runs_of_a_population_are_shown_apart(wandb, tmp_path):
  arms = test_population.arms(log__trackers='wandb', log__every=1)
  outcomes = test_population.run(arms, tmp_path)
  assert {each.state for each in outcomes.values()} == {'done'}
  names = {run.given['name']: run for run in wandb.runs}
  assert set(names) == set(arms) and len(wandb.runs) == len(arms)
  for arm, run in names.items():
    losses = {line['step']: line['metrics/error'] for line in run.lines if 'metrics/error' in line}
    own = logs.read_log(tmp_path / arm, 'metrics')
    assert losses == pytest.approx({line['step']: line['error'] for line in own}, rel=1e-6)


def test_only_the_first_process_shows_a_run(wandb, tmp_path, monkeypatch):
  second = types.SimpleNamespace(is_first=lambda: False)
  monkeypatch.setattr(run_log, 'distributed', second)
  assert toy.train(config('tensorboard,wandb'), tmp_path / 'run')
  assert wandb.runs == [] and not (tmp_path / 'run' / 'tensorboard').exists()


def test_wandb_is_told_how_the_run_has_ended(wandb, tmp_path, monkeypatch):
  toy.train_until(config('wandb'), tmp_path / 'run', 4, monkeypatch)
  assert toy.train(config('wandb'), tmp_path / 'run')
  settings = dict(optim__max_consecutive_nonfinite=2)
  with pytest.raises(loop.Diverged):
    c = config('wandb', **settings)
    toy.train(c, tmp_path / 'diverges', objective=toy.Regression(poison=3))
  assert [run.exit_code for run in wandb.runs] == [1, 0, 3]


def test_wandb_orders_lines_by_the_step_that_they_name(wandb, tmp_path):
  """Its own count ignores a line of an earlier step, and metrics are written behind a spike."""
  stand_ins.show(config('wandb'), tmp_path / 'run', toy.silent)
  (run,) = wandb.runs
  assert ('*', 'step') in run.defined and all('step' in line for line in run.lines)


def test_a_wandb_without_a_key_asks_nothing_and_is_left_out(wandb, tmp_path):
  wandb.has_key, lines = False, []
  stand_ins.show(config('wandb'), tmp_path / 'run', lines.append)
  (said,) = [line for line in lines if line.startswith('warning')]
  assert 'wandb login' in said and wandb.runs == []


@pytest.mark.parametrize('mode', ('offline', 'disabled'))
def test_a_wandb_that_is_not_online_needs_no_key(wandb, tmp_path, mode):
  wandb.mode, wandb.has_key, lines = mode, False, []
  stand_ins.show(config('wandb'), tmp_path / 'run', lines.append)
  assert len(wandb.runs) == 1 and lines == []


def test_where_wandb_shows_a_run_is_said_once(wandb, tmp_path):
  lines, logs = [], [('metrics', step, {'loss': 0.5}) for step in range(1, 5)]
  stand_ins.show(config('wandb'), tmp_path / 'run', lines.append, logs=logs)
  assert lines == [f'wandb shows run at {stand_ins.WandbRun.url}']


@pytest.mark.parametrize('damage', ('', '{"id": ', '[]', '{"id": "a", "steps": {"metrics": "x"}}'))
def test_a_damaged_note_of_what_was_sent_is_one_line(service, tmp_path, damage):
  name, module = service
  note, lines = tmp_path / 'run' / 'trackers' / f'{name}.json', []
  note.parent.mkdir(parents=True)
  note.write_text(damage)
  stand_ins.show(config(name), tmp_path / 'run', lines.append)
  (said,) = lines
  assert f'{note} is damaged' in said and module.runs == []


def test_a_note_has_the_id_and_the_last_steps(wandb, tmp_path):
  logs = [('metrics', 1, {}), ('spikes', 4, {}), ('metrics', 3, {})]
  stand_ins.show(config('wandb'), tmp_path / 'run', toy.silent, logs=logs)
  note = json.loads((tmp_path / 'run' / 'trackers' / 'wandb.json').read_text())
  assert note == {'id': wandb.runs[0].given['id'], 'steps': {'metrics': 3, 'spikes': 4}}
