"""Budgets: arms spend the same, counted as the runs themselves count."""

import jax
import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax import models
from mlm_jax.core import rng
from mlm_jax.data import store
from mlm_jax.models import flops
from mlm_jax.sweeps import budgets
from mlm_jax.tasks import pretraining
from mlm_jax.training import sharding
from tests import toys
from tests.sweeps import experiments

STEPS = 600
LOOKED_AT = 40  # steps


def steps(runs, **settings):
  plan = experiments.plan('w', runs, toys.config(total_steps=STEPS), **settings)
  return [run.config.total_steps for run in plan.runs]


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
  """(a sweep's folder, a base config on a small corpus)"""
  folder = tmp_path_factory.mktemp('prepared')
  return folder, toys.training_config(toys.write_corpus(folder / 'corpus.txt'), total_steps=1000)


def test_equal_batches_and_rows_leave_a_budget_of_tokens_as_it_is():
  assert steps([{'masking.rate': 0.15}, {'masking.rate': 0.8}, {'model.width': 64}]) == [STEPS] * 3


def test_larger_batches_or_rows_take_fewer_steps_of_a_budget_of_tokens():
  assert steps([{}, {'batch_size': 32}, {'data.row_length': 32}, {'batch_size': 6}]) == [
    600,
    150,
    300,
    800,
  ]


def test_a_budget_of_predictions_goes_by_the_mean_rate_of_what_is_predicted(prepared):
  runs = [
    {'masking.rate': 0.2},
    {'masking.rate': 0.4},
    {'masking.rate': 0.4, 'masking.predict_fraction': 0.5},
    {'masking.schedule': 'linear', 'masking.rate': 0.1, 'masking.final_rate': 0.3},
    {'masking.schedule': 'polynomial', 'masking.rate': 0.0, 'masking.final_rate': 0.3},
  ]
  folder, base = prepared
  plan = experiments.plan(folder, runs, base, budget='predictions')
  assert [run.config.total_steps for run in plan.runs] == [1000, 500, 1000, 1000, 2000]


def test_the_baseline_says_what_is_spent():
  assert steps([{'batch_size': 8}, {'batch_size': 16}], baseline='batch_size=16') == [1200, 600]


def test_warm_up_stays_as_it_is():
  plan = experiments.plan('w', [{}, {'batch_size': 4}], toys.config(total_steps=STEPS))
  assert [run.config.optim.warmup_steps for run in plan.runs] == [2, 2]


@pytest.mark.parametrize(
  'runs, says',
  (
    (
      [{}, {'batch_size': 16, 'total_steps': 600}],
      'run batch_size=16_total_steps=600_seed=0: config.total_steps = 600: the same budget of '
      'tokens as base needs 300 steps; leave it to the budget',
    ),
    (
      [{}, {'batch_size': 16, 'stages': [{'steps': 300}, {'steps': 300}]}],
      'stages are not stretched',
    ),
    (
      [{'optim.warmup_steps': 500}, {'batch_size': 16, 'optim.warmup_steps': 500}],
      'config.optim.warmup_steps = 500: must be with optim.decay_steps at most total_steps = 300',
    ),
    (
      [{}, {'masking.schedule': 'linear', 'masking.mean_rate': 0.9, 'masking.final_rate': 0.5}],
      'the rate would reach',
    ),
  ),
)
def test_an_arm_that_cannot_spend_the_budget_is_refused(runs, says):
  with pytest.raises(config_lib.UserError) as error:
    steps(runs)
  assert says in str(error.value)


def test_an_arm_may_set_the_steps_that_the_budget_asks_for():
  assert steps([{}, {'batch_size': 16, 'total_steps': 300}]) == [600, 300]


def test_stages_are_added_up():
  stages = [{'steps': 400}, {'steps': 200, 'batch_size': 32, 'masking.rate': 0.3}]
  config = (
    experiments.plan('w', [{'stages': stages}], toys.config(total_steps=STEPS)).runs[0].config
  )
  cost = budgets.cost(config)
  assert cost['tokens'] == 16 * (400 * 8 + 200 * 32)
  assert cost['predictions'] == pytest.approx(16 * (400 * 8 * 0.15 + 200 * 32 * 0.3))


def plan_with(budget, prepared):
  """Returns a plan of arms with other rates, sizes and rows."""
  folder, base = prepared
  runs = [{'masking.rate': 0.15}, {'masking.rate': 0.6, 'model.layers': 1}, {'data.row_length': 32}]
  return experiments.plan(folder, runs, base, budget=budget)


def spent(config):
  """Returns (the predictions, the FLOPs) of a run by what the objective counts in its first
  steps.
  """
  prepared = store.open_prepared(config.data.prepared)
  mesh = sharding.make_mesh(config.mesh)
  (stage,) = pretraining.problem(config, [prepared], mesh).stages
  prepare = jax.jit(
    lambda batch: stage.objective.prepare(stage.hparams, {}, batch, rng.root_key(0), 0.0)
  )
  sums = np.zeros(3)
  for step in range(LOOKED_AT):
    inputs = prepare(stage.batch(step))
    sums += (
      inputs.tokens_BL.size - inputs.padding_B.sum(),
      inputs.attended_B.sum(),
      (inputs.action_GP > 0).sum(),
    )
  architecture = models.make(config.model, prepared.tokenizer.size).architecture
  return np.array([sums[2], flops.training(architecture, *sums)]) * config.total_steps / LOOKED_AT


@pytest.mark.parametrize(
  'number, budget', (pytest.param(0, 'predictions', marks=pytest.mark.slow), (1, 'flops'))
)
def test_arms_spend_the_same_as_the_objective_counts(prepared, number, budget):
  plan = plan_with(budget, prepared)
  found = [spent(run.config)[number] for run in plan.runs]
  assert len({run.config.total_steps for run in plan.runs}) == 3
  assert found == pytest.approx([found[0]] * 3, rel=0.01)
  for run in plan.runs:
    assert budgets.cost(run.config)[budget] == pytest.approx(found[0], rel=0.01)


@pytest.mark.parametrize('budget', budgets.KINDS)
def test_a_plan_is_the_same_before_and_after_its_data_is_prepared(tmp_path, budget):
  base = toys.training_config(toys.write_corpus(tmp_path / 'corpus.txt'), total_steps=1001)
  plans = [plan_with(each, (tmp_path / 'sweep', base)) for each in (budget, 'flops', budget)]
  first, _, again = [[run.config.total_steps for run in plan.runs] for plan in plans]
  assert first == again


def test_without_data_rows_count_as_full_and_of_one_document(tmp_path):
  config = experiments.plan(tmp_path, [{}]).runs[0].config
  architecture = models.make(config.model, config.data.vocab_size).architecture
  wanted = flops.training(architecture, 8 * 16, 8 * 16 * 16, 8 * 16 * 0.15) * config.total_steps
  np.testing.assert_allclose(budgets.cost(config)['flops'], wanted)
  np.testing.assert_allclose(
    budgets.cost(config)['predictions'], 8 * 16 * 0.15 * config.total_steps
  )
