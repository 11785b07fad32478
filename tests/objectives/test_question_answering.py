"""The loss of question answering beside its definition, in each window of a row for itself."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from mlm_jax import models
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.data.examples import windows
from mlm_jax.models import heads
from mlm_jax.objectives import finetuning
from mlm_jax.objectives import question_answering
from tests import toys


def made(family='bert') -> Any:
  config = toys.config(**{'model__layers': 1} | toys.FAMILIES[family]).model
  encoder = models.make(config, toys.VOCAB)
  head = question_answering.AnswerHead(
    models.span_head(config, encoder.architecture), encoder.architecture.width
  )
  return finetuning.Objective(encoder, head, toys.PAD, toys.SEP, has_pairs=True)


def with_answers(batch, first_BS, last_BS):
  places_BL = np.zeros(batch.tokens_BL.shape, np.int32)
  columns = {windows.FIRST: first_BS, windows.LAST: last_BS}
  places = {windows.BEGIN: places_BL, windows.END: places_BL}
  return dataclasses.replace(batch, columns=columns | places)


def prepared(objective, batch):
  return objective.prepare({}, {}, batch, rng.root_key(0), 0.0)


def ends(batch):
  """Returns (row, number, begin, end) of each segment."""
  for b, starts_S in enumerate(batch.starts_BS):
    used = [int(each) for each in starts_S if each >= 0]
    last = int((batch.tokens_BL[b] != toys.PAD).sum())
    for s, (begin, end) in enumerate(zip(used, [*used[1:], last])):
      yield b, s, begin, end


def drawn(batch, seed=0):
  random = np.random.default_rng(seed)
  first_BS, last_BS = np.full((2, *batch.starts_BS.shape), -1, np.int32)
  for b, s, begin, end in ends(batch):
    first_BS[b, s] = random.integers(0, end - begin)
    last_BS[b, s] = random.integers(first_BS[b, s], end - begin)
  return first_BS, last_BS


def test_the_loss_is_the_mean_of_two_cross_entropies_in_each_window():
  batch = toys.pair_batch(rows=4)
  first_BS, last_BS = drawn(batch)
  first_BS[1, 0] = last_BS[1, 0] = -1  # not known
  first_BS[2, 1] = last_BS[2, 1] = 0  # not there
  batch = with_answers(batch, first_BS, last_BS)
  objective = made()
  params = toys.start(objective)
  inputs = prepared(objective, batch)
  outputs = jax.jit(lambda params: objective.outputs(params, inputs))(params)
  total = right = number = 0
  for b, s, begin, end in ends(batch):
    if first_BS[b, s] < 0:
      continue
    scores = [np.asarray(outputs[name])[b, begin:end] for name in ('start_BL', 'finish_BL')]
    places = first_BS[b, s], last_BS[b, s]
    total -= sum(special.log_softmax(x.astype(float))[y] for x, y in zip(scores, places)) / 2
    right += all(x.argmax() == y for x, y in zip(scores, places))
    number += 1
  metrics = objective.scored(outputs, inputs)
  assert number == 7 and metrics['loss'][1] == objective.weights(inputs)[finetuning.HEAD] == 7
  np.testing.assert_allclose(metrics['loss'][0], total, rtol=1e-6)
  assert metrics['accuracy'][0] == right


def test_accuracy_wants_both_ends():
  batch = toys.pair_batch(rows=1)
  first_BS, last_BS = drawn(batch)
  batch = with_answers(batch, first_BS, last_BS)
  scores = np.zeros((2, *batch.tokens_BL.shape), np.float32)
  for b, s, begin, _ in ends(batch):
    scores[0, b, begin + first_BS[b, s]] = 5
    # Of the second one the end is wrong.
    scores[1, b, begin + (last_BS[b, s] if s == 0 else last_BS[b, s] - 1)] = 5
  outputs = {'start_BL': jnp.asarray(scores[0]), 'finish_BL': jnp.asarray(scores[1])}
  objective = made()
  assert objective.scored(outputs, prepared(objective, batch))['accuracy'] == (1, 2)


def alone(tokens):
  batch = batches.Batch(
    np.pad(tokens, (0, 24 - len(tokens)), constant_values=toys.PAD)[None],
    np.zeros((1, 1), np.int32),
    np.zeros((1, 2), np.uint32),
    np.zeros(1, np.uint32),
    {},
  )
  return with_answers(batch, np.zeros((1, 1), np.int32), np.zeros((1, 1), np.int32))


@pytest.mark.parametrize('family', ('bert', 'modernbert'))
def test_a_window_has_the_same_scores_packed_and_alone(family):
  objective = made(family)
  params = toys.start(objective)
  batch = toys.pair_batch(rows=2)
  batch = with_answers(batch, *drawn(batch))
  outputs = jax.jit(lambda batch: objective.outputs(params, prepared(objective, batch)))
  found = outputs(batch)
  for b, _, begin, end in ends(batch):
    one = outputs(alone(batch.tokens_BL[b, begin:end]))
    for name in (question_answering.START, question_answering.FINISH):
      np.testing.assert_allclose(
        np.asarray(found[name])[b, begin:end], np.asarray(one[name])[0, : end - begin], atol=2e-6
      )
      assert (np.asarray(one[name])[0, end - begin :] < -1e29).all()


def test_gradients_are_finite_where_rows_are_empty():
  batch = toys.pair_batch(rows=2)
  first_BS, last_BS = drawn(batch)
  batch.tokens_BL[1], batch.starts_BS[1] = toys.PAD, -1
  first_BS[1] = last_BS[1] = -1
  batch = with_answers(batch, first_BS, last_BS)
  objective = made()
  inputs = prepared(objective, batch)
  loss = lambda params: objective.loss(params, inputs)[0][finetuning.HEAD]
  gradient = jax.jit(jax.grad(loss))(toys.start(objective))
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))
  assert np.abs(gradient[finetuning.HEAD]['out']['kernel']).max() > 0


def test_modernbert_has_a_layer_before_the_scores_and_others_have_none():
  module = lambda family: made(family).head.module
  assert isinstance(module('bert'), heads.SpanHead)
  assert isinstance(module('modernbert'), heads.SequenceHead)
