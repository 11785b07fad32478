"""The loss of token labelling is that of its definition, and a sentence is alone in its row."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import special

from mlm_jax import models
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.objectives import finetuning
from mlm_jax.objectives import token_labelling
from tests import toys

LABELS = 3


def made(family='bert', dropout=0.0, **settings):
  settings_of_model = {'model__layers': 1, 'model__dropout': dropout} | toys.FAMILIES[family]
  config = toys.config(**settings_of_model).model
  encoder = models.make(config, toys.VOCAB)
  module = models.token_head(config, encoder.architecture, LABELS)
  head = token_labelling.TokenLabellingHead(module, **settings)
  return finetuning.Objective(encoder, head, toys.PAD, toys.SEP)


def labelled(rows=4):
  """A batch in which some tokens have a label."""
  batch, random = toys.batch(rows=rows), np.random.default_rng(0)
  is_word_BL = (batch.tokens_BL > toys.MASK) & (random.random(batch.tokens_BL.shape) < 0.7)
  label_BL = np.where(is_word_BL, random.integers(0, LABELS, is_word_BL.shape), -1)
  columns = {token_labelling.LABEL: label_BL.astype(np.int32)}
  columns[token_labelling.WORD] = np.where(is_word_BL, 0, -1).astype(np.int32)
  return dataclasses.replace(batch, columns=columns)


@pytest.mark.parametrize('weights', ((), (0.5, 2.0, 1.0)))
def test_the_loss_is_the_mean_over_first_tokens(weights):
  batch, objective = labelled(), made(weights=weights)
  logits_BLC = np.random.default_rng(1).normal(size=(4, 16, LABELS)).astype(np.float32)
  inputs = objective.prepare({}, {}, batch, rng.root_key(0), 0.0)
  metrics = objective.scored({'logits_BLC': logits_BLC}, inputs)
  at = batch.columns[token_labelling.LABEL] >= 0
  label_N, log_NC = (
    batch.columns[token_labelling.LABEL][at],
    special.log_softmax(logits_BLC[at], -1),
  )
  w_N = np.array(weights or (1, 1, 1))[label_N]
  expected = -(w_N * log_NC[np.arange(len(label_N)), label_N]).sum() / w_N.sum()
  mean = {name: float(total / weight) for name, (total, weight) in metrics.items()}
  np.testing.assert_allclose(mean['loss'], expected, rtol=1e-5)
  np.testing.assert_allclose(mean['accuracy'], (log_NC.argmax(1) == label_N).mean(), rtol=1e-6)
  np.testing.assert_allclose(float(objective.weights(inputs)[finetuning.HEAD]), w_N.sum())


def test_a_sentence_has_the_same_scores_packed_and_alone():
  objective, batch = made(), labelled(2)
  params = toys.start(objective)
  run = jax.jit(
    lambda batch: objective.outputs(params, objective.prepare({}, {}, batch, None, 0.0))
  )
  together = run(batch)
  for b, s in np.ndindex(2, 2):
    begin = int(batch.starts_BS[b, s])
    end = int(batch.starts_BS[b, 1]) if s == 0 else int((batch.tokens_BL[b] != toys.PAD).sum())
    only = lambda x, fill: np.pad(
      np.asarray(x)[b, begin:end], (0, 16 - end + begin), constant_values=fill
    )[None]
    alone = batches.Batch(
      only(batch.tokens_BL, toys.PAD),
      np.array([[0, -1]], np.int32),
      np.zeros((1, 2), np.uint32),
      np.zeros(1, np.uint32),
      {name: only(column, -1) for name, column in batch.columns.items()},
    )
    np.testing.assert_allclose(
      run(alone)['logits_BLC'][0, : end - begin], together['logits_BLC'][b, begin:end], atol=2e-6
    )


def test_only_the_head_of_modernbert_has_a_layer():
  # As in the classes of transformers: dropout and `classifier`, there with `head` before it.
  parts = {name: set(made(name).head.init(rng.root_key(0))) for name in ('bert', 'modernbert')}
  assert parts == {'bert': {'out'}, 'modernbert': {'layer', 'norm', 'out'}}


def test_dropout_is_before_the_scores():
  objective, batch = made(dropout=0.5), labelled()
  params = toys.start(objective)
  inputs = objective.prepare({}, {}, batch, None, 0.0)
  hidden_BLD = np.ones((*batch.tokens_BL.shape, objective.model.architecture.width), np.float32)
  scores = lambda key: np.asarray(
    objective.head.outputs(params[finetuning.HEAD], hidden_BLD, inputs, key)['logits_BLC']
  )
  assert np.ptp(scores(None), axis=(0, 1)).max() == 0
  assert np.ptp(scores(rng.root_key(0)), axis=(0, 1)).min() > 0
