"""Reports of sweeps of fine-tuned runs: any metric of the task, in its own direction and unit."""

import csv
import io

import numpy as np
import pytest
import scipy.stats

from mlm_jax.report import sweep_report
from mlm_jax.report import sweep_results
from mlm_jax.report import task_sweep
from tests.report import fake
from tests.report import fake_tasks
from tests.report.test_report import Page
from tests.report.test_task_report import rows

BETTER, WORSE = 'from_scratch=false', 'from_scratch=true'


@pytest.fixture
def folder(tmp_path):
  return fake_tasks.sweep(tmp_path / 'sweep')


def read(folder, name):
  return list(csv.DictReader(io.StringIO((folder / name).read_text())))


def test_the_answer_is_the_paired_difference_in_points_of_the_test_accuracy(folder):
  (better, *_), found = fake.find(folder).answer, fake.find(folder).differences[BETTER]
  deltas = np.subtract(fake_tasks.ACCURACY['false'], fake_tasks.ACCURACY['true'])
  low, high = scipy.stats.t.interval(0.95, 2, deltas.mean(), scipy.stats.sem(deltas))
  np.testing.assert_allclose(
    (found.estimate.mean, found.estimate.low, found.estimate.high), (deltas.mean(), low, high)
  )
  assert better == (
    f'Better than {WORSE}: {BETTER} (+0.050 [{low:+.3f}, {high:+.3f}]) test accuracy (0.010 is one '
    'point).'
  )
  assert not fake.find(folder).warnings


@pytest.mark.parametrize('direction, verdict', (('max', 'Better than'), ('min', 'Worse: ')))
def test_more_is_better_or_less_as_the_sweep_says(tmp_path, direction, verdict):
  folder = fake_tasks.sweep(tmp_path / 'sweep', direction=direction)
  assert any(each.startswith(verdict) for each in fake.find(folder).answer)


def test_a_metric_of_the_validation_examples_is_that_of_the_best_checkpoint(tmp_path):
  folder = fake_tasks.sweep(tmp_path / 'sweep', metric='validation_accuracy')
  runs = sweep_results.read(folder).runs
  assert {run.values['validation_accuracy'] for run in runs} == {0.8}  # of step 4, not of step 6
  assert {run.values['step'] for run in runs} == {6}
  assert runs[0].curve == [(2, 0.78), (4, 0.8), (6, 0.78)]


def test_the_table_of_results_has_all_test_scores(folder):
  sweep_report.write(folder)
  lines = read(folder, 'results.csv')
  assert [float(line['test_accuracy']) for line in lines[:3]] == list(fake_tasks.ACCURACY['true'])
  for name in ('test_loss', 'test_macro_f1', 'test_matthews', 'validation_loss', 'tokens'):
    assert all(line[name] for line in lines), name
  assert 'reference_loss' not in lines[0] and 'predictions' not in lines[0]


def test_differences_the_table_and_the_curves_are_of_the_metric(folder):
  said = '\n'.join(sweep_report.write(folder))
  (line,) = read(folder, 'differences.csv')
  assert line['verdict'] == 'higher' and float(line['mean']) == pytest.approx(0.05)
  assert (line['scored_under'], line['score']) == ('test', 'accuracy')
  tex = (folder / 'table.tex').read_text()
  assert 'test accuracy' in tex and 'nats' not in tex and 'held-out' not in tex
  assert 'test accuracy' in said and 'reference' not in said
  assert {line['metric'] for line in read(folder, 'curves.csv')} >= {'validation_accuracy', 'loss'}


def test_the_page_says_nothing_of_masks_or_nats(folder):
  sweep_report.write(folder)
  page = (folder / 'report.html').read_text()
  text = Page(page).text
  assert rows(page, 'Final scores')[0][2].startswith('0.710')
  assert 'test_accuracy, more is better' in text and 'validation accuracy' in text
  for word in ('mask', 'nats', 'reference'):
    assert word not in text.partition('Settings that all runs')[0], word


@pytest.mark.parametrize(
  'metric, other', (('test_accuracy', 'test'), ('validation_accuracy', 'validation'))
)
def test_arms_are_compared_only_on_the_same_examples(tmp_path, metric, other):
  folder = fake_tasks.sweep(tmp_path / 'sweep', metric=metric)
  change = lambda name: [
    fake.write(
      place / 'environment.json',
      [{'test_examples': 't' * 64, 'validation_examples': 'v' * 64, **name}],
    )
    for place in fake.of_arm(folder, BETTER)
  ]
  # What the metric is not of may differ, and any tokenizer will do.
  unused = {'test': 'validation', 'validation': 'test'}[other]
  change({f'{unused}_examples': 'x', 'tokenizer': 'x'})
  assert not fake.find(folder).refused
  change({f'{other}_examples': 'x'})
  assert fake.find(folder).refused == {BETTER: f'other {other} examples'}


def test_means_over_seeds_are_those_of_student(folder):
  sweep = sweep_results.read(fake_tasks.sweep(folder.parent / 'one', runs=_one_arm(folder)))
  line = next(each for each in task_sweep.means(sweep) if each.startswith('test_accuracy'))
  values = np.array(fake_tasks.ACCURACY['true'])
  low, high = scipy.stats.t.interval(0.95, 2, values.mean(), scipy.stats.sem(values))
  assert line.split(maxsplit=1)[1] == f'{values.mean():.4f} [{low:.4f}, {high:.4f}]'


def _one_arm(folder):
  return [
    {
      'name': run.name,
      'arm': run.arm,
      'seed': run.seed,
      'total_steps': run.total_steps,
      'settings': run.settings,
    }
    for run in sweep_results.read(folder).runs[:3]
  ]


def test_a_run_that_is_not_done_has_no_test_score(folder):
  place = fake.of_arm(folder, BETTER)[0]
  (place / 'finished.json').unlink()
  run = next(each for each in sweep_results.read(folder).runs if each.folder == place)
  assert run.state == 'part way' and 'test_accuracy' not in run.values
  assert run.values['validation_accuracy'] == 0.78  # the newest
