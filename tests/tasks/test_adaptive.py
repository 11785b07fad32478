"""A policy that learns while the model trains: from finite steps, saved with the model, used to
evaluate it.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mlm_jax
from mlm_jax import masking
from mlm_jax import models
from mlm_jax.core import metrics
from mlm_jax.core import rng
from mlm_jax.inference import evaluate
from mlm_jax.masking.selections import accuracy
from mlm_jax.objectives import masked
from mlm_jax.tasks import pretraining
from mlm_jax.training import checkpoint
from mlm_jax.training import compiled
from mlm_jax.training import logs
from mlm_jax.training import sharding
from tests import toys
from tests.tasks.test_pretraining import train_until
from tests.training import toy
from tests.training.test_step import assert_close

CLASSES = ('A', 'B', 'C')


def batch():
  """Rows of very different length, each token with a class: a mean of means would show."""
  rows = toys.batch()
  rows.tokens_BL[:3, 8:] = toys.PAD
  columns = {'classes_BL': (rows.tokens_BL % 4).astype(np.uint8)}
  return dataclasses.replace(rows, columns=columns)


@functools.cache  # traced and compiled once for all tests that take such a step
def program(selection, division):
  """Returns (mesh, policy, init, step) of a selection and a division, sorted items of settings."""
  config = toys.config(**{'model__layers': 1, 'mesh__devices': 1, **dict(division)})
  mesh = sharding.make_mesh(config.mesh)
  table = dataclasses.replace(toys.table(), classes=CLASSES)
  policy = masking.make(table, selection=selection, rate=0.5)
  objective = masked.Objective(models.make(config.model, toys.VOCAB), toys.PAD, 1, policy.counted)
  init = compiled.initial_state(objective.init, config, policy.learned)
  shapes = jax.eval_shape(init, rng.root_key(0))
  return mesh, policy, jax.jit(init), compiled.optimizer_step(objective, config, mesh, shapes)


def one_step(selection, rows, step=0, change=None, **division):
  """Returns (state before, state after, {metric: (sum, weight)}) of one step of training."""
  mesh, policy, init, train_step = program(selection, tuple(sorted(division.items())))
  before = dataclasses.replace(init(rng.root_key(0)), step=jnp.int32(step))
  if change:
    before = dataclasses.replace(before, params=change(before.params))
  before = jax.device_get(before)
  after, sums = train_step(
    jax.device_put(before, sharding.replicated(mesh)),
    policy,
    sharding.put(rows, mesh, len(rows.visit_B)),
    rng.root_key(1),
  )
  return before, jax.device_get(after), jax.device_get(sums)


def test_accuracy_is_counted_for_each_piece_at_every_step():
  _, after, sums = one_step('accuracy', batch())
  correct_V, wrong_V = after.aux['correct_V'], after.aux['wrong_V']
  assert correct_V.sum() + wrong_V.sum() == sums['predicted'][0] > 30
  assert correct_V.sum() == sums['accuracy'][0]
  assert (
    not (correct_V + wrong_V)[list(toys.SPECIAL)].any() and ((correct_V + wrong_V) > 0).sum() > 10
  )


def test_weights_of_pieces_change_at_the_200th_step_and_not_before():
  for step, due in ((197, False), (199, True)):
    before, after, _ = one_step('accuracy', batch(), step=step)
    assert (after.aux['weight_V'] != before.aux['weight_V']).any() == due
    assert after.aux['wrong_V'].any() != due


def test_the_loss_of_each_class_is_that_of_its_words():
  """By a model that is sure of nothing all classes lose alike; what was not seen stays unseen."""
  rows = batch()
  rows.classes_BL[rows.classes_BL == 2] = 1
  _, after, sums = one_step('class', rows)
  assert after.aux['steps_C'].tolist() == [1, 1, 0, 1]
  mean = metrics.means(sums)['loss']
  seen_C = after.aux['steps_C'] > 0
  assert after.aux['loss_C'][seen_C] / 0.001 == pytest.approx([mean] * 3, rel=0.05)
  assert after.aux['loss_C'][2] == 0


@pytest.mark.parametrize(
  'division',
  (
    dict(grad_accumulation_steps=4),
    dict(mesh__devices=2, mesh__data=2, grad_accumulation_steps=2),
  ),
)
@pytest.mark.parametrize('selection', ('accuracy', 'class'))
def test_what_is_learned_does_not_depend_on_how_the_batch_is_divided(selection, division):
  _, whole, _ = one_step(selection, batch(), step=199)
  _, divided, _ = one_step(selection, batch(), step=199, **division)
  assert_close(divided.aux, whole.aux)


@pytest.mark.parametrize('selection', ('accuracy', 'class'))
def test_nothing_is_learned_from_a_step_without_predictions_or_with_a_bad_gradient(selection):
  empty = dataclasses.replace(batch(), tokens_BL=np.full((8, 16), toys.PAD, np.uint16))
  before, after, _ = one_step(selection, empty, step=199)
  assert_close(after.aux, before.aux, rtol=0, atol=0)

  def poisoned(params):
    bias_V = params['head']['bias'].at[7].set(np.nan)
    return params | {'head': params['head'] | {'bias': bias_V}}

  before, after, _ = one_step(selection, batch(), step=199, change=poisoned)
  assert after.skipped == 1 and after.step == 200
  assert_close(after.aux, before.aux, rtol=0, atol=0)


# In runs. ------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def config(tmp_path_factory):
  """The config of a run whose policy adapts, on data that all runs here share."""
  folder = tmp_path_factory.mktemp('adaptive')
  corpus = toys.write_corpus(folder / 'corpus.txt')
  config = toys.training_config(
    corpus,
    data__prepared=str(folder / 'data'),
    masking__selection='accuracy',
    masking__rate=0.3,
    model__layers=1,
  )
  pretraining.prepare_data(config, None, lambda line: None)
  return config


@pytest.fixture
def often(monkeypatch):
  monkeypatch.setattr(accuracy, '_EVERY', 2)


@pytest.fixture(scope='module')
def whole_run(tmp_path_factory, config):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(accuracy, '_EVERY', 2)
    folder = tmp_path_factory.mktemp('whole') / 'run'
    assert pretraining.run(config, folder, lambda line: None)
  return folder


def learned_by(workdir, step=None):
  return checkpoint.read_model(workdir / 'checkpoints', step)[2]


@pytest.mark.usefixtures('often')
@pytest.mark.parametrize('step', (3, pytest.param(4, marks=pytest.mark.slow)))
def test_a_run_that_was_stopped_has_learned_the_same_to_the_bit(
  config, whole_run, tmp_path, monkeypatch, step
):
  """Stopped between two changes of the weights and at one."""
  train_until(config, tmp_path / 'run', step, monkeypatch)
  assert pretraining.run(config, tmp_path / 'run', lambda line: None)
  toy.assert_equal_runs(tmp_path / 'run', whole_run)
  jax.tree.map(np.testing.assert_array_equal, learned_by(tmp_path / 'run'), learned_by(whole_run))


def test_what_was_learned_is_saved_and_opened_with_the_model(config, whole_run):
  saved = learned_by(whole_run)
  start = masking.make(toys.table(), selection='accuracy', rate=0.3).learned
  assert saved.keys() == start.keys() and len(set(saved['weight_V'].tolist())) > 10
  run = mlm_jax.open_run(whole_run)
  jax.tree.map(np.testing.assert_array_equal, run.aux, saved)


def test_the_own_evaluation_uses_what_was_learned_and_the_reference_does_not(config, whole_run):
  last = logs.read_log(whole_run, 'evaluations')[-1]
  run = mlm_jax.open_run(whole_run)
  mesh = sharding.make_mesh(config.mesh)
  prepared = pretraining.prepare_data(config, None, lambda line: None)
  evaluators = pretraining.problem(config, prepared, mesh).evaluators
  forgotten = dict(masking.make(run.table, selection='accuracy', rate=0.3).learned)
  params, learned, forgotten = jax.device_put(
    (run.params, run.aux, forgotten), sharding.replicated(mesh)
  )
  for name, differs in (('policy', True), ('reference', False)):
    again = evaluators[name](params, learned, 1.0)['loss']
    without = evaluators[name](params, forgotten, 1.0)['loss']
    assert again == pytest.approx(last[f'{name}_loss'], rel=1e-5)
    assert (again != without) == differs
  scores = evaluate.evaluate(whole_run)
  assert scores['policy_loss'] == pytest.approx(last['policy_loss'], rel=1e-5)
