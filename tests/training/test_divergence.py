"""What is not finite at the end of a run is never a result: the run has diverged, and says so."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlm_jax.training import checkpoint
from mlm_jax.training import loop
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import workdir as workdir_lib
from tests.training import toy


def content(workdir):
  """Returns {path: bytes} of what a run has written, but for its lock."""
  return {each: each.read_bytes() for each in workdir.rglob('*') if each.is_file()}


def assert_diverges(config, workdir, says, **changes):
  """Trains twice: the same line both times, nothing trained or lost the second time."""
  with pytest.raises(loop.Diverged, match=says) as first:
    toy.train(config, workdir, **changes)
  assert workdir_lib.finished(workdir) is None
  assert not (workdir / 'weights.json').exists()  # no final report of what is no result
  before = content(workdir)
  with pytest.raises(loop.Diverged) as second:
    toy.train(config, workdir, **changes)
  assert str(first.value) == str(second.value) and content(workdir) == before
  assert str(workdir) in str(first.value) and workdir_lib.DIVERGED in str(first.value)


class Leaping(toy.Regression):
  """Finite gradients beyond all bounds: at a large rate they make the parameters infinite."""

  def loss(self, params, inputs, dropout_key):
    sums, metrics, counts = super().loss(params, inputs, dropout_key)
    return {'error': 1e30 * sums['error']}, metrics, counts


@pytest.mark.parametrize(
  'poison, says',
  (
    (3, 'step 5.* the gradients of 2 steps in a row were not finite, from step 4 on'),
    (4, 'step 6.* the gradients of 2 steps in a row were not finite, from step 5 on'),
    # Only the last one: too few in a row to end the run, but no state that anybody has seen work.
    (5, 'step 6.* the gradient of step 6 was not finite'),
  ),
)
def test_a_run_whose_gradients_are_not_finite_at_its_end_has_diverged(tmp_path, poison, says):
  config = toy.config(optim__max_consecutive_nonfinite=2)
  assert_diverges(config, tmp_path / 'run', says, objective=toy.Regression(poison=poison))
  params = checkpoint.read_model(tmp_path / 'run' / 'checkpoints')[1]
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


def test_gradients_that_were_not_finite_all_along_are_named_from_the_first_step(tmp_path):
  says = 'the gradients of 6 steps in a row were not finite, from step 1 on'
  assert_diverges(toy.config(), tmp_path / 'run', says, objective=toy.Regression(poison=0))


def test_a_run_whose_parameters_are_not_finite_has_diverged(tmp_path):
  """The last update makes them so: no gradient and no loss has seen it."""
  config = toy.config(
    optim__learning_rate=3e38,
    optim__schedule='constant',
    optim__clip_norm=0.0,
    optim__weight_decay=1e3,
    optim__warmup_steps=0,
    total_steps=1,
    evaluation__every=1,
  )
  score = lambda params, progress: 1.0
  says = 'step 1.*: the parameter linear/kernel is not finite'
  assert_diverges(config, tmp_path / 'run', says, score=score)


def test_a_run_whose_loss_is_not_finite_has_diverged(tmp_path):
  class Blind(toy.Regression):
    def loss(self, params, inputs, dropout_key):
      sums, metrics, counts = super().loss(params, inputs, dropout_key)
      total, weight = metrics['error']
      late = inputs[2].max() >= 4
      return sums, {'error': (jnp.where(late, jnp.inf, total), weight)}, counts

  says = 'step 6.*: error was not finite in steps 5 to 6'
  assert_diverges(toy.config(), tmp_path / 'run', says, objective=Blind())


@pytest.mark.parametrize('value', (math.nan, math.inf))
def test_a_run_whose_evaluation_is_not_finite_at_its_end_has_diverged(tmp_path, value):
  last = lambda params, progress: value if progress == 1 else 1.0
  says = r'step 6.*: fit_error of the evaluation at step 6 is not finite'
  assert_diverges(toy.config(), tmp_path / 'last', says, score=last)
  every = lambda params, progress: value
  says = r'step 6.*: fit_error is not finite in any evaluation from step 3 on'
  assert_diverges(toy.config(), tmp_path / 'every', says, score=every)


def test_an_evaluation_that_was_not_finite_once_does_not_end_the_run(tmp_path):
  score = lambda params, progress: math.nan if progress < 1 else 1.0
  assert toy.train(toy.config(), tmp_path / 'run', score=score)


def test_a_run_that_ends_early_because_no_evaluation_was_finite_has_diverged(tmp_path):
  ranking = problem_lib.Ranking('fit', 'error', patience=2)
  assert_diverges(
    toy.config(total_steps=12),
    tmp_path / 'run',
    'step 6.*: fit_error is not finite in any evaluation from step 3 on',
    score=lambda params, progress: math.nan,
    ranking=ranking,
  )


@pytest.mark.parametrize('poison', (3, 4))
def test_a_run_killed_before_it_noted_that_it_diverged_says_so_at_the_next_start(tmp_path, poison):
  config = toy.config(optim__max_consecutive_nonfinite=2)
  objective = toy.Regression(poison=poison)
  with pytest.raises(loop.Diverged) as first:
    toy.train(config, tmp_path / 'run', objective=objective)
  (tmp_path / 'run' / workdir_lib.DIVERGED).unlink()
  with pytest.raises(loop.Diverged) as second:
    toy.train(config, tmp_path / 'run', objective=objective)
  assert str(first.value) == str(second.value)


def test_a_run_goes_on_from_an_earlier_checkpoint_as_its_last_word_says(tmp_path):
  assert toy.train(toy.config(), tmp_path / 'whole')
  run = tmp_path / 'run'
  with pytest.raises(loop.Diverged):
    toy.train(toy.config(), run, objective=toy.Regression(poison=5))
  (run / workdir_lib.DIVERGED).unlink()
  (run / 'checkpoints' / '6').rename(tmp_path / 'away')
  assert toy.train(toy.config(), run)
  toy.assert_equal_runs(tmp_path / 'whole', run)
