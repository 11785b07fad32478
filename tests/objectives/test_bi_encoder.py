"""Vectors of texts that lie in packed rows, beside the same texts alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlm_jax import models
from mlm_jax.core import rng
from mlm_jax.objectives import bi_encoder
from mlm_jax.objectives import finetuning
from tests import toys


@pytest.fixture(scope='module')
def encoded():
  """Returns (batch, Inputs, hidden_BLD) of rows of two texts, one of them with none behind."""
  encoder = models.make(toys.config(model__layers=1).model, toys.VOCAB)
  objective = finetuning.Objective(encoder, None, toys.PAD, toys.SEP)
  batch = toys.batch(rows=3)
  columns = {
    'example_BS': np.array([[4, 4], [2, 2], [7, -1]], np.int32),
    finetuning.TEXT: np.array([[0, 1], [0, 1], [0, -1]], np.int8),
  }
  batch = dataclasses.replace(batch, columns=columns)
  batch.starts_BS[2, 1] = -1
  inputs = objective.prepare({}, {}, batch, rng.root_key(0), 0.0)
  params = jax.jit(encoder.init)(rng.root_key(0))
  hidden_BLD = encoder.apply(
    params, inputs.tokens_BL, inputs.segments_BL, inputs.positions_BL
  ).hidden_BLD
  return batch, inputs, np.asarray(hidden_BLD)


@pytest.mark.parametrize('mode', ('mean', 'cls'))
def test_embeddings_are_the_pooled_vectors_of_each_text_with_length_one(encoded, mode):
  batch, inputs, hidden_BLD = encoded
  found = np.asarray(bi_encoder.embeddings(mode, hidden_BLD, inputs))
  for b, s in np.argwhere(batch.starts_BS >= 0):
    own_LD = hidden_BLD[b][np.asarray(inputs.segments_BL)[b] == s + 1]
    expected_D = own_LD[0] if mode == 'cls' else own_LD.mean(0)
    np.testing.assert_allclose(
      found[b, s], expected_D / np.linalg.norm(expected_D), rtol=1e-5, atol=1e-6
    )


def test_the_list_of_a_batch_says_which_text_of_which_example(encoded):
  _, inputs, hidden_BLD = encoded
  found_BSD = bi_encoder.embeddings('mean', hidden_BLD, inputs)
  flat_ND, example_N, text_N = bi_encoder.flat(found_BSD, inputs)
  assert example_N.tolist() == [4, 4, 2, 2, 7, -1]
  assert text_N.tolist() == [0, 1, 0, 1, 0, -1]
  np.testing.assert_array_equal(flat_ND[3], found_BSD[1, 1])


def test_cosines_are_those_of_neighbours(encoded):
  _, inputs, hidden_BLD = encoded
  found_BSD = bi_encoder.embeddings('mean', hidden_BLD, inputs)
  cosine_BS = bi_encoder.cosines(found_BSD)
  expected_B = [np.dot(found_BSD[b, 0], found_BSD[b, 1]) for b in range(3)]
  np.testing.assert_allclose(cosine_BS[:, 0], expected_B, rtol=1e-6, atol=1e-7)


def test_places_without_a_text_leave_the_gradient_finite(encoded):
  _, inputs, hidden_BLD = encoded

  def loss(hidden_BLD):
    cosine_BS = bi_encoder.cosines(bi_encoder.embeddings('mean', hidden_BLD, inputs))
    return jnp.where(inputs.firsts_BS, cosine_BS, 0).sum()

  assert np.isfinite(jax.grad(loss)(jnp.zeros_like(hidden_BLD))).all()
  assert np.isfinite(jax.grad(loss)(hidden_BLD)).all()
