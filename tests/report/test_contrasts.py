"""Contrasts named before there were results, and afterwards."""

import csv
import io

import pytest
import scipy.stats

from mlm_jax import config as config_lib
from mlm_jax.report import sweep_report
from mlm_jax.report import sweep_results
from mlm_jax.report import tables
from mlm_jax.report.comparisons import Comparison
from tests.report import fake
from tests.report.test_answer import bare

LOW, HIGH, ALL = fake.RATES


@pytest.fixture
def folder(tmp_path):
  return fake.sweep(tmp_path / 'sweep')


def name(folder, before, now=None):
  """Names contrasts before there were results, and others afterwards."""
  now = before if now is None else now
  fake.change(folder / 'sweep.json', contrasts=now, contrasts_before_results=before)


def half(comparison, count, score=fake.loss):
  """Returns half of Student's interval of a comparison, one of so many."""
  deltas = [score(comparison.arm, seed) - score(comparison.other, seed) for seed in range(3)]
  return scipy.stats.sem(deltas) * scipy.stats.t.ppf(1 - 0.05 / 2 / count, 2)


def test_only_named_contrasts_are_tested(folder):
  every = fake.find(folder)
  assert len(every.family) == 8  # two arms, under the reference masks and three policies
  name(folder, [[HIGH, LOW, '']])
  found = fake.find(folder)
  ((contrast, difference),) = found.family.items()
  assert contrast == Comparison(HIGH, LOW) and not found.control and not found.later
  interval = difference.estimate
  assert interval.high - interval.mean == pytest.approx(half(contrast, 1))
  assert difference.adjusted_p == difference.p
  assert bare(found.answer) == [
    'rate=0.3 against rate=0.15, in nats of held-out loss: better under the reference masks '
    '(-0.099).'
  ]
  # The others are described: without an interval, nothing can be read as a claim.
  other = found.differences[ALL]
  assert other.estimate.mean == pytest.approx(every.differences[ALL].estimate.mean)
  assert (other.estimate.low, other.p, other.verdict) == (None, None, 'untested')
  assert other.reason == 'not among the contrasts'
  assert found.cross[HIGH][HIGH].verdict == 'untested'


def test_a_contrast_is_of_any_two_arms_under_a_policy_that_it_names(folder):
  name(folder, [[ALL, HIGH, ''], [HIGH, LOW, HIGH]])
  found = fake.find(folder)
  first, second = found.family.values()
  assert first.estimate.mean == pytest.approx(0.6993, abs=1e-3) and first.verdict == 'higher'
  assert first.estimate.high - first.estimate.mean == pytest.approx(half(Comparison(ALL, HIGH), 2))
  assert second.estimate.mean == pytest.approx(-0.299, abs=1e-3)
  assert bare(found.answer) == [
    'rate=0.8 against rate=0.3, in nats of held-out loss: worse under the reference masks '
    '(+0.700).',
    'rate=0.3 against rate=0.15, in nats of held-out loss: better under the masks of rate=0.3 '
    '(-0.299).',
  ]


def test_where_all_hide_the_same_no_masks_are_named(folder):
  fake.alike(folder)
  name(folder, [[HIGH, LOW, '']])
  assert bare(fake.find(folder).answer) == [
    'rate=0.3 against rate=0.15, in nats of held-out loss: better (-0.099).'
  ]


def test_contrasts_named_after_results_are_shown_and_nothing_is_claimed(folder):
  name(folder, [[HIGH, LOW, '']], [[HIGH, LOW, ''], [ALL, LOW, '']])
  found = fake.find(folder)
  assert list(found.family) == [Comparison(HIGH, LOW)]
  ((contrast, difference),) = found.later.items()
  assert contrast == Comparison(ALL, LOW)
  assert (difference.verdict, difference.reason) == ('untested', 'changed after results')
  estimate = difference.estimate
  assert estimate.high - estimate.mean == pytest.approx(half(contrast, 2))
  assert found.warnings == [
    'The contrasts were changed after results: named since: rate=0.8 against rate=0.15, of which '
    'nothing is claimed.'
  ]
  assert bare(found.answer)[1] == (
    'No claim about rate=0.8 against rate=0.15 (+0.600): changed after results.'
  )
  # The one named before is as it would be without.
  name(folder, [[HIGH, LOW, '']])
  assert fake.find(folder).family == found.family
  # As it is where every arm was to be compared.
  name(folder, [], [[ALL, HIGH, '']])
  assert list(fake.find(folder).later) == [Comparison(ALL, HIGH)]
  assert len(fake.find(folder).family) == 8


def test_a_contrast_that_is_no_longer_named_is_tested_all_the_same(folder):
  name(folder, [[HIGH, LOW, ''], [ALL, LOW, '']], [[HIGH, LOW, '']])
  found = fake.find(folder)
  assert list(found.family) == [Comparison(HIGH, LOW), Comparison(ALL, LOW)]
  assert found.warnings == [
    'The contrasts were changed after results: no longer named, but tested as before: rate=0.8 '
    'against rate=0.15.'
  ]


def test_the_negative_control_is_tested_on_its_own(folder):
  fake.change(folder / 'sweep.json', negative_control=ALL)
  alone = Comparison(ALL, LOW)
  for contrasts, count in (([], 4), ([[HIGH, LOW, '']], 1), ([[HIGH, LOW, ''], [*alone]], 1)):
    name(folder, contrasts)
    found = fake.find(folder)
    assert len(found.family) == count and not any(ALL in each[:2] for each in found.family)
    ((comparison, control),) = found.control.items()
    assert comparison == alone and control.adjusted_p == control.p
    assert control.estimate.high - control.estimate.mean == pytest.approx(half(alone, 1))
    assert found.differences[ALL] is control
    assert 'tested under the reference masks alone' in found.cross[HIGH][ALL].reason


def test_a_sweep_of_the_baseline_and_its_control_says_whether_it_holds(tmp_path):
  rates = {LOW: 4.0, ALL: 4.6}
  folder = fake.sweep(tmp_path / 'sweep', rates=rates, negative_control=ALL)
  assert [each[:28] for each in fake.find(folder).answer] == ['The negative control holds: ']


def test_contrasts_with_an_arm_that_is_not_compared_are_left_out(folder):
  for run in fake.of_arm(folder, HIGH):
    fake.write(run / 'environment.json', [{'data_fingerprint': 'e', 'tokenizer': 'other'}])
  name(folder, [[HIGH, LOW, '']])
  found = fake.find(folder)
  assert not found.family and found.answer == ['Nothing can be compared with rate=0.15.']


def test_contrasts_are_in_every_output(folder):
  name(folder, [[HIGH, LOW, '']], [[HIGH, LOW, ''], [ALL, HIGH, LOW]])
  lines = sweep_report.write(folder)
  assert any(
    line.startswith('rate=0.3 against rate=0.15: -0.099 [') and line.endswith('] lower')
    for line in lines
  )
  assert any(
    line.startswith('rate=0.8 against rate=0.3 under the masks of rate=0.15: ')
    and line.endswith('untested changed after results')
    for line in lines
  )
  page = (folder / 'report.html').read_text()
  assert '<h2>Contrasts</h2>' in page and 'named before any result: rate=0.3 against' in page
  assert 'changed after results: rate=0.8 against rate=0.3 under the masks of rate=0.15' in page
  rows = list(csv.DictReader(io.StringIO((folder / 'differences.csv').read_text())))
  assert [(row['arm'], row['against'], row['scored_under'], row['tested']) for row in rows] == [
    (HIGH, LOW, 'reference', 'family'),
    (ALL, HIGH, LOW, 'no'),
  ]
  (first, _), found = rows, fake.find(folder)
  difference = found.differences[HIGH]
  assert float(first['low']) == pytest.approx(difference.estimate.low, rel=1e-8)
  assert float(first['p']) == pytest.approx(difference.p, rel=1e-8) and first['pairs'] == '3'
  assert (
    tables.differences(sweep_results.read(folder), found)
    == (folder / 'differences.csv').read_text()
  )


@pytest.mark.parametrize('contrasts', (3, [3], [['a']], [['a', 'b', 'c', 'd']]))
def test_damaged_contrasts_are_named(folder, contrasts):
  name(folder, contrasts)
  with pytest.raises(config_lib.UserError, match='sweep.json is damaged'):
    fake.find(folder)
