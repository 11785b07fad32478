"""Which metrics of an objective say how good a model is."""

import jax
import pytest

from mlm_jax import masking
from mlm_jax import objectives
from mlm_jax.core import rng
from mlm_jax.training import step as step_lib
from tests import toys


@pytest.mark.parametrize(
  'settings, batch, more',
  (
    ({}, toys.batch, set()),
    ({'objective__name': 'rtd'}, toys.batch, {'rtd_loss', 'rtd_accuracy'}),
    (
      {
        'data__pairs': 'nsp',
        'objective__pairs_weight': 0.5,
        'masking__unit': 'word',
        'objective__sbo_weight': 1.0,
      },
      toys.pair_batch,
      {'pairs_loss', 'pairs_accuracy', 'boundary_loss', 'boundary_accuracy'},
    ),
  ),
)
def test_scores_are_metrics_that_the_objective_gives(settings, batch, more):
  objective = toys.objective(**settings)
  params = jax.eval_shape(objective.init, rng.root_key(0))
  policy = masking.make(toys.table(), unit=settings.get('masking__unit', 'token'))
  found = jax.eval_shape(
    step_lib.make_eval_step(objective), params, {}, policy, batch(), rng.root_key(0), 1.0
  )
  scores = objectives.scores(toys.config(**settings).objective)
  assert set(scores) == {'loss', 'accuracy', 'top5_accuracy'} | more
  assert set(scores) <= set(found)
  assert all((mode == 'min') == name.endswith('loss') for name, mode in scores.items())
