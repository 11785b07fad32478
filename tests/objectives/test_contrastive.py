"""The loss of in-batch negatives beside its definition, and in micro-batches beside the whole."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from scipy import special

from mlm_jax import models
from mlm_jax.core import metrics
from mlm_jax.core import rng
from mlm_jax.objectives import contrastive
from mlm_jax.objectives import finetuning
from mlm_jax.training import compiled
from mlm_jax.training import sharding
from tests import toys

B, TEXTS, K, D = 8, 3, 2, 32


def batch(documents_BT, known_BK, rows=B):
  """Returns rows of a query, a document and negatives, as far as they have a number."""
  made = toys.batch(rows=rows, length=24, documents=TEXTS)
  document_BS = np.concatenate([np.full((rows, 1), -1), documents_BT], 1).astype(np.int32)
  known_BSK = np.full((rows, TEXTS, K), -1, np.int32)
  known_BSK[:, 0] = known_BK
  columns = {contrastive.DOCUMENT: document_BS, contrastive.KNOWN: known_BSK}
  return dataclasses.replace(made, columns=columns)


def given():
  # Rows 1 and 4 ask one thing and know both answers; rows 2 and 5 have no negative, and that of
  # row 6 answers row 3 too.
  documents_BT = np.arange(2 * B).reshape(B, 2)
  documents_BT[[2, 5], 1] = -1
  documents_BT[6, 1] = 90
  known_BK = np.stack([documents_BT[:, 0], np.full(B, -1)], 1)
  known_BK[1], known_BK[4], known_BK[3, 1] = (2, 8), (8, 2), 90
  return batch(documents_BT, known_BK)


def objective(dropout=0.0, family='bert', **settings):
  own = {'model__layers': 1, 'model__dropout': dropout}
  encoder = models.make(toys.config(**own | toys.FAMILIES[family]).model, toys.VOCAB)
  head = contrastive.ContrastiveHead('mean', 0.05, negatives=TEXTS - 2, **settings)
  return finetuning.Objective(encoder, head, toys.PAD, toys.SEP)


def definition(embedding_BTD, of, dimensions):
  """Returns the mean loss in plain Python."""
  document_BT = of.columns[contrastive.DOCUMENT][:, 1:]
  total = 0.0
  for d in dimensions:
    unit = lambda x: x[:d] / np.linalg.norm(x[:d])
    for b in range(len(document_BT)):
      scores = [unit(embedding_BTD[b, 0]) @ unit(embedding_BTD[b, 1]) / 0.05]
      for c, t in np.argwhere(document_BT >= 0):
        if (c, t) != (b, 0) and document_BT[c, t] not in of.columns[contrastive.KNOWN][b, 0]:
          scores.append(unit(embedding_BTD[b, 0]) @ unit(embedding_BTD[c, 1 + t]) / 0.05)
      total -= special.log_softmax(scores)[0]
  return total / len(document_BT)


@pytest.mark.parametrize('dimensions', ((), (4, 16, 32)))
@pytest.mark.parametrize('is_learned', (False, True))
def test_the_loss_is_that_of_its_definition(dimensions, is_learned):
  made, of = objective(is_learned=is_learned, dimensions=dimensions), given()
  params = made.init(rng.root_key(0))
  inputs = made.prepare({}, {}, of, rng.root_key(0), 0.0)
  outputs = made.outputs(params, inputs)
  embedding_BTD = np.asarray(outputs[contrastive.EMBEDDING], np.float64)
  found = metrics.means(jax.device_get(made.scored(outputs, inputs)))
  assert found['loss'] == pytest.approx(definition(embedding_BTD, of, dimensions or (D,)), rel=1e-5)
  assert found['temperature'] == pytest.approx(0.05)
  assert float(made.weights(inputs)['task']) == B


def test_a_learned_temperature_has_the_gradient_of_a_finite_difference():
  made = objective(is_learned=True)
  inputs = made.prepare({}, {}, given(), rng.root_key(0), 0.0)
  params = made.init(rng.root_key(0))
  loss = lambda bias: made.loss(params | {'task': {'temperature': {'bias': bias}}}, inputs)[0][
    'task'
  ]
  difference = (loss(np.float32(0.05)) - loss(np.float32(-0.05))) / 0.1
  assert jax.grad(loss)(np.float32(0)) == pytest.approx(float(difference), rel=1e-2)


@functools.cache
def stepped(parts, family, dropout, devices=1):
  """Returns (the optimizer's moments, the metrics) after a step."""
  settings = {'grad_accumulation_steps': parts, 'optim__clip_norm': 0.0, 'optim__epsilon': 1.0}
  config = toys.config(**settings | {'mesh__devices': devices})
  made = objective(dropout, family, is_learned=True, dimensions=(8, 32))
  init = compiled.initial_state(made.init, config)
  state = jax.jit(init)(rng.root_key(0))
  mesh = sharding.make_mesh(config.mesh)
  step = compiled.optimizer_step(made, config, mesh, jax.eval_shape(init, rng.root_key(0)))
  state, sums = step(
    jax.device_put(state, sharding.by_rules(mesh, state)),
    {},
    sharding.put(given(), mesh, B),
    rng.root_key(1),
  )
  return jax.device_get(state.opt_state), metrics.means(jax.device_get(sums))


@pytest.mark.parametrize(
  'family, dropout, devices',
  (
    ('bert', 0.3, 1),
    pytest.param('bert', 0.0, 1, marks=pytest.mark.slow),
    pytest.param('bert', 0.3, 2, marks=pytest.mark.slow),
    pytest.param('modernbert', 0.3, 1, marks=pytest.mark.slow),
  ),
)
def test_micro_batches_give_the_step_of_the_whole_batch_dropout_and_all(family, dropout, devices):
  # The moments of the first step are the gradient and its square.
  whole, said = stepped(1, family, dropout)
  cached, also = stepped(4 // devices, family, dropout, devices)
  assert also == pytest.approx(said, rel=2e-5)
  for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(cached), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
