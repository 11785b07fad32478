"""What a sweep is said to show."""

import json
import shutil

import pytest

from mlm_jax.report import findings as findings_lib
from mlm_jax.report import sweep_results
from mlm_jax.report import tables
from tests.report import fake


@pytest.fixture
def folder(tmp_path):
  return fake.sweep(tmp_path / 'sweep', negative_control='rate=0.8')


def test_the_answer_names_what_is_better_worse_and_undecided(folder):
  fake.alike(folder)
  assert fake.find(folder).answer == [
    'Better than rate=0.15: rate=0.3 (-0.099 [-0.106, -0.093]) nats of held-out loss.',
    'The negative control holds: rate=0.8 is worse, as it must be (+0.600 [+0.591, +0.610], tested '
    'on its own).',
  ]
  for seed, run in enumerate(fake.of_arm(folder, 'rate=0.3')):
    fake.run(run, fake.loss('rate=0.15', seed) + (-0.1, 0.1, 0.02)[seed], 0.15)
  answer = fake.find(folder).answer
  assert answer[0] == 'No arm is shown to be better than rate=0.15.'
  assert 'Undecided: rate=0.3 (+0.007 [-0.243, +0.257]); their intervals include 0.' in answer


def test_a_negative_control_that_is_not_worse_is_reported_first(folder):
  fake.change(folder / 'sweep.json', negative_control='rate=0.3')
  assert (
    fake.find(folder)
    .answer[0]
    .startswith('The negative control fails: rate=0.3 must be worse under the')
  )
  shutil.rmtree(fake.of_arm(folder, 'rate=0.3')[0])
  assert (
    'Whether the negative control rate=0.3 is worse under the reference masks, as it must be, is '
    'not known.' in fake.find(folder).answer
  )


def test_what_is_missing_is_named_and_makes_the_answer_provisional(folder):
  assert fake.find(folder).missing == '' and not any(
    'provisional' in each for each in fake.find(folder).answer
  )
  fake.run(fake.of_arm(folder, 'rate=0.3')[1], 3.9, 0.3, until=4)
  shutil.rmtree(fake.of_arm(folder, 'rate=0.8')[2])
  found = fake.find(folder)
  assert found.missing == (
    '2 of 9 runs are not finished: 1 part way (rate=0.3_seed=1); 1 waiting (rate=0.8_seed=2).'
  )
  assert found.answer[-1] == 'This is provisional: not every run is done.'
  assert (
    found.differences['rate=0.3'].estimate.n == 2
    and found.differences['rate=0.3'].verdict == 'untested'
  )


def test_runs_that_wait_with_their_config_refuse_no_arm(folder):
  for run in (fake.of_arm(folder, 'rate=0.15')[2], fake.of_arm(folder, 'rate=0.8')[1]):
    config = (run / 'config.json').read_text()
    shutil.rmtree(run)
    run.mkdir()
    (run / 'config.json').write_text(config)
  found = fake.find(folder)
  assert not found.refused and found.missing.startswith('2 of 9 runs are not finished: 2 waiting')
  assert [each.estimate.n for each in found.differences.values()] == [2, 1]


def test_a_run_part_way_is_in_no_mean(folder):
  fake.run(fake.of_arm(folder, 'rate=0.3')[1], 0.0, 0.3, until=4)
  found = findings_lib.estimates(sweep_results.read(folder), 'reference_loss')['rate=0.3']
  others = [fake.loss('rate=0.3', seed) for seed in (0, 2)]
  assert found.n == 2 and found.mean == pytest.approx(sum(others) / 2)


@pytest.mark.parametrize(
  'file, changes, why',
  (
    (
      'environment.json',
      [{'data_fingerprint': 'e' * 64, 'tokenizer': 'b' * 64}],
      'another tokenizer',
    ),
    (
      'environment.json',
      [{'data_fingerprint': 'e' * 64, 'tokenizer': 'a' * 64}],
      'other prepared data',
    ),
    ('environment.json', [], 'another tokenizer'),
    ('config.json', {'data': {'row_length': 32}}, '32, the baseline 16'),
    ('config.json', {'evaluation': {'rows': 8}}, 'held-out rows 8'),
  ),
)
@pytest.mark.parametrize('runs', (1, 3))
def test_losses_of_other_tokens_are_not_compared(folder, file, changes, why, runs):
  for run in fake.of_arm(folder, 'rate=0.3')[:runs]:
    content = json.loads((run / file).read_text())
    if isinstance(changes, dict):
      for group, values in changes.items():
        content[group] |= values
    else:
      content = changes
    fake.write(run / file, content)
  found = fake.find(folder)
  assert list(found.differences) == ['rate=0.8'] and why in found.refused['rate=0.3']
  assert any('Not compared with rate=0.15: rate=0.3 (' in each for each in found.warnings)
  assert not any(each.startswith('rate=0.3 ') for each in found.answer)
  row = next(
    line for line in tables.lines(sweep_results.read(folder), found) if line.startswith('rate=0.3 ')
  )
  assert 'not comparable' in row and '3.9' not in row


@pytest.mark.parametrize('odd, others', (('rate=0.3', 'rate=0.8'), ('rate=0.8', 'rate=0.3')))
def test_before_the_baseline_has_begun_the_odd_arm_is_refused(folder, odd, others):
  for run in fake.of_arm(folder, 'rate=0.15') + fake.of_arm(folder, odd)[2:]:
    shutil.rmtree(run)
  for run in fake.of_arm(folder, odd):
    fake.run(run, 3.5, 0.3, data__row_length=32)
  found = fake.find(folder)
  assert found.refused == {odd: 'row length 32, most runs 16'} and list(found.differences) == [
    others
  ]
  assert any(f'Not compared with rate=0.15: {odd} (' in each for each in found.warnings)


def test_a_baseline_on_two_data_sets_can_be_compared_with_nothing(folder):
  fake.write(
    fake.of_arm(folder, 'rate=0.15')[2] / 'environment.json',
    [{'data_fingerprint': 'e', 'tokenizer': 'a' * 64}],
  )
  found = fake.find(folder)
  assert found.differences == {} and set(found.refused) == {'rate=0.3', 'rate=0.8'}
  assert found.answer[0] == 'Nothing can be compared with rate=0.15.'


def test_row_lengths_before_the_last_stage_may_differ(folder):
  for seed, run in enumerate(fake.of_arm(folder, 'rate=0.3')):
    fake.run(
      run,
      fake.loss('rate=0.3', seed),
      0.3,
      data__row_length=8,
      stages=({'steps': 3}, {'steps': 3, 'data.row_length': 16}),
    )
    fake.write(
      run / 'environment.json',
      [{'data_fingerprint': 'e' * 64, 'data_fingerprint_16x8': 'f' * 64, 'tokenizer': 'a' * 64}],
    )
  assert fake.find(folder).refused == {}


@pytest.mark.parametrize(
  'budget, warnings',
  (
    ('tokens', []),
    ('flops', []),
    (
      'predictions',
      ['The arms did not spend the same: rate=0.8 took 433.3% more predictions than rate=0.15.'],
    ),
  ),
)
def test_a_budget_that_was_not_kept_is_seen(folder, budget, warnings):
  fake.change(folder / 'sweep.json', budget=budget)
  assert fake.find(folder).warnings == warnings


@pytest.mark.parametrize('more, warns', ((5, False), (7, True)))
def test_a_budget_is_checked_to_one_percent(folder, more, warns):
  for run in fake.of_arm(folder, 'rate=0.3'):  # it took 576 tokens
    metrics = [json.loads(line) for line in (run / 'metrics.jsonl').read_text().splitlines()]
    fake.lines(run / 'metrics.jsonl', [{**metrics[0], 'padding': 0.25 - more / 256}, *metrics[1:]])
  assert bool(fake.find(folder).warnings) == warns


def test_a_budget_that_cannot_be_checked_is_reported(folder):
  (fake.of_arm(folder, 'rate=0.3')[0] / 'metrics.jsonl').write_text('')
  assert fake.find(folder).warnings == [
    'Whether the arms spent the same number of tokens is not known: the logs of rate=0.3 do not '
    'say it.'
  ]


@pytest.mark.parametrize('state', ('failed', 'diverged'))
@pytest.mark.parametrize(
  'arm, of, untested',
  (('rate=0.3', '', ['rate=0.3']), ('rate=0.15', ' of rate=0.15', ['rate=0.3', 'rate=0.8'])),
)
def test_a_run_that_never_ended_takes_the_claim_from_its_arm(tmp_path, state, arm, of, untested):
  folder = fake.sweep(tmp_path / 'sweep', seeds=4)
  assert [each.verdict for each in fake.find(folder).differences.values()] == ['lower', 'higher']
  fake.run(fake.of_arm(folder, arm)[3], 9.0, 0.3, until=4)
  shutil.rmtree(fake.of_arm(folder, arm)[3] / 'checkpoints')
  left = fake.find(folder)  # part way: it may still end well
  assert [each.verdict for each in left.differences.values()] == ['lower', 'higher']
  fake.write(folder / 'status.json', {f'{arm}_seed=3': {'state': state, 'error': 'why'}})
  found = fake.find(folder)
  assert [arm for arm, each in found.differences.items() if each.verdict == 'untested'] == untested
  assert {found.differences[arm].reason for arm in untested} == {f'1 of 4 runs{of} failed'}
  assert not any(each.startswith('rate=0.3 ') for each in found.answer)
  assert f'1 {state} ({arm}_seed=3)' in found.missing
  assert ('This is provisional: not every run is done.' in found.answer) == (state == 'failed')


def test_a_diverged_run_takes_the_claim_from_its_arm(folder):
  path = fake.of_arm(folder, 'rate=0.3')[2] / 'evaluations.jsonl'
  path.write_text(path.read_text().replace(f': {fake.loss("rate=0.3", 2)}', ': null'))
  found = fake.find(folder)
  assert found.differences['rate=0.3'].verdict == 'untested'
  assert 'No claim about rate=0.3: 1 of 3 runs failed.' in found.answer


def test_one_seed_is_reported_without_a_claim(tmp_path):
  found = fake.find(fake.sweep(tmp_path / 'sweep', seeds=1))
  assert found.answer == [
    'No claim about rate=0.3 and rate=0.8: 1 of the 3 seeds that a claim needs.'
  ]


def test_a_run_that_was_trained_on_by_hand_is_not_compared(folder):
  place = folder / 'runs' / 'rate=0.3_seed=1' / 'config.json'
  config = json.loads(place.read_text())
  place.write_text(json.dumps(config | {'total_steps': 12}))
  (run,) = [each for each in sweep_results.read(folder).runs if each.state != 'done']
  assert (run.state, run.error) == ('failed', 'it has 12 steps, 6 were planned')


def test_a_policy_that_hides_nothing_at_the_end_is_named_and_takes_no_share_of_the_error(folder):
  """There is no loss under it: absent, not lost, not missing, and not one of the comparisons."""
  every = fake.find(folder)
  for run in (run for arm in fake.RATES for run in fake.of_arm(folder, arm)):
    scores = json.loads((run / 'scores.json').read_text())
    for entry in scores['under']:
      if entry['masking']['rate'] == 0.3:
        del entry['loss'], entry['accuracy']
    fake.write(run / 'scores.json', scores)
  found = fake.find(folder)
  assert list(found.cross) == [policy for policy in every.cross if policy != 'rate=0.3']
  assert found.warnings == [
    'Nothing is hidden under the masks of rate=0.3 at the end of the training, so no run has a '
    'loss under them.'
  ]
  width = lambda each: each.estimate.high - each.estimate.low
  assert width(found.cross['']['rate=0.3']) < width(every.cross['']['rate=0.3'])
