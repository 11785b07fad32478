"""Which differences seeds find: against simulations of the statistics that the report makes."""

import math
import re

import numpy as np
import pytest
import scipy.stats

from mlm_jax import sweeps
from mlm_jax.report import statistics
from mlm_jax.report import sweep_results
from mlm_jax.report.comparisons import Comparison
from mlm_jax.sweeps import plan_text
from mlm_jax.sweeps import power
from tests.report import fake
from tests.sweeps import experiments
from tests.sweeps.test_command import call

TRIALS = 20_000


def found(difference, seeds, comparisons):
  """Returns in how many of TRIALS sweeps a difference, in deviations of pairs, is found."""
  deltas_TS = np.random.default_rng(0).normal(difference, 1, (TRIALS, seeds))
  t_T = deltas_TS.mean(1) / (deltas_TS.std(1, ddof=1) / math.sqrt(seeds))
  return (t_T > scipy.stats.t.ppf(1 - 0.05 / comparisons / 2, seeds - 1)).sum()


@pytest.mark.parametrize('seeds, comparisons', ((3, 1), (3, 5), (5, 42), (20, 2)))
@pytest.mark.parametrize('difference', (0.2, math.sqrt(0.5), 2.0))
def test_power_is_what_a_simulation_counts(seeds, comparisons, difference):
  rate = power.power(difference, seeds, comparisons)
  low, high = scipy.stats.binom.interval(1 - 1e-6, TRIALS, rate)
  assert low <= found(difference, seeds, comparisons) <= high
  assert power.power(-difference, seeds, comparisons) == rate


def test_power_is_how_often_the_report_claims():
  random, claimed = np.random.default_rng(1), 0
  family = [Comparison('one', 'base'), Comparison('two', 'base')]
  for _ in range(500):
    arms = {
      arm: dict(enumerate(random.normal(effect, math.sqrt(0.5), 4)))
      for arm, effect in (('base', 0.0), ('one', 3.0), ('two', 0.0))
    }
    claimed += statistics.together({'': arms}, family)[family[0]].verdict == 'higher'
  low, high = scipy.stats.binom.interval(1 - 1e-6, 500, power.power(3.0, 4, 2))
  assert low <= claimed <= high


def test_one_deviation_of_an_arm_is_hardly_found_with_three_seeds():
  one = math.sqrt(0.5)  # of the pairs, whose variance is that of two arms
  assert power.power(one, 3, 1) == pytest.approx(0.115, abs=0.002)
  assert power.power(one, 3, 5) == pytest.approx(0.024, abs=0.002)


@pytest.mark.parametrize('comparisons', (1, 5, 42))
@pytest.mark.parametrize('seeds', (3, 4, 10, 100))
def test_what_seeds_detect_takes_these_seeds(seeds, comparisons):
  difference = power.detectable(seeds, comparisons)
  assert power.power(difference, seeds, comparisons) == pytest.approx(0.8, abs=1e-6)
  assert power.seeds_for(difference, comparisons) == seeds
  assert power.seeds_for(difference * 1.001, comparisons) == seeds
  assert power.seeds_for(difference * 0.999, comparisons) == seeds + 1


def test_seeds_are_three_at_least_and_not_without_end():
  assert power.seeds_for(1e6, 1) == 3 and power.seeds_for(0.001, 1) is None


def test_a_pilot_gives_the_deviation_of_its_pairs(tmp_path):
  sweep = sweep_results.read(fake.sweep(tmp_path / 'sweep', seeds=4, negative_control='rate=0.8'))
  sd, freedom = power.pilot(sweep, 'reference_loss')
  assert sd == pytest.approx(np.std(fake.NOISE['rate=0.3'], ddof=1), abs=1e-6) and freedom == 3
  # Without a control the two arms are pooled.
  sweep = sweep_results.read(fake.sweep(tmp_path / 'other', seeds=4))
  variances = [np.var(fake.NOISE[arm], ddof=1) for arm in ('rate=0.3', 'rate=0.8')]
  assert power.pilot(sweep, 'reference_loss') == (pytest.approx(np.mean(variances) ** 0.5, 1e-4), 6)


BODY = (
  "return sweeps.Sweep(base=toys.config(), question='?', runs=sweeps.product(\n"
  "    sweeps.param('masking.rate', [0.15, 0.3, 0.8]), sweeps.seeds(3)), "
  "negative_control='rate=0.8'{more})"
)


def plan(capsys, folder, *flags, more=''):
  experiment = experiments.write(folder / 'experiment', BODY.format(more=more))
  return call(capsys, 'sweep', experiment, f'--workdir={folder / "new"}', *flags)


def test_the_plan_says_which_difference_its_seeds_find(capsys, tmp_path):
  # As many comparisons as the report of such a sweep makes: one arm under four policies.
  count = len(fake.find(fake.sweep(tmp_path / 'pilot', negative_control='rate=0.8')).family)
  assert count == 4
  detectable = power.detectable(3, 4)
  _, out, _ = plan(capsys, tmp_path, '--plan')
  assert (
    f'3 seeds find a difference of {detectable:.3g} standard deviations of the paired differences '
    'with power 0.8 (paired t, 4 comparisons at 5 % together; --sd or --pilot gives it'
  ) in out
  _, out, _ = plan(capsys, tmp_path, '--plan', '--sd=.05', '--difference=.1')
  assert f'find a difference of {detectable * 0.05:.3g} with power 0.8' in out
  assert f'a difference of 0.1 takes {power.seeds_for(2.0, 4)} seeds' in out
  _, out, _ = plan(capsys, tmp_path, '--plan', f'--pilot={tmp_path / "pilot"}', '--difference=1e-9')
  sd, _ = power.pilot(sweep_results.read(tmp_path / 'pilot'), 'reference_loss')
  assert f'find a difference of {detectable * sd:.3g} with power' in out
  assert 'pilot, 2 degrees of freedom)' in out and 'takes more than 10,000 seeds' in out


def test_named_contrasts_make_smaller_differences_detectable(capsys, tmp_path):
  contrasts = ", contrasts=[('rate=0.3', 'rate=0.15')]"
  _, out, _ = plan(capsys, tmp_path, '--plan', more=contrasts)
  assert re.search(
    rf'difference of {power.detectable(3, 1):.3g} standard .* \(paired t, at 5 %;', out
  )


@pytest.mark.parametrize(
  'flags, says',
  (
    (('--sd=0', '--plan'), '--sd=0.0: must be a number above 0'),
    (('--difference=nan', '--sd=1', '--plan'), '--difference=nan: must be a number above 0'),
    (('--sd=1',), '--sd is about the plan: give --plan with it'),
    (('--pilot=x',), '--pilot is about the plan'),
    (('--sd=1', '--pilot=x', '--plan'), '--sd and --pilot both say the standard deviation'),
    (('--difference=1', '--plan'), '--difference needs the standard deviation'),
    (('--pilot=absent', '--plan'), 'cannot read absent/sweep.json'),
  ),
)
def test_wrong_flags_are_one_line(capsys, tmp_path, flags, says):
  status, _, err = plan(capsys, tmp_path, *flags)
  assert status == 2 and says in err and err.count('\n') == 1


def test_a_pilot_of_pairs_that_do_not_vary_is_refused(capsys, tmp_path):
  folder = fake.sweep(tmp_path / 'pilot', seeds=1)
  status, _, err = plan(capsys, tmp_path, '--plan', f'--pilot={folder}')
  assert status == 2 and 'no arm has two finished seeds' in err and err.count('\n') == 1


def test_a_plan_of_too_few_seeds_finds_nothing(tmp_path):
  lines = plan_text.lines(experiments.plan(tmp_path), tmp_path, 1.0, '', 1.0)
  assert not any('find' in line for line in lines) and any('takes' in line for line in lines)
  lines = plan_text.lines(experiments.plan(tmp_path, sweeps.seeds(3)), tmp_path)
  assert not any('find' in line for line in lines)  # one arm differs from nothing
