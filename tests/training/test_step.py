"""The train step: exact under any division of the batch, safe on empty and bad ones."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from mlm_jax import masking
from mlm_jax import objectives
from mlm_jax.core import batches
from mlm_jax.core import metrics
from mlm_jax.core import rng
from mlm_jax.training import compiled
from mlm_jax.training import sharding
from tests import toys


@functools.cache  # traced and compiled once for all tests that take such a step
def program(head_rows, division, settings):
  """Returns (mesh, init, step) of settings and of those of a mesh, each as sorted items."""
  config = toys.config(**{'model__layers': 1, **dict(settings)})
  mesh = sharding.make_mesh(toys.config(**dict(division)).mesh)
  objective = objectives.make(config, toys.VOCAB, toys.PAD, toys.SEP, head_rows)
  init = compiled.initial_state(objective.init, config)
  shapes = jax.eval_shape(init, rng.root_key(0))
  places = sharding.by_rules(mesh, shapes)
  step = compiled.optimizer_step(objective, config, mesh, shapes)
  return mesh, jax.jit(init, out_shardings=places), step


def one_step(batch, mesh=None, head_rows=1, change=None, steps=1, rate=0.15, **settings):
  """Returns (state, {metric: mean}) after some steps on a batch, by default on one device.

  `change` is what is done to the parameters before.
  """
  division = tuple(sorted((mesh or dict(mesh__devices=1)).items()))
  mesh, init, train_step = program(head_rows, division, tuple(sorted(settings.items())))
  state, total = init(rng.root_key(0)), None
  if change:
    state = dataclasses.replace(state, params=change(state.params))
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


def start():
  """Returns the parameters that `one_step` starts from."""
  return program(1, (('mesh__devices', 1),), ())[1](rng.root_key(0)).params


def assert_close(a, b, rtol=2e-5, atol=2e-6):
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


@functools.cache
def undivided(dropout=0.0, grad_accumulation_steps=1):
  """Returns what `one_step` does of two steps on one device."""
  return one_step(
    rows_of_unequal_length(),
    rate=0.5,
    steps=2,
    grad_accumulation_steps=grad_accumulation_steps,
    model__dropout=dropout,
  )


def rows_of_unequal_length():
  """Rows of very different length: a mean of means would show."""
  batch = toys.batch()
  batch.tokens_BL[:3, 8:] = toys.PAD
  return batch


def slow(**division):
  return pytest.param(division, marks=pytest.mark.slow)


@pytest.mark.parametrize(
  'division',
  (
    dict(grad_accumulation_steps=2),
    slow(grad_accumulation_steps=8),
    slow(mesh=dict(mesh__data=2)),
    dict(mesh=dict(mesh__data=2), grad_accumulation_steps=2, head_rows=2),
    slow(mesh=dict(mesh__fsdp=2)),
    dict(mesh=dict(mesh__fsdp=2), grad_accumulation_steps=2, head_rows=2),
    slow(mesh=dict(mesh__tensor=2)),
    dict(mesh=dict(mesh__tensor=2), grad_accumulation_steps=2, model__dropout=0.5),
  ),
)
def test_a_step_does_not_depend_on_how_it_is_divided(division):
  # Dropout depends on the micro-batch, so there only the devices may differ.
  state, means = undivided(0.5, 2) if 'model__dropout' in division else undivided()
  divided_state, divided_means = one_step(rows_of_unequal_length(), rate=0.5, steps=2, **division)
  assert divided_means == pytest.approx(means, rel=2e-5)
  # Adam divides by the gradient's own size: tiny gradients keep few digits.
  assert_close(divided_state.params, state.params, rtol=1e-3, atol=2e-5)


DISENTANGLED = toys.FAMILIES['deberta_v3'] | dict(
  objective__name='rtd', objective__sharing='gdes', objective__generator_width=1.0, model__layers=1
)


@pytest.mark.parametrize(
  'settings',
  (
    pytest.param(dict(objective__name='rtd'), id='replaced', marks=pytest.mark.slow),
    *(
      pytest.param(settings, id=name, marks=pytest.mark.slow)
      for name, settings in {
        **{family: toys.FAMILIES[family] for family in ('deberta', 'deberta_v2', 'modernbert')},
        'disentangled': DISENTANGLED,
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
  assert_close(state.params, start(), rtol=0, atol=0)
  assert state.step == 1 and state.skipped == 0
  assert 'loss' not in means and means['gradient_norm'] == 0


def test_a_non_finite_gradient_skips_the_update_and_is_counted():
  def poisoned(params):
    bias_V = params['head']['bias'].at[7].set(np.nan)
    return params | {'head': params['head'] | {'bias': bias_V}}

  state, means = one_step(toys.batch(), change=poisoned, steps=3)
  assert_close(state.params, poisoned(start()), rtol=0, atol=0)
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
