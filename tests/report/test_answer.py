"""The answer where arms hide different things, or are compared by another metric."""

import json
import re

import numpy as np
import pytest
import scipy.stats

from mlm_jax import config as config_lib
from mlm_jax.report import cross_table
from mlm_jax.report import sweep_results
from mlm_jax.report import tables
from tests.report import fake

_INTERVAL = re.compile(r'(?<=\d) \[([-+.\d]+), ([-+.\d]+)\]')


def bare(sentences):
  """Returns sentences without the intervals behind means; see `intervals`."""
  return [_INTERVAL.sub('', each) for each in sentences]


def intervals(sentences):
  """Returns [(low, high), ...] as sentences have them, in their order."""
  return [pair for each in sentences for pair in _INTERVAL.findall(each)]


@pytest.fixture
def folder(tmp_path):
  return fake.sweep(tmp_path / 'sweep', negative_control='rate=0.8')


def test_where_arms_hide_different_things_the_answer_says_under_which_masks(folder):
  found = fake.find(folder)
  # Each arm is .2 better under the masks that it was trained with, see fake.loss_under.
  assert bare(found.answer) == [
    'rate=0.3 against rate=0.15, in nats of held-out loss: better under the reference masks '
    '(-0.099), the masks of rate=0.3 (-0.299) and the masks of rate=0.8 (-0.099); worse under the '
    'masks of rate=0.15 (+0.101).',
    'Whether rate=0.3 is better than rate=0.15 depends on the masks: nothing is claimed beyond '
    'them.',
    'The negative control holds: rate=0.8 is worse under the reference masks, as it must be '
    '(+0.600, tested on its own).',
  ]
  assert not found.warnings
  # The policies that the arm is better under first, then the control.
  order = '', 'rate=0.3', 'rate=0.8', 'rate=0.15'
  estimates = [found.cross[policy]['rate=0.3'].estimate for policy in order]
  estimates.append(found.differences['rate=0.8'].estimate)
  assert intervals(found.answer) == [(f'{e.low:+.3f}', f'{e.high:+.3f}') for e in estimates]


def test_differences_under_all_masks_hold_together(folder):
  found = fake.find(folder)
  policies = ['', *fake.RATES]
  assert list(found.cross) == policies and found.differences is found.cross['']
  read = sweep_results.read(folder)
  tables = {
    policy: {
      arm: {
        seed: fake.loss_under(policy, fake.loss(arm, seed), arm.split('=')[1])
        if policy
        else fake.loss(arm, seed)
        for seed in range(3)
      }
      for arm in fake.RATES
    }
    for policy in policies
  }
  for policy, values in tables.items():
    deltas = [values['rate=0.3'][seed] - values['rate=0.15'][seed] for seed in range(3)]
    # Student, at 5 % over the 4 differences of an arm under 4 policies: the control has no share.
    low, high = scipy.stats.t.interval(1 - 0.05 / 4, 2, np.mean(deltas), scipy.stats.sem(deltas))
    interval = found.cross[policy]['rate=0.3'].estimate
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high)), policy
  lines = cross_table.lines(read, found)
  assert len(lines) == 1 + 4 * 3
  row = next(line for line in lines if line.startswith('masks of rate=0.15  rate=0.3 '))
  assert row.split()[4] == '4.314' and '+0.101 [' in row and row.endswith(' higher')


def test_a_cell_is_as_dark_as_its_arm_is_behind_the_best_under_its_masks(folder):
  read = sweep_results.read(folder)
  text = cross_table.section(read, fake.find(folder))
  shown = [float(each) for each in re.findall(r'var\(--accent\) (\d+)%', text)]
  by_policy = {
    policy: {
      arm: np.mean(
        [
          fake.loss_under(policy, fake.loss(arm, seed), arm.split('=')[1])
          if policy
          else fake.loss(arm, seed)
          for seed in range(3)
        ]
      )
      for arm in fake.RATES
    }
    for policy in ('', *fake.RATES)
  }
  behind = [
    [of[arm] - min(of.values()) for of in by_policy.values()] for arm in fake.RATES
  ]  # as the rows of the table
  assert shown == np.round(32 * np.array(behind) / np.max(behind)).ravel().tolist()
  assert max(shown) == 32 and shown.count(0) >= 4


def test_a_sweep_that_is_not_scored_claims_nothing_but_the_reference_masks(folder):
  (fake.of_arm(folder, 'rate=0.3')[1] / 'scores.json').unlink()
  (warning,) = fake.find(folder).warnings
  assert '1 of 9 finished runs are not scored' in warning and 'rate=0.3_seed=1' in warning
  assert (
    'no claim under the masks of rate=0.15 (2 of the 3 seeds that a claim needs)'
    in bare(fake.find(folder).answer)[0]
  )
  assert 'better under the reference masks (-0.099);' in bare(fake.find(folder).answer)[0]
  # As a sweep of an earlier version, whose arms were never scored under each other's masks.
  fake.change(folder / 'sweep.json', policies={})
  (warning,) = fake.find(folder).warnings
  assert '9 of 9 finished runs are not scored' in warning
  assert bare(fake.find(folder).answer)[0] == (
    'rate=0.3 against rate=0.15, in nats of held-out loss: better under the reference masks '
    '(-0.099).'
  )
  assert f'WARNING: {warning}' in tables.lines(sweep_results.read(folder), fake.find(folder))


def test_scores_of_another_step_or_policy_do_not_count(folder):
  for run, change in zip(fake.of_arm(folder, 'rate=0.3'), ({'step': 4}, {'under': []})):
    fake.change(run / 'scores.json', **change)
  assert [bool(run.scores) for run in sweep_results.read(folder).of('rate=0.3')] == [
    False,
    False,
    True,
  ]
  fake.change(fake.of_arm(folder, 'rate=0.3')[2] / 'scores.json', under=[{'loss': 4.0}])
  with pytest.raises(config_lib.UserError, match='scores.json is damaged'):
    fake.find(folder)


def test_a_metric_of_which_more_is_better_turns_the_verdicts(folder):
  fake.alike(folder)
  for arm, accuracy in (('rate=0.15', 0.2), ('rate=0.3', 0.3), ('rate=0.8', 0.1)):
    for seed, run in enumerate(fake.of_arm(folder, arm)):
      lines = [json.loads(line) for line in (run / 'evaluations.jsonl').read_text().splitlines()]
      lines[-1]['reference_accuracy'] = accuracy + seed * 0.01 + fake.NOISE[arm][seed]
      fake.lines(run / 'evaluations.jsonl', lines)
  fake.change(folder / 'sweep.json', metric='reference_accuracy', direction='max')
  found = fake.find(folder)
  assert bare(found.answer) == [
    'Better than rate=0.15: rate=0.3 (+0.101) held-out accuracy.',
    'The negative control holds: rate=0.8 is worse, as it must be (-0.100, tested on its own).',
  ]
  assert found.differences['rate=0.3'].verdict == 'higher'
  fake.change(folder / 'sweep.json', direction='up')
  with pytest.raises(config_lib.UserError, match="direction is 'up'; it must be min or max"):
    fake.find(folder)


def test_losses_of_another_objective_are_not_compared(folder):
  for run in fake.of_arm(folder, 'rate=0.3'):
    config = json.loads((run / 'config.json').read_text())
    config['objective']['name'] = 'rtd'
    fake.write(run / 'config.json', config)
  found = fake.find(folder)
  assert found.refused == {'rate=0.3': 'another objective'}
  assert found.warnings[0] == (
    'Not compared with rate=0.15: rate=0.3 (another objective). The masked loss of rtd is that of '
    'its generator, so no difference is shown.'
  )
  assert not any(each.startswith('rate=0.3 ') for each in bare(found.answer))
  fake.change(folder / 'sweep.json', baseline='rate=0.3', negative_control=None)
  assert any(
    'reference_loss is of the generators of rtd' in each for each in fake.find(folder).warnings
  )


def test_the_policy_of_an_arm_that_is_the_reference_policy_names_it(folder):
  policies = json.loads((folder / 'sweep.json').read_text())['policies']
  policies['rate=0.15']['corruption_probs'] = [1.0, 0.0, 0.0]
  fake.change(folder / 'sweep.json', policies=policies)
  found = fake.find(folder)
  assert list(found.cross) == ['', 'rate=0.3', 'rate=0.8']
  assert 'better under the reference masks of rate=0.15 (-0.099)' in bare(found.answer)[0]
