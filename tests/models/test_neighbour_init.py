"""The neighbours' start: each head looks at its offset, and the model is an ordinary one."""

import jax
import numpy as np

from mlm_jax.models import neighbour_init
from tests import toys


def started(**settings):
  model = toys.model(
    model__init_std=0.09, model__width=128, model__heads=4, model__max_positions=32, **settings
  )
  params = toys.start(model)
  return model, params, neighbour_init.start(params, model.architecture)


def test_each_head_prefers_its_own_offset():
  model, _, params = started()
  random = np.random.default_rng(0)
  normalise = lambda x: (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
  token_LD = random.permutation(np.asarray(params['embeddings']['token']['embedding'])[5:37])
  input_LD = normalise(token_LD + params['embeddings']['position']['embedding'])
  heads = lambda name: (input_LD @ params['layers']['attention'][name]['kernel'][0]).reshape(
    32, 4, 32
  )
  score_HLM = np.einsum('LHK,MHK->HLM', heads('query'), heads('key'))
  for head, offset in enumerate((-1, 1, -2, 2)):
    inside = np.arange(2, 30)
    hits = score_HLM[head, inside].argmax(axis=1) == inside + offset
    assert hits.mean() > 0.8, (head, hits.mean())


def test_only_values_differ_from_an_ordinary_model():
  model, random, params = started()
  shapes = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  assert shapes(params) == shapes(random)
  kernels = lambda tree: tree['layers']['feed_forward']['out']['kernel']
  np.testing.assert_allclose(kernels(params)[0], kernels(random)[0])
  np.testing.assert_allclose(kernels(params)[1], 0.2 * kernels(random)[1], rtol=1e-6)
