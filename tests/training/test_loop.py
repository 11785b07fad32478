"""The loop, on a problem without text: exact resume, best, early stop, signals, devices."""

import json
import shutil

import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax.training import checkpoint
from mlm_jax.training import compiled
from mlm_jax.training import logs
from mlm_jax.training import loop
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import stopping
from mlm_jax.training import workdir as workdir_lib
from tests.training import toy


def steps_saved(workdir):
  return checkpoint.steps(workdir / 'checkpoints')


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """The folder of a run of the plain config that never stopped."""
  workdir = tmp_path_factory.mktemp('toy') / 'run'
  assert toy.train(toy.config(), workdir)
  return workdir


def test_a_run_leaves_what_it_says(whole):
  assert {each.name for each in whole.iterdir()} == {
    'checkpoints',
    'config.json',
    'environment.json',
    'evaluations.jsonl',
    'finished.json',
    'lock',
    'metrics.jsonl',
    'spikes.jsonl',
    'timing.jsonl',
    'weights.json',
  }
  assert [line['step'] for line in logs.read_log(whole, 'metrics')] == [2, 4, 6]
  assert [line['step'] for line in logs.read_log(whole, 'evaluations')] == [3, 6]
  metrics, timing = (logs.read_log(whole, name)[-1] for name in ('metrics', 'timing'))
  assert set(metrics) == {'step', 'error', 'gradient_norm', 'learning_rate', 'skipped'}
  assert {'examples_per_second', 'seconds', 'seconds_per_step', 'waited_seconds'} <= set(timing)
  assert timing['examples_per_second'] == pytest.approx(16 / timing['seconds'], rel=1e-3)
  # Eight examples a step, counted by the task on the device.
  assert json.loads((whole / 'weights.json').read_text()) == {'step': 6, 'examples': 48.0}
  assert workdir_lib.finished(whole) == {'step': 6, 'reason': loop.ALL_STEPS}


def test_lines_show_the_metrics_and_the_speed(tmp_path):
  lines = []
  toy.train(toy.config(), tmp_path / 'run', lines.append)
  assert lines[0].startswith('step 2/6  error ') and 'examples/s' in lines[0]
  assert lines[1].startswith('step 3  held out: fit error ')


def test_utilisation_is_reported_where_the_peak_is_known(tmp_path, monkeypatch):
  monkeypatch.setattr(compiled.flops, 'peak', lambda kind: 1e12)
  lines = []
  work = {'work': lambda sums: {'examples': 16.0, 'model_flops': 4e6}}
  toy.train(toy.config(mesh__devices=2), tmp_path / 'run', lines.append, **work)
  for line in logs.read_log(tmp_path / 'run', 'timing'):
    assert line['model_flops_per_second'] * line['seconds'] == pytest.approx(4e6, rel=1e-4)
    assert line['utilisation'] == pytest.approx(line['model_flops_per_second'] / 2e12, rel=1e-5)
  assert any('% of the peak' in line for line in lines)


def test_a_finished_run_says_so(whole):
  before, lines = (whole / 'metrics.jsonl').read_bytes(), []
  assert toy.train(toy.config(), whole, lines.append)
  assert lines == [f'{whole} is finished: 6 steps, {loop.ALL_STEPS}']
  assert (whole / 'metrics.jsonl').read_bytes() == before


STAGES = ({'steps': 3}, {'steps': 3, 'batch_size': 4, 'optim.learning_rate': 3e-2})


@pytest.mark.parametrize(
  'settings', (dict(), dict(grad_accumulation_steps=2, mesh__data=2), dict(stages=STAGES))
)
def test_a_run_stopped_anywhere_and_resumed_equals_one_never_stopped(
  tmp_path, monkeypatch, settings
):
  # Steps 3 and 5 lie between two lines of the log, where the window is half full.
  config = toy.config(checkpoint__every=4, **settings)
  assert toy.train(config, tmp_path / 'whole')
  for step in (3, 5):
    toy.train_until(config, tmp_path / 'stopped', step, monkeypatch)
    assert steps_saved(tmp_path / 'stopped')[-1] == step
  assert toy.train(config, tmp_path / 'stopped')
  toy.assert_equal_runs(tmp_path / 'whole', tmp_path / 'stopped')


def test_the_work_of_a_resumed_window_is_that_of_its_own_steps(tmp_path, monkeypatch):
  """The window is restored with the steps before the stop; the clock is not."""
  toy.train_until(toy.config(log__every=6), tmp_path / 'run', 4, monkeypatch)
  assert toy.train(toy.config(log__every=6), tmp_path / 'run')
  (timing,) = logs.read_log(tmp_path / 'run', 'timing')
  assert timing['steps'] == 2
  assert timing['examples_per_second'] == pytest.approx(16 / timing['seconds'], rel=1e-3)


def test_a_run_saved_on_one_mesh_resumes_on_another(tmp_path, monkeypatch, whole):
  toy.train_until(toy.config(mesh__data=2), tmp_path / 'run', 4, monkeypatch)
  lines = []
  assert toy.train(toy.config(mesh__devices=1), tmp_path / 'run', lines.append)
  assert 'resumes at step 4' in lines
  for name in ('metrics', 'evaluations'):
    for ours, theirs in zip(
      logs.read_log(tmp_path / 'run', name), logs.read_log(whole, name), strict=True
    ):
      assert ours == pytest.approx(theirs, rel=1e-5)


def test_a_run_whose_newest_checkpoint_is_broken_resumes_at_the_one_before(tmp_path, whole):
  assert toy.train(toy.config(), tmp_path / 'run')
  (tmp_path / 'run' / 'checkpoints' / '6' / checkpoint.MANIFEST).write_text('{}')
  assert workdir_lib.finished(tmp_path / 'run') is None
  lines = []
  assert toy.train(toy.config(), tmp_path / 'run', lines.append)
  assert any('6.broken' in line for line in lines) and 'resumes at step 4' in lines
  toy.assert_equal_runs(whole, tmp_path / 'run')


def test_a_run_killed_between_its_last_save_and_its_last_word_is_finished_by_the_next_start(
  tmp_path, whole
):
  assert toy.train(toy.config(), tmp_path / 'run')
  (tmp_path / 'run' / workdir_lib.FINISHED).unlink()
  (tmp_path / 'run' / 'weights.json').unlink()
  assert toy.train(toy.config(), tmp_path / 'run')
  toy.assert_equal_runs(whole, tmp_path / 'run')
  assert workdir_lib.finished(tmp_path / 'run') == workdir_lib.finished(whole)
  assert (tmp_path / 'run' / 'weights.json').read_bytes() == (whole / 'weights.json').read_bytes()


def test_a_damaged_line_of_a_log_is_named_and_not_dropped(tmp_path, monkeypatch):
  toy.train_until(toy.config(), tmp_path / 'run', 4, monkeypatch)
  log = tmp_path / 'run' / 'metrics.jsonl'
  text = log.read_text()
  damaged = text.replace('{', '', 1)
  log.write_text(damaged)
  with pytest.raises(config_lib.UserError, match='metrics.jsonl line 1 is damaged'):
    toy.train(toy.config(), tmp_path / 'run')
  assert log.read_text() == damaged
  log.write_text(text + '{"step": 4, "lo')
  lines = [json.loads(line) for line in text.splitlines()]
  assert logs.read_log(tmp_path / 'run', 'metrics') == lines


def test_log_spaced_checkpoints_stay(tmp_path):
  config = toy.config(checkpoint__log_spaced=True, checkpoint__keep_latest=1)
  toy.train(config, tmp_path / 'run')
  assert steps_saved(tmp_path / 'run') == [0, 1, 2, 4, 6]


@pytest.mark.parametrize('mode, best', (('min', 8), ('max', 4)))
def test_the_best_step_is_kept_also_where_no_save_was_due(tmp_path, mode, best):
  scores = {2: 3.0, 4: 5.0, 6: 4.0, 8: 1.0, 10: 2.0, 12: 2.0}
  config = toy.config(
    total_steps=12, checkpoint__every=5, checkpoint__keep_latest=1, evaluation__every=2
  )
  toy.train(
    config,
    tmp_path / 'run',
    score=lambda params, progress: scores[round(12 * progress)],
    ranking=problem_lib.Ranking('fit', 'error', mode),
  )
  assert steps_saved(tmp_path / 'run') == [best, 12]


def early(**settings):
  """Returns (config, changes) of a run whose fifth evaluation is the third without improvement."""
  scores = (5.0, 3.0, 2.96, 3.5, 4.0, 1.0)
  ranking = problem_lib.Ranking('fit', 'error', patience=3, min_delta=0.05)
  return toy.config(total_steps=12, evaluation__every=2, checkpoint__every=5, **settings), {
    'score': lambda params, progress: scores[round(12 * progress) // 2 - 1],
    'ranking': ranking,
  }


WHY = 'fit_error has not improved in 3 evaluations'


def test_a_run_that_no_longer_improves_ends_early_is_saved_and_says_why(tmp_path):
  config, changes = early()
  lines = []
  assert toy.train(config, tmp_path / 'run', lines.append, **changes)
  assert lines[-1] == f'ends at step 10: {WHY}'
  assert workdir_lib.finished(tmp_path / 'run') == {'step': 10, 'reason': WHY}
  # The best by the least score is that of step 6; it improved by too little to count.
  assert {6, 10} <= set(steps_saved(tmp_path / 'run'))
  assert json.loads((tmp_path / 'run' / 'weights.json').read_text())['step'] == 10
  lines.clear()
  assert toy.train(config, tmp_path / 'run', lines.append, **changes)
  assert lines == [f'{tmp_path / "run"} is finished: 10 steps, {WHY}']


def test_an_evaluation_without_a_score_says_nothing_of_improvement():
  """Absent is not worse: nothing was predicted. Null is: it was not finite."""
  rule = stopping.patience(problem_lib.Ranking('fit', 'error', patience=2))
  lines = [{'step': 1, 'fit_error': 1.0}, {'step': 2}, {'step': 3, 'fit_error': 1.5}, {'step': 4}]
  assert rule(lines) == '' and rule([{'step': n} for n in range(9)]) == ''
  assert (
    rule([*lines, {'step': 5, 'fit_error': 1.1}]) == 'fit_error has not improved in 2 evaluations'
  )
  assert rule([*lines, {'step': 5, 'fit_error': None}]).startswith('fit_error has not improved')


@pytest.mark.parametrize('step', (8, 9))
def test_a_stopped_run_ends_early_where_one_never_stopped_does(tmp_path, monkeypatch, step):
  config, changes = early()
  assert toy.train(config, tmp_path / 'whole', **changes)
  toy.train_until(config, tmp_path / 'run', step, monkeypatch, **changes)
  assert toy.train(config, tmp_path / 'run', **changes)
  toy.assert_equal_runs(tmp_path / 'whole', tmp_path / 'run')
  assert workdir_lib.finished(tmp_path / 'run') == {'step': 10, 'reason': WHY}


def test_a_task_may_have_a_stop_rule_of_its_own(tmp_path):
  rule = lambda evaluations: 'enough' if len(evaluations) == 2 else ''
  config = toy.config(total_steps=12, evaluation__every=2)
  assert toy.train(config, tmp_path / 'run', stop_rule=rule)
  assert workdir_lib.finished(tmp_path / 'run') == {'step': 4, 'reason': 'enough'}


def guarded():
  """Returns (config, changes) of a run whose guard rises beyond its allowance at step 8."""
  fits, others = (5.0, 4.0, 3.0, 3.5, 1.0, 0.5, 0.5), (2.0, 1.0, 2.5, 2.4, 2.6, 2.0, 2.0)
  at = lambda values: lambda params, aux, progress: {'error': values[round(12 * progress) // 2]}
  config = toy.config(
    total_steps=12, evaluation__every=2, evaluation__at_start=True, checkpoint__every=5
  )
  return config, {
    'evaluators': {'fit': at(fits), 'other': at(others)},
    'ranking': problem_lib.Ranking('fit', 'error', guard='other_error', allowance=0.5),
    'keeps': 'best',
  }


def test_a_run_ends_beyond_its_allowance_with_the_best_within(tmp_path, monkeypatch):
  """Step 8 has the least error of all, and step 4 of those that are within, its edge included."""
  config, changes = guarded()
  assert toy.train(config, tmp_path / 'whole', **changes)
  why = 'other_error has risen by 0.6000 since step 0, more than the 0.5 allowed'
  wanted = {'step': 8, 'reason': why, 'model': 4}
  assert workdir_lib.finished(tmp_path / 'whole') == wanted
  assert json.loads((tmp_path / 'whole' / 'weights.json').read_text())['step'] == 4
  for step in (5, 8):
    run = tmp_path / f'run{step}'
    with toy.stopped_at(step, monkeypatch):
      toy.train(config, run, **changes)
    assert toy.train(config, run, **changes)
    toy.assert_equal_runs(tmp_path / 'whole', run)
    assert workdir_lib.finished(run) == wanted


def test_a_guard_that_is_not_a_number_is_beyond_and_one_that_is_absent_says_nothing():
  ranking = problem_lib.Ranking('fit', 'error', guard='other_error', allowance=9.0)
  first = {'step': 0, 'other_error': 1.0}
  assert stopping.beyond(ranking, [first, {'step': 1}]) == stopping.beyond(ranking, []) == ''
  assert stopping.beyond(ranking, [first, {'step': 1, 'other_error': None}])
  assert not stopping.beyond(ranking, [first, {'step': 1, 'other_error': 10.0}])


def test_a_spike_is_written_with_its_examples_and_survives_a_restart(tmp_path, monkeypatch):
  """Learning rates that jump make the loss jump; the log says where, the same after a restart."""
  config = toy.config(
    stages=({'steps': 24}, {'steps': 6, 'optim.learning_rate': 30.0}),
    total_steps=30,
    optim__clip_norm=0.0,
    checkpoint__every=30,
    evaluation__every=30,
  )
  said = []
  toy.train(config, tmp_path / 'whole', said.append)
  spikes = logs.read_log(tmp_path / 'whole', 'spikes')
  assert spikes and all(
    24 < line['step'] <= 30 and line['error'] > 1.3 * line['median'] for line in spikes
  )
  assert len(spikes[0]['rows']) == 8
  assert any(f'step {spikes[0]["step"]}: the error spiked to' in line for line in said)
  toy.train_until(config, tmp_path / 'stopped', 25, monkeypatch)
  toy.train(config, tmp_path / 'stopped')
  toy.assert_equal_runs(tmp_path / 'whole', tmp_path / 'stopped')


def test_a_run_cut_into_equal_stages_is_the_same_run_bit_for_bit(tmp_path, whole):
  stages = ({'steps': 3}, {'steps': 1}, {'steps': 2})
  toy.train(toy.config(stages=stages), tmp_path / 'three')
  toy.assert_equal_runs(whole, tmp_path / 'three')


def test_a_stage_may_have_a_peak_of_its_own(tmp_path):
  stages = ({'steps': 4}, {'steps': 2, 'optim.learning_rate': 1e-3})
  config = toy.config(
    stages=stages, optim__schedule='constant', optim__warmup_steps=1, log__every=1
  )
  toy.train(config, tmp_path / 'run')
  rates = [line['learning_rate'] for line in logs.read_log(tmp_path / 'run', 'metrics')]
  assert rates == pytest.approx([1e-1] * 4 + [1e-3] * 2)


def test_parameters_given_replace_those_of_init(tmp_path):
  given = {'linear/kernel': np.full(toy.WIDTH, 7.0, np.float32)}
  config = toy.config(total_steps=2, evaluation__every=1, checkpoint__log_spaced=True)
  toy.train(config, tmp_path / 'run', init_params=given)
  _, params, _ = checkpoint.read_model(tmp_path / 'run' / 'checkpoints', 0)
  assert params['linear']['kernel'].tolist() == [7.0] * toy.WIDTH and params['linear']['bias'] == 0


@pytest.mark.slow
def test_a_profile_is_written_when_it_is_asked_for(tmp_path):
  lines = []
  toy.train(toy.config(total_steps=12), tmp_path / 'run', lines.append, profile=True)
  assert list((tmp_path / 'run' / 'profile').rglob('*.xplane.pb'))
  assert f'profile: {tmp_path}/run/profile' in lines
  toy.train(toy.config(total_steps=2), tmp_path / 'short', lines.append, profile=True)
  assert not (tmp_path / 'short' / 'profile').exists()
  assert 'profile: none, since the run ended before step 6' in lines


def test_a_run_is_evaluated_before_its_first_step_where_that_is_asked(tmp_path, monkeypatch, whole):
  lines = []
  config = toy.config(evaluation__at_start=True)
  assert toy.train(config, tmp_path / 'run', lines.append)
  evaluations = logs.read_log(tmp_path / 'run', 'evaluations')
  assert [line['step'] for line in evaluations] == [0, 3, 6]
  assert lines[0].startswith('step 0  held out: fit error ')
  # It changes nothing else.
  assert evaluations[1:] == logs.read_log(whole, 'evaluations')
  assert (tmp_path / 'run' / 'metrics.jsonl').read_text() == (whole / 'metrics.jsonl').read_text()


@pytest.mark.parametrize('killed', ('before it is saved', 'after it is saved'))
@pytest.mark.parametrize('log_spaced', (False, True))
def test_a_run_killed_after_its_evaluation_at_step_0_begins_again(tmp_path, killed, log_spaced):
  # The start is the best that there is, so its checkpoint is to stay.
  score = {'score': lambda params, progress: progress}
  config = toy.config(evaluation__at_start=True, checkpoint__log_spaced=log_spaced)
  assert toy.train(config, tmp_path / 'whole', **score)
  assert steps_saved(tmp_path / 'whole')[0] == 0
  shutil.copytree(tmp_path / 'whole', tmp_path / 'killed')
  for path in (tmp_path / 'killed' / 'checkpoints').iterdir():
    if path.name != '0' or killed == 'before it is saved':
      shutil.rmtree(path)
  (tmp_path / 'killed' / 'finished.json').unlink()
  for path in (tmp_path / 'killed').glob('*.jsonl'):
    path.write_text(''.join(line + '\n' for line in path.read_text().splitlines()[:1]))
  for name in ('metrics', 'timing', 'spikes'):
    (tmp_path / 'killed' / f'{name}.jsonl').write_text('')
  assert toy.train(config, tmp_path / 'killed', **score)
  toy.assert_equal_runs(tmp_path / 'whole', tmp_path / 'killed')
  assert steps_saved(tmp_path / 'whole') == steps_saved(tmp_path / 'killed')
