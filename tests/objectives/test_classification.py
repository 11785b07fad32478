"""The loss of classification beside the definition, and packed examples beside the same alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mlm_jax import models
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.objectives import classification
from mlm_jax.objectives import finetuning
from tests import toys

LABELS = 3


def made(pooled='cls', has_pairs=False, family=None, **settings):
  config = toys.config(**{'model__layers': 1} | toys.FAMILIES[family or 'bert']).model
  encoder = models.make(config, toys.VOCAB)
  head = classification.ClassificationHead(
    models.sequence_head(config, encoder.architecture, LABELS), pooled, **settings
  )
  return finetuning.Objective(encoder, head, toys.PAD, toys.SEP, has_pairs)


def labelled(labels_BS, name=classification.LABEL, rows=4):
  batch = toys.batch(rows=rows)
  return dataclasses.replace(batch, columns={name: labels_BS})


def prepared(objective, batch):
  return objective.prepare({}, {}, batch, rng.root_key(0), 0.0)


def scored(objective, logits_BSC, batch):
  inputs = prepared(objective, batch)
  metrics = objective.scored({'logits_BSC': jnp.asarray(logits_BSC)}, inputs)
  return {name: float(total / weight) for name, (total, weight) in metrics.items()}


@pytest.fixture
def logits_BSC():
  return np.random.default_rng(0).normal(size=(4, 2, LABELS)).astype(np.float32)


@pytest.mark.parametrize(
  'weights, smoothing', (((), 0.0), ((0.5, 2.0, 1.0), 0.0), ((), 0.2), ((0.5, 2.0, 1.0), 0.3))
)
def test_cross_entropy_is_that_of_its_definition(logits_BSC, weights, smoothing):
  label_BS = np.array([[0, 1], [2, -1], [1, 1], [-1, 0]], np.int32)
  w = np.array(weights or (1, 1, 1))
  log_BSC = special.log_softmax(logits_BSC.astype(np.float64), axis=-1)
  total = weight = right = 0
  for b, s in np.argwhere(label_BS >= 0):
    y = label_BS[b, s]
    target_C = (1 - smoothing) * np.eye(LABELS)[y] + smoothing / LABELS
    total -= (target_C * w * log_BSC[b, s]).sum()
    weight += w[y]
    right += logits_BSC[b, s].argmax() == y
  found = scored(made(weights=weights, smoothing=smoothing), logits_BSC, labelled(label_BS))
  np.testing.assert_allclose(found['loss'], total / weight, rtol=1e-6)
  np.testing.assert_allclose(found['accuracy'], right / 6)


def test_several_labels_have_the_mean_of_their_binary_losses(logits_BSC):
  has_BSC = np.random.default_rng(1).integers(0, 2, (4, 2, LABELS)).astype(np.int8)
  has_BSC[2, 1] = -1
  p = special.expit(logits_BSC.astype(np.float64))
  loss_BSC = -np.where(has_BSC == 1, np.log(p), np.log(1 - p))
  used = has_BSC >= 0
  batch = labelled(has_BSC, classification.LABELS)
  found = scored(made(is_multilabel=True), logits_BSC, batch)
  np.testing.assert_allclose(found['loss'], loss_BSC[used].mean(), rtol=1e-6)


def alone(tokens):
  return batches.Batch(
    np.pad(tokens, (0, 16 - len(tokens)), constant_values=toys.PAD)[None],
    np.zeros((1, 1), np.int32),
    np.zeros((1, 2), np.uint32),
    np.zeros(1, np.uint32),
    {},
  )


@pytest.mark.parametrize('family', ('bert', 'roberta', 'modernbert'))
@pytest.mark.parametrize('pooled', ('cls', 'mean'))
def test_an_example_has_the_same_scores_packed_and_alone(family, pooled):
  objective = made(pooled, family=family)
  params = toys.start(objective)
  batch = toys.batch(rows=2)
  jitted = jax.jit(lambda batch: objective.outputs(params, prepared(objective, batch)))
  outputs = lambda batch: np.asarray(jitted(batch)['logits_BSC'])
  logits_BSC = outputs(batch)
  for b, s in np.ndindex(2, 2):
    begin = batch.starts_BS[b, s]
    end = batch.starts_BS[b, 1] if s == 0 else (batch.tokens_BL[b] != toys.PAD).sum()
    one_C = outputs(alone(batch.tokens_BL[b, begin:end]))[0, 0]
    np.testing.assert_allclose(logits_BSC[b, s], one_C, atol=2e-6)


def test_the_second_text_of_a_pair_has_another_type():
  batch = toys.pair_batch(rows=2)
  types_BL = np.asarray(prepared(made(has_pairs=True), batch).types_BL)
  for b, begin in np.ndenumerate(batch.starts_BS):
    if begin >= 0:
      row = batch.tokens_BL[b[0], begin:].tolist()
      first = row.index(toys.SEP)
      assert not types_BL[b[0], begin : begin + first + 1].any()
      assert types_BL[b[0], begin + first + 1]
  assert prepared(made(), batch).types_BL is None


def test_what_is_frozen_has_no_gradient():
  objective = dataclasses.replace(made(), freeze=('(?!task/).*',))
  params = toys.start(objective)
  batch = labelled(np.zeros((4, 2), np.int32))
  loss = lambda params: objective.loss(params, prepared(objective, batch))[0][finetuning.HEAD]
  gradient = jax.jit(jax.grad(loss))(params)
  assert all(
    (np.asarray(x) == 0).all() for x in jax.tree.leaves(objective.encoder_params(gradient))
  )
  assert any((np.asarray(x) != 0).any() for x in jax.tree.leaves(gradient[finetuning.HEAD]))


def test_the_heads_of_all_families_differ_as_their_classes_do():
  act = {name: models.families.load(name).SEQUENCE_HEAD for name in models.families.names()}
  assert act['bert']['activation'] == act['roberta']['activation'] == 'tanh'
  assert act['distilbert']['activation'] == 'relu' and act['modernbert']['has_norm']
