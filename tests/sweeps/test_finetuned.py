"""Sweeps of fine-tuning: steps come from epochs, metrics from the task; seeds of one config."""

import csv
import json

import pytest

from mlm_jax import config as config_lib
from mlm_jax import sweeps
from mlm_jax.sweeps import metrics
from mlm_jax.sweeps import plan_text
from mlm_jax.sweeps import scoring
from tests import shared_runs
from tests.cli.test_main import call
from tests.report import fake_tasks
from tests.sweeps.experiments import QUIET
from tests.tasks import test_finetuning

ARMS = sweeps.param('task.from_scratch', [True, False])


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  """Returns (a run to start from, a file of training examples, one of test examples)."""
  folder, corpus = tmp_path_factory.mktemp('examples'), shared_runs.corpus(tmp_path_factory)
  write = test_finetuning.write_examples
  return (
    shared_runs.trained(tmp_path_factory, 'start'),
    write(folder / 'train.csv', corpus, 60),
    write(folder / 'test.csv', corpus, 20, seed=1),
  )


@pytest.fixture
def base(files):
  start, train, test = files
  return test_finetuning.config(start, train, **{'task.test': test, 'epochs': 2.0})


def plan(base, workdir, runs=None, **settings):
  runs = sweeps.product(ARMS, sweeps.seeds(2)) if runs is None else runs
  sweep = sweeps.Sweep(base=base, runs=runs, question='Does it help?', **settings)
  return sweeps.plan(sweep, 'experiments/transfer', workdir, QUIET)


def test_steps_come_from_the_epochs_and_all_arms_take_as_many(base, tmp_path):
  planned = plan(base, tmp_path)
  rows = json.loads(next(tmp_path.glob('data_*/manifest.json')).read_text())['splits']['train'][
    'rows'
  ]
  assert {run.config.total_steps for run in planned.runs} == {-(-2 * rows // 8)}
  # Written out as the run's folder will have them, so that the same command resumes.
  assert {run.config.evaluation.every for run in planned.runs} == {-(-rows // 8)}
  assert (planned.sweep.budget, planned.sweep.metric) == ('epochs', 'test_accuracy')
  assert planned.sweep.direction == 'max' and not scoring.finished(planned, tmp_path)
  assert len(list(tmp_path.glob('data_*'))) == 1  # shared by all
  text = '\n'.join(plan_text.lines(planned, tmp_path))
  assert 'epochs' in text and 'predictions' not in text


def test_an_arm_of_other_examples_has_the_epochs_or_the_steps_of_the_baseline(
  base, files, tmp_path
):
  runs = sweeps.param('task.train', [files[1], files[2]])
  base = config_lib.overlay(base, {'task.test': ''})
  for budget, is_equal in (('epochs', False), ('steps', True)):
    long, short = plan(base, tmp_path / budget, runs, budget=budget).runs
    assert (long.config.total_steps == short.config.total_steps) == is_equal


@pytest.mark.parametrize(
  'settings, says',
  (
    ({'budget': 'tokens'}, "budget = 'tokens': must be one of epochs, steps in fine-tuning"),
    ({'budget': 'predictions'}, 'must be one of epochs, steps'),
    ({'metric': 'reference_loss'}, "metric = 'reference_loss': run"),
    ({'metric': 'test_acuracy'}, "did you mean 'test_accuracy'"),
    ({'runs': sweeps.param('epochs', [2.0, 3.0])}, 'leave it to the budget'),
    ({'runs': sweeps.param('total_steps', [3, 4])}, 'leave it to the budget'),
    ({'runs': sweeps.param('task.train', [''])}, 'task.train'),
  ),
)
def test_what_cannot_be_is_refused_in_one_line(base, tmp_path, settings, says):
  with pytest.raises(config_lib.UserError, match=says) as error:
    plan(base, tmp_path, **settings)
  assert '\n' not in str(error.value)


def test_metrics_are_those_of_the_task_each_with_its_direction():
  found = metrics.of(fake_tasks.config())
  assert list(found)[0] == 'test_accuracy'
  assert found['test_loss'] == 'min' and found['validation_macro_f1'] == 'max'
  # Without test examples there is only what has chosen the checkpoints.
  assert metrics.default(fake_tasks.config(**{'task.test': ''})) == 'validation_accuracy'
  given = {'run': fake_tasks.config()}
  assert metrics.direction('validation_macro_f1', None, given) == 'max'
  assert metrics.direction('validation_macro_f1', 'min', given) == 'min'


@pytest.mark.slow
def test_seeds_are_runs_one_after_another_and_the_same_command_resumes(
  files, base, tmp_path, capsys
):
  recipe = tmp_path / 'config.json'
  recipe.write_text(config_lib.to_json(config_lib.overlay(base, {'total_steps': 4})))
  command = ('finetune', f'--config={recipe}', '--seeds=2', f'--workdir={tmp_path / "all"}')
  status, out, error = call(capsys, *command)
  assert status == 0, error
  lines = list(csv.DictReader((tmp_path / 'all' / 'results.csv').read_text().splitlines()))
  assert [line['run'] for line in lines] == ['seed=0', 'seed=1']
  scores = [
    json.loads((tmp_path / 'all' / 'runs' / line['run'] / 'test.json').read_text())['scores']
    for line in lines
  ]
  assert [float(line['test_accuracy']) for line in lines] == [
    pytest.approx(each['accuracy']) for each in scores
  ]
  mean = sum(each['accuracy'] for each in scores) / 2
  assert f'test_accuracy        {mean:.4f}' in out
  before = (tmp_path / 'all' / 'runs' / 'seed=0' / 'metrics.jsonl').stat().st_mtime_ns
  status, again, _ = call(capsys, *command)
  assert status == 0 and out.splitlines()[-1] == again.splitlines()[-1]
  assert (tmp_path / 'all' / 'runs' / 'seed=0' / 'metrics.jsonl').stat().st_mtime_ns == before
  status, _, error = call(capsys, *command[:2], '--seeds=0', command[3])
  assert status == 2 and '--seeds=0' in error
