"""Contrasts that a sweep names: refused where they cannot be, kept as they were before results."""

import json

import pytest

from mlm_jax import config as config_lib
from mlm_jax import sweeps
from mlm_jax.report.comparisons import Comparison
from mlm_jax.sweeps import layout
from mlm_jax.sweeps import plan_text
from tests import toys
from tests.sweeps import experiments

LOW, HIGH, ALL = 'rate=0.15', 'rate=0.3', 'rate=0.8'
RATES = sweeps.param('masking.rate', [0.15, 0.3, 0.8])


def plan(workdir, *contrasts, **settings):
  return experiments.plan(workdir, RATES, contrasts=contrasts, **settings)


def test_a_contrast_is_a_comparison_of_two_arms_under_a_policy(tmp_path):
  found = plan(tmp_path, (HIGH, LOW), [ALL, HIGH], (ALL, LOW, HIGH)).sweep.contrasts
  assert found == (Comparison(HIGH, LOW), Comparison(ALL, HIGH), Comparison(ALL, LOW, HIGH))


def test_the_policy_that_is_the_reference_policy_is_that(tmp_path):
  base = toys.config(masking__corruption_probs=(1.0, 0.0, 0.0))
  found = plan(tmp_path, (HIGH, LOW, LOW), base=base).sweep.contrasts
  assert found == (Comparison(HIGH, LOW),)


@pytest.mark.parametrize(
  'contrasts, says',
  (
    (
      [(HIGH, 'rate=0.1')],
      "contrasts = 'rate=0.1': there is no such arm; did you mean 'rate=0.15'",
    ),
    ([('x', LOW)], "contrasts = 'x': there is no such arm"),
    ([(HIGH, LOW, 'rate=0.2')], "contrasts = 'rate=0.2': there is no such policy; did you mean"),
    ((HIGH, LOW), 'must be a list of pairs of arms, such as'),
    ([(HIGH,)], 'must be a list of pairs of arms'),
    ([(HIGH, 0.15)], 'must be a list of pairs of arms'),
    (3, 'contrasts = 3: must be a list of pairs of arms'),
    ([(HIGH, HIGH)], "'rate=0.3' cannot be compared with itself"),
    ([(HIGH, LOW), (LOW, HIGH)], "'rate=0.15' against 'rate=0.3' is there twice"),
  ),
)
def test_what_cannot_be_compared_is_refused_before_anything_starts(tmp_path, contrasts, says):
  with pytest.raises(config_lib.UserError) as error:
    # A budget that needs the data, of which there is none: it is not asked for.
    experiments.plan(tmp_path, RATES, contrasts=contrasts, budget='flops')
  assert says in str(error.value) and '\n' not in str(error.value)


def test_no_policy_can_be_named_where_all_arms_hide_the_same(tmp_path):
  runs = sweeps.param('optim.learning_rate', [1e-3, 2e-3])
  contrasts = [('learning_rate=0.001', 'learning_rate=0.002', 'base')]
  with pytest.raises(config_lib.UserError, match="'base' is no policy .*: all arms hide the same"):
    experiments.plan(tmp_path, runs, contrasts=contrasts)


def write(workdir, *contrasts):
  """Writes the folder of a sweep with contrasts; returns what sweep.json says of them."""
  layout.write(plan(workdir, *contrasts), workdir)
  content = json.loads((workdir / 'sweep.json').read_text())
  return content['contrasts'], content['contrasts_before_results']


def evaluated(workdir, step):
  """A run of the sweep, or one that was of it, is evaluated."""
  place = workdir / 'runs' / 'rate=0.9_seed=0'
  place.mkdir(parents=True)
  (place / 'evaluations.jsonl').write_text(json.dumps({'step': step, 'reference_loss': 4.0}) + '\n')


def test_contrasts_may_change_until_there_is_a_result(tmp_path):
  one, other = [HIGH, LOW, ''], [ALL, LOW, '']
  assert write(tmp_path, (HIGH, LOW)) == ([one], [one])
  assert write(tmp_path, (ALL, LOW)) == ([other], [other])
  evaluated(tmp_path, 2)
  assert write(tmp_path, (HIGH, LOW)) == ([one], [other])
  assert write(tmp_path) == ([], [other])


def test_an_evaluation_before_the_first_step_is_no_result(tmp_path):
  write(tmp_path, (HIGH, LOW))
  evaluated(tmp_path, 0)
  assert write(tmp_path, (ALL, LOW))[1] == [[ALL, LOW, '']]


def test_those_of_a_sweep_that_began_without_any_are_later(tmp_path):
  write(tmp_path)
  evaluated(tmp_path, 2)
  content = json.loads((tmp_path / 'sweep.json').read_text())
  del content['contrasts_before_results']  # as an earlier version wrote it
  (tmp_path / 'sweep.json').write_text(json.dumps(content))
  assert write(tmp_path, (ALL, LOW)) == ([[ALL, LOW, '']], [])


def test_the_plan_names_the_contrasts_and_says_when_they_were_changed(tmp_path):
  written = plan(tmp_path, (HIGH, LOW))
  assert 'tested: rate=0.3 against rate=0.15' in plan_text.lines(written, tmp_path)
  layout.write(written, tmp_path)
  evaluated(tmp_path, 2)
  lines = plan_text.lines(plan(tmp_path, (ALL, LOW)), tmp_path)
  assert 'tested: rate=0.3 against rate=0.15' in lines
  assert any('changed after results: rate=0.8 against rate=0.15;' in line for line in lines)
  assert not any(
    'contrasts' in line for line in plan_text.lines(plan(tmp_path / 'new'), tmp_path / 'new')
  )
