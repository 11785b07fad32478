"""Arms by judges: each in its own direction and unit, all cells one family, and who disagrees."""

import csv
import dataclasses
import io

import numpy as np
import pytest
import scipy.stats

from mlm_jax import config as config_lib
from mlm_jax.report import judged
from mlm_jax.report import judges as judges_lib
from mlm_jax.report import sweep_report
from mlm_jax.report import sweep_results
from mlm_jax.report.comparisons import Comparison
from tests.report import fake
from tests.report import test_false_alarms
from tests.report.test_answer import bare

LOW, HIGH, ALL = fake.RATES
SWEEPS = 200  # whose arms are equal
# {judge: (its score, which is better, {arm: mean})}.
JUDGES = {
  'loss': ('reference_loss', 'min', {LOW: 4.0, HIGH: 3.9, ALL: 4.6}),
  'blimp': ('accuracy', 'max', {LOW: 0.7, HIGH: 0.5, ALL: 0.702}),
}


def _score(judge, arm, seed):
  return round(JUDGES[judge][2][arm] + fake.SEED[seed] + fake.NOISE[arm][seed], 6)


def write(folder, **more):
  """Lets the judges judge all runs of a sweep; `more` changes sweep.json."""
  asked = lambda name: {'suite': name}
  described = [
    {
      'name': name,
      'score': score,
      'direction': mode,
      'same_tokens': name == 'loss',
      'asked': asked(name),
    }
    for name, (score, mode, _) in JUDGES.items()
  ]
  fake.change(folder / 'sweep.json', **{'judges': described, **more})
  for arm in fake.RATES:
    for seed, place in enumerate(fake.of_arm(folder, arm)):
      entries = [
        {'asked': asked(name), 'scores': {JUDGES[name][0]: _score(name, arm, seed), 'more': 1}}
        for name in JUDGES
      ]
      fake.write(place / 'judges.json', {'step': fake.STEPS, 'judged': entries})


@pytest.fixture
def folder(tmp_path):
  made = fake.sweep(tmp_path / 'sweep')
  fake.alike(made)
  write(made)
  return made


def test_all_cells_are_one_family_of_paired_differences(folder):
  found = fake.find(folder).judged
  assert list(found.family) == [
    Comparison(arm, LOW, judge) for judge in JUDGES for arm in (HIGH, ALL)
  ]
  for each, difference in found.family.items():
    deltas = [_score(each.under, each.arm, n) - _score(each.under, LOW, n) for n in range(3)]
    interval = difference.estimate
    assert interval.mean == pytest.approx(np.mean(deltas))
    # Student's, of four that hold together.
    half = scipy.stats.sem(deltas) * scipy.stats.t.ppf(1 - 0.05 / 2 / 4, 2)
    assert interval.high - interval.mean == pytest.approx(half)
    assert difference.p == pytest.approx(scipy.stats.ttest_1samp(deltas, 0).pvalue)


def test_the_answer_says_where_judges_disagree(folder):
  answer = bare(fake.find(folder).answer)
  assert answer[:3] == [
    'rate=0.3 against rate=0.15: better by loss (-0.099 nats); worse by blimp (-0.199 accuracy).',
    'rate=0.8 against rate=0.15: worse by loss (+0.600 nats); undecided by blimp '
    '(+0.002 accuracy).',
    'The judges disagree on rate=0.3 against rate=0.15 (better by loss, worse by blimp): which arm '
    'is better depends on what it is for.',
  ]
  # The comparisons by the metric stay, with intervals of their own.
  assert any('nats of held-out loss' in each for each in answer[3:])


@pytest.mark.parametrize(
  'blimp, says',
  (
    ({LOW: 0.7, HIGH: 0.9, ALL: 0.702}, 'No two judges disagree: no arm is shown to be better by'),
    ({LOW: 0.7, HIGH: 0.702, ALL: 0.702}, 'No two judges disagree'),
  ),
)
def test_judges_that_agree_are_said_to(folder, monkeypatch, blimp, says):
  monkeypatch.setitem(JUDGES, 'blimp', ('accuracy', 'max', blimp))
  write(folder)
  answer = fake.find(folder).judged.answer
  assert answer[-1].startswith(says) and 'disagree on' not in ' '.join(answer)


def test_where_nothing_is_decided_no_judge_is_said_to_say_anything(folder, monkeypatch):
  equal = dict.fromkeys(fake.RATES, 0.5)
  for name, (score, mode, _) in list(JUDGES.items()):
    monkeypatch.setitem(JUDGES, name, (score, mode, equal))
  write(folder)
  found = fake.find(folder).judged
  assert found.answer[-1] == 'By no judge is any arm shown to be better or worse than another.'
  assert {each.verdict for each in found.family.values()} == {'undecided'}


def test_named_contrasts_are_the_cells_and_the_control_is_in_none(folder):
  contrasts = [[ALL, HIGH, '']]
  write(folder, contrasts=contrasts, contrasts_before_results=contrasts)
  found = fake.find(folder).judged
  assert list(found.family) == [Comparison(ALL, HIGH, judge) for judge in JUDGES]
  assert {each.estimate.low for each in found.other.values()} == {None}
  write(folder, contrasts=[], contrasts_before_results=[], negative_control=ALL)
  found = fake.find(folder).judged
  assert list(found.family) == [Comparison(HIGH, LOW, judge) for judge in JUDGES]
  assert {each.arm for each in found.other} == {ALL}


def test_arms_of_another_tokenizer_are_compared_by_what_is_not_of_tokens(folder):
  for place in fake.of_arm(folder, HIGH):
    fake.write(place / 'environment.json', [{'data_fingerprint': 'e', 'tokenizer': 'other'}])
  found = fake.find(folder).judged
  assert list(found.family) == [
    Comparison(ALL, LOW, 'loss'),
    Comparison(HIGH, LOW, 'blimp'),
    Comparison(ALL, LOW, 'blimp'),
  ]


def test_runs_that_are_not_judged_are_named_and_nothing_is_claimed(folder):
  (fake.of_arm(folder, HIGH)[0] / 'judges.json').unlink()
  found = fake.find(folder)
  of_high = found.judged.family[Comparison(HIGH, LOW, 'blimp')]
  assert of_high.verdict == 'untested' and of_high.estimate.n == 2
  assert any('not judged by loss (1 of 9) and blimp (1 of 9)' in each for each in found.warnings)


def test_a_judge_that_is_no_longer_named_still_counts(folder):
  first = fake.find(folder).judged.family
  plan = sweep_results.read(folder)
  described = [
    {'name': j.name, 'score': j.score, 'direction': j.direction, 'asked': j.asked}
    | {'same_tokens': j.same_tokens, 'removed': j.name == 'blimp'}
    for j in plan.judges
  ]
  fake.change(folder / 'sweep.json', judges=described)
  found = fake.find(folder)
  assert found.judged.family == first
  assert any(each.startswith('No longer named, but tested as before') for each in found.warnings)


def test_judges_are_in_every_output(folder):
  lines = sweep_report.write(folder)
  mean = np.mean([_score('blimp', HIGH, seed) for seed in range(3)])
  assert any(
    each.split()[:3] == ['blimp', HIGH, f'{mean:.3f}'] and each.endswith('] accuracy worse')
    for each in lines
  )
  rows = list(csv.DictReader(io.StringIO((folder / 'judges.csv').read_text())))
  assert [(row['judge'], row['arm'], row['verdict']) for row in rows] == [
    ('loss', LOW, ''),
    ('loss', HIGH, 'better'),
    ('loss', ALL, 'worse'),
    ('blimp', LOW, ''),
    ('blimp', HIGH, 'worse'),
    ('blimp', ALL, 'undecided'),
  ]
  estimate = fake.find(folder).judged.family[Comparison(HIGH, LOW, 'blimp')].estimate
  assert float(rows[4]['low']) == pytest.approx(estimate.low, rel=1e-8)
  assert float(rows[4]['mean']) == pytest.approx(mean) and rows[4]['pairs'] == '3'
  page = (folder / 'report.html').read_text()
  assert 'blimp: accuracy, more is better' in page and 'loss: reference loss, less is' in page
  results = list(csv.DictReader(io.StringIO((folder / 'results.csv').read_text())))
  assert float(results[0]['judged_by_blimp']) == _score('blimp', LOW, 0)


@pytest.mark.parametrize('judges', (3, [3], [{'name': 'a'}], ['ab']))
def test_damaged_judges_are_named(folder, judges):
  fake.change(folder / 'sweep.json', judges=judges)
  with pytest.raises(config_lib.UserError, match='sweep.json is damaged'):
    fake.find(folder)
  write(folder)
  fake.write(fake.of_arm(folder, LOW)[0] / 'judges.json', {'step': fake.STEPS, 'judged': judges})
  with pytest.raises(config_lib.UserError, match='judges.json is damaged'):
    fake.find(folder)


def test_of_equal_arms_a_table_claims_something_in_at_most_one_sweep_of_twenty():
  random, names = np.random.default_rng(5), ('a', 'b', 'c')
  judges = tuple(judges_lib.Judge(name, 'accuracy', 'max', False, {}) for name in names)
  made = test_false_alarms.sweep(random, (), None)
  claimed = conflicts = 0
  for _ in range(SWEEPS):
    shared = random.normal(0, 1, (3, 3))
    runs = tuple(
      dataclasses.replace(
        run,
        judged={n: shared[k, run.seed] + random.normal(0, 0.1) for k, n in enumerate(names)},
      )
      for run in made.runs
      if run.arm in test_false_alarms.ARMS[:3]
    )
    found = judged.find(dataclasses.replace(made, judges=judges, runs=runs), {})
    assert len(found.family) == 6
    claimed += any(each.verdict in ('lower', 'higher') for each in found.family.values())
    conflicts += 'disagree on' in ' '.join(found.answer)
  # Six cells of three judges: comparisons that share an arm are not independent.
  assert SWEEPS * 0.01 < claimed
  assert claimed <= scipy.stats.binom.isf(1e-6, SWEEPS, 0.05)
  assert conflicts <= claimed


def test_a_sweep_without_judges_has_nothing_of_them(tmp_path):
  folder = fake.sweep(tmp_path / 'sweep')
  sweep_report.write(folder)
  assert not (folder / 'judges.csv').exists()
  assert 'By each judge' not in (folder / 'report.html').read_text()
  assert 'judged_by' not in (folder / 'results.csv').read_text()
