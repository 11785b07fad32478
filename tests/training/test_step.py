"""The train step: exact under any division of the batch, safe on empty and bad ones."""

import jax
import numpy as np
import pytest

from mlm_jax import masking
from mlm_jax import objectives
from mlm_jax.core import batches
from mlm_jax.core import metrics
from mlm_jax.core import rng
from mlm_jax.training import optim
from mlm_jax.training import sharding
from mlm_jax.training import step as step_lib
from tests import toys


def one_step(
  batch,
  grad_accumulation_steps=1,
  mesh=None,
  head_rows=1,
  params=None,
  steps=1,
  rate=0.15,
  **settings,
):
  """Returns (state, {metric: mean}) after some steps on a batch, on one device unless `mesh` says
  more.
  """
  config = toys.config(**settings)
  mesh = sharding.make_mesh(toys.config(**(mesh or dict(mesh__devices=1))).mesh)
  optimizer = optim.make(config.optim, config.total_steps)
  objective = objectives.make(config, toys.VOCAB, toys.PAD, toys.SEP, head_rows)
  train_step = step_lib.make_train_step(
    objective,
    optimizer,
    optim.schedule(config.optim, config.total_steps),
    config.total_steps,
    grad_accumulation_steps,
  )
  whole, rows = sharding.replicated(mesh), sharding.by_rows(mesh)
  init = step_lib.make_init(params or objective.init, optimizer)
  places = sharding.by_rules(mesh, jax.eval_shape(init, rng.root_key(0)))
  train_step = jax.jit(
    train_step, in_shardings=(places, whole, rows, whole), out_shardings=(places, whole)
  )
  state = jax.jit(init, out_shardings=places)(rng.root_key(0))
  total = None
  for _ in range(steps):
    state, sums = jax.block_until_ready(
      train_step(
        state,
        masking.make(toys.table(), rate=rate),
        sharding.put(batch, mesh, len(batch.visit_B)),
        rng.root_key(1),
      )
    )
    total = sums if total is None else metrics.add(total, sums)
  return jax.device_get(state), metrics.means(jax.device_get(total))


def assert_close(a, b, rtol=2e-5, atol=2e-6):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


@pytest.mark.parametrize(
  'division',
  (
    dict(grad_accumulation_steps=2),
    dict(grad_accumulation_steps=8),
    dict(mesh=dict(mesh__data=2)),
    dict(mesh=dict(mesh__data=2), grad_accumulation_steps=2, head_rows=2),
    dict(mesh=dict(mesh__fsdp=2)),
    dict(mesh=dict(mesh__fsdp=2), grad_accumulation_steps=2, head_rows=2),
    dict(mesh=dict(mesh__tensor=2)),
    dict(mesh=dict(mesh__tensor=2), grad_accumulation_steps=2, model__dropout=0.5),
  ),
)
def test_a_step_does_not_depend_on_how_it_is_divided(division):
  # Rows of very different length: a mean of means would show.
  batch = toys.batch()
  batch.tokens_BL[:3, 8:] = toys.PAD
  division = dict(division)
  settings = {key: division.pop(key) for key in [*division] if key.startswith('model')}
  state, means = one_step(
    batch,
    rate=0.5,
    steps=2,
    grad_accumulation_steps=division['grad_accumulation_steps'] if settings else 1,
    **settings,
  )
  divided_state, divided_means = one_step(batch, rate=0.5, steps=2, **division, **settings)
  assert divided_means == pytest.approx(means, rel=2e-5)
  # Adam divides by the gradient's own size: tiny gradients keep few digits.
  assert_close(divided_state.params, state.params, rtol=1e-3, atol=2e-5)


DISENTANGLED = toys.FAMILIES['deberta_v3'] | dict(
  objective__name='rtd', objective__sharing='gdes', objective__generator_width=1.0, model__layers=1
)


@pytest.mark.parametrize(
  'settings',
  (
    pytest.param(DISENTANGLED, id='disentangled'),
    *(
      pytest.param(settings, id=name, marks=pytest.mark.slow)
      for name, settings in {
        **{family: toys.FAMILIES[family] for family in ('deberta', 'deberta_v2', 'modernbert')},
        'replaced': dict(objective__name='rtd'),
      }.items()
    ),
  ),
)
def test_every_family_and_objective_steps_alike_on_any_mesh(settings):
  batch = toys.batch()
  batch.tokens_BL[:3, 8:] = toys.PAD
  state, means = one_step(batch, rate=0.5, **settings)
  for division in (
    dict(mesh=dict(mesh__fsdp=2), grad_accumulation_steps=2),
    dict(mesh=dict(mesh__tensor=2)),
  ):
    divided_state, divided_means = one_step(batch, rate=0.5, **division, **settings)
    assert divided_means == pytest.approx(means, rel=2e-5, nan_ok=True)
    assert_close(divided_state.params, state.params, rtol=1e-3, atol=2e-5)


def test_a_batch_without_predictions_changes_nothing_but_the_step():
  empty = batches.Batch(
    np.full((8, 16), toys.PAD, np.uint16),
    np.full((8, 2), -1, np.int32),
    np.zeros((8, 2), np.uint32),
    np.zeros(8, np.uint32),
  )
  state, means = one_step(empty)
  start = jax.jit(toys.model().init)(rng.root_key(0))
  assert_close(state.params, start, rtol=0, atol=0)
  assert state.step == 1 and state.skipped == 0
  assert 'loss' not in means and means['gradient_norm'] == 0


def test_a_non_finite_gradient_skips_the_update_and_is_counted():
  def poisoned(key):
    params = toys.model().init(key)
    params['head']['bias'] = params['head']['bias'].at[7].set(np.nan)
    return params

  state, means = one_step(toys.batch(), params=poisoned, steps=3)
  assert_close(state.params, jax.jit(poisoned)(rng.root_key(0)), rtol=0, atol=0)
  assert state.step == 3 and state.skipped == 3
  assert means['skipped'] == 1 and 'loss' not in means
  good, means = one_step(toys.batch(), steps=3)
  assert good.skipped == 0 and means['skipped'] == 0


def test_dropout_differs_by_step_and_micro_batch():
  """At a rate of 0 nothing but dropout can make the losses of two steps, or of twice the same rows,
  differ.
  """
  still = dict(model__dropout=0.5, optim__learning_rate=1e-30)
  first, both = (one_step(toys.batch(), steps=steps, **still)[1]['loss'] for steps in (1, 2))
  assert abs(2 * both - first - first) > 1e-3
  # Part m takes rows m, m + 2, ...: two equal parts.
  batch = toys.batch()
  twice = jax.tree.map(lambda x: np.repeat(x[:4], 2, axis=0), batch)
  half = jax.tree.map(lambda x: x[:4], batch)
  one = one_step(half, **still)[1]['loss']
  assert abs(one_step(twice, grad_accumulation_steps=2, **still)[1]['loss'] - one) > 1e-3
  assert one_step(twice, grad_accumulation_steps=2)[1]['loss'] == pytest.approx(
    one_step(half)[1]['loss'], rel=1e-6
  )


def test_dropout_recurs_by_key():
  runs = [one_step(toys.batch(), steps=2, model__dropout=0.5)[1]['loss'] for _ in range(2)]
  assert runs[0] == runs[1]
