"""Intervals over seeds and text: with known components of variance, and in a sweep's report."""

import csv
import dataclasses

import numpy as np
import pytest
import scipy.stats

from mlm_jax.report import statistics
from mlm_jax.report import sweep_report
from mlm_jax.report import text_interval
from tests.report import fake
from tests.report.test_false_alarms import within

LOW, HIGH, ALL = fake.RATES


def sampled(random, seed_sd, text_sd, rest_sd, seeds=3, segments=150):
  """Returns (differences_SN, tokens_N) with a true difference of 0 and known components."""
  tokens_N = random.integers(5, 30, segments).astype(float)
  normal = lambda sd, *shape: random.normal(0, sd, shape)
  rates_SN = normal(seed_sd, seeds, 1) + normal(text_sd, 1, segments)
  return (rates_SN + normal(rest_sd, seeds, segments)) * tokens_N, tokens_N


def covered(components, level=statistics.LEVEL, trials=300):
  """Returns how often 0 is in the interval over seeds and text, and in that over seeds alone."""
  random, both, seeds_alone = np.random.default_rng(5), 0, 0
  for _ in range(trials):
    differences_SN, tokens_N = sampled(random, *components)
    found = text_interval.interval(differences_SN, tokens_N, level)
    alone = statistics.estimate(differences_SN.sum(1) / tokens_N.sum(), level)
    both += found.low <= 0 <= found.high
    seeds_alone += alone.low <= 0 <= alone.high
  return both, seeds_alone


def test_it_is_students_where_the_text_adds_nothing():
  tokens_N = np.arange(5.0, 65.0)
  deltas_S = np.array([0.10, 0.12, 0.17])
  for level in (0.95, 0.9988):
    found = text_interval.interval(deltas_S[:, None] * tokens_N, tokens_N, level)
    expected = statistics.estimate(deltas_S, level)
    assert (found.n, found.mean) == (3, pytest.approx(expected.mean))
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_it_is_that_of_the_text_where_the_seeds_add_nothing():
  random = np.random.default_rng(2)
  differences_SN, tokens_N = sampled(random, 1e-6, 1.0, 1e-6)
  found = text_interval.interval(differences_SN, tokens_N, 0.95)
  # The standard error of a ratio of sums over the segments, linearized.
  mean = differences_SN[0].sum() / tokens_N.sum()
  rest_N = differences_SN[0] - mean * tokens_N
  error = np.sqrt((rest_N**2).sum()) / tokens_N.sum()
  assert found.mean == pytest.approx(mean, abs=1e-5)
  assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
  'components',
  ((0.1, 0.0, 0.0), (0.1, 0.1, 0.1), (0.0, 0.0, 1.0), (0.1, 0.1, 1.0), (0.02, 1.0, 0.0)),
)
def test_it_holds_as_often_as_it_says_whatever_varies(components):
  both, alone = covered(components)
  assert both >= scipy.stats.binom.ppf(1e-4, 300, 0.95)
  if components[1] == 0:  # not more often either, where it is Student's
    assert within(both, 300, 0.95, 1e-4)
  if components[1] == 1:  # the seeds alone say nothing of the text
    assert alone < 200


def test_it_is_the_same_each_time_and_one_text_for_all_pairs():
  differences_SN, tokens_N = sampled(np.random.default_rng(4), 0.1, 0.5, 0.1)
  found = [text_interval.interval(differences_SN, tokens_N, 0.95) for _ in range(2)]
  text_interval._draws.cache_clear()
  assert found[0] == found[1] == text_interval.interval(differences_SN, tokens_N, 0.95)


def test_neighbours_are_drawn_together_where_there_are_many_segments(monkeypatch):
  differences_SN, tokens_N = sampled(np.random.default_rng(4), 0.1, 0.5, 0.1, segments=600)
  few = text_interval.interval(differences_SN, tokens_N, 0.95)
  monkeypatch.setattr(text_interval, '_MOST_PARTS', 100)
  many = text_interval.interval(differences_SN, tokens_N, 0.95)
  assert many.mean == pytest.approx(few.mean)
  assert many.high - many.low == pytest.approx(few.high - few.low, rel=0.1)


@pytest.fixture
def folder(tmp_path):
  folder = fake.sweep(tmp_path / 'sweep', negative_control=ALL)
  for arm in fake.RATES:
    for seed, run in enumerate(fake.of_arm(folder, arm)):
      # That of 3.5 is so much worse on some segments and better on others that other text decides.
      fake.by_segment(run, fake.loss(arm, seed), 0.05 * (arm == HIGH) + 3.5 * (arm == ALL))
  return folder


def test_a_report_has_both_intervals(folder):
  found = fake.find(folder)
  one = found.differences[HIGH]
  assert one.text and one.text.low and one.text.high and one.estimate.low and one.estimate.high
  assert one.text.mean == pytest.approx(one.estimate.mean, abs=1e-5)
  assert one.text.low < one.estimate.low < one.estimate.high < one.text.high < 0
  # Scores by segment are those under the reference masks.
  assert found.cross[HIGH][HIGH].text is None
  text = f'[{one.text.low:+.3f}, {one.text.high:+.3f}]'
  assert f'-0.099 [-0.112, -0.086], over seeds and text {text})' in found.answer[0]
  lines = sweep_report.write(folder)
  assert any(
    line.startswith(HIGH) and f'over seeds and text {text} lower' in line for line in lines
  )
  page = (folder / 'report.html').read_text()
  assert 'over seeds and text</button>' in page and text.replace('-', '−') in page
  assert f'& ${text}$ \\\\' in (folder / 'table.tex').read_text()
  with (folder / 'differences.csv').open() as file:
    rows = {(row['arm'], row['scored_under']): row for row in csv.DictReader(file)}
  assert float(rows[HIGH, 'reference']['text_low']) == pytest.approx(one.text.low, rel=1e-8)
  assert rows[HIGH, HIGH]['text_low'] == ''


def test_what_holds_on_this_text_alone_is_called_so(folder):
  fake.change(folder / 'sweep.json', negative_control=None)
  found = fake.find(folder)
  wide = found.differences[ALL]
  assert wide.verdict == 'higher' and wide.text and wide.text.low and wide.text.high
  assert wide.text.low < 0 < wide.text.high
  (sentence,) = [each for each in found.answer if each.startswith('On this held-out text alone')]
  assert 'under the reference masks: rate=0.8 against rate=0.15. Over seeds and' in sentence


@pytest.mark.parametrize('change', ('missing', 'step', 'tokens', 'metric'))
def test_without_the_scores_of_one_text_there_is_students_alone(folder, change):
  run = fake.of_arm(folder, HIGH)[1]
  before = fake.find(folder)
  if change == 'missing':  # as a run of an earlier version
    (run / 'segment_scores.npz').unlink()
  elif change == 'metric':
    fake.change(folder / 'sweep.json', metric='reference_perplexity')
  else:
    fake.by_segment(
      run,
      fake.loss(HIGH, 1),
      step=4 if change == 'step' else fake.STEPS,
      tokens_N=fake.TOKENS[::-1] if change == 'tokens' else fake.TOKENS,
    )
  found = fake.find(folder)
  assert found.differences[HIGH].text is None
  if change != 'metric':
    assert found.differences[HIGH] == dataclasses.replace(before.differences[HIGH], text=None)
    assert found.differences[ALL] == before.differences[ALL]


def test_a_report_without_scores_by_segment_is_as_before(tmp_path):
  folder = fake.sweep(tmp_path / 'sweep')
  sweep_report.write(folder)
  for name in ('report.html', 'table.tex'):
    assert 'seeds and text' not in (folder / name).read_text()


def test_contrasts_later_have_it_too(folder):
  fake.change(
    folder / 'sweep.json',
    contrasts=[[HIGH, LOW], [ALL, HIGH]],
    contrasts_before_results=[[HIGH, LOW]],
  )
  ((_, later),) = fake.find(folder).later.items()
  assert later.text and later.text.high and later.estimate.high
  assert later.text.high > later.estimate.high
