"""What arms may be compared by."""

import pytest

from mlm_jax import config as config_lib
from mlm_jax import sweeps
from mlm_jax.sweeps import metrics
from mlm_jax.training import logs
from tests import shared_runs
from tests import toys
from tests.sweeps import experiments

_UNITS = sweeps.param('masking.unit', ['token', 'word'])


@pytest.mark.parametrize(
  'settings, metric, direction',
  (
    ({}, 'reference_loss', 'min'),
    ({'metric': 'reference_accuracy'}, 'reference_accuracy', 'max'),
    ({'metric': 'reference_perplexity'}, 'reference_perplexity', 'min'),
    ({'metric': 'reference_top5_accuracy', 'direction': 'max'}, 'reference_top5_accuracy', 'max'),
    ({'direction': 'max'}, 'reference_loss', 'max'),
  ),
)
def test_a_sweep_names_its_metric_which_says_its_direction(settings, metric, direction):
  planned = experiments.plan('w', **settings).sweep
  assert (planned.metric, planned.direction) == (metric, direction)


@pytest.mark.parametrize(
  'settings, says',
  (
    (
      {'metric': 'reference_los'},
      "metric = 'reference_los': run rate=0.15_seed=0 has no such score; did you mean "
      "'reference_loss'?",
    ),
    ({'metric': 'reference_padding'}, 'has no such score'),  # a number, but not of how good it is
    ({'metric': 'reference_rtd_accuracy'}, 'run rate=0.15_seed=0 has no such score'),
    ({'metric': 3}, 'metric = 3: run'),
    ({'metric': ['reference_loss']}, "metric = ['reference_loss']: run"),
    ({'direction': 'up'}, "direction = 'up': must be min (less is better) or max"),
    (
      {'metric': 'policy_loss', 'runs': _UNITS},
      "under its own masks, which differ between the arms; take 'reference_loss'",
    ),
    (
      {
        'metric': 'policy_loss',
        'runs': sweeps.param('optim.learning_rate', [1e-3, 2e-3]),
        'base': toys.config(masking__schedule='linear'),  # from .15 to 0
      },
      "metric = 'policy_loss': run learning_rate=0.001_seed=0 hides nothing at the end of its "
      "training, so it has no such score there; take 'reference_loss'",
    ),
  ),
)
def test_a_metric_that_cannot_decide_is_one_line(settings, says):
  with pytest.raises(config_lib.UserError) as error:
    experiments.plan('w', **settings)
  assert says in str(error.value) and '\n' not in str(error.value)


def test_runs_that_hide_the_same_may_be_compared_under_their_own_masks():
  rates = sweeps.param('optim.learning_rate', [1e-3, 2e-3])
  assert experiments.plan('w', rates, metric='policy_accuracy').sweep.direction == 'max'


def test_every_metric_is_a_field_of_the_evaluations(tmp_path_factory):
  run = shared_runs.from_the_command_line(tmp_path_factory)
  written = logs.read_log(run, 'evaluations')[-1]
  assert set(metrics.of(toys.config())) <= set(written)
