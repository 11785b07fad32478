"""Encoders: packing is invisible, variants compute the same numbers, names are pinned."""

import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.core import trees
from tests import toys

FAMILIES = tuple(toys.FAMILIES)
# Between them they have every kind of block; the decoder of the second is enhanced.
_QUICK = ('bert', 'deberta_v2_enhanced', 'modernbert')
slow = lambda *case: pytest.param(*case, marks=pytest.mark.slow)
every_family = pytest.mark.parametrize(
  'family', [each if each in _QUICK else slow(each) for each in FAMILIES]
)
GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'parameters.json'


@functools.partial(
  jax.jit, static_argnums=0
)  # one program compiles faster than each of its operations
def encode_whole(model, params, batch, dropout_key=None):
  segments_BL = batches.segments(batch.tokens_BL, batch.starts_BS, toys.PAD)
  positions_BL = batches.positions(batch.starts_BS, batch.tokens_BL.shape[1])
  return model.apply(params, batch.tokens_BL, segments_BL, positions_BL, dropout_key=dropout_key)


def encode(model, params, batch, dropout_key=None):
  return encode_whole(model, params, batch, dropout_key).hidden_BLD


@pytest.mark.parametrize('family', FAMILIES)
def test_parameter_names_and_shapes_are_pinned(family):
  model = toys.model(**toys.FAMILIES[family])
  found = {
    path: list(leaf.shape)
    for path, leaf in trees.paths(jax.eval_shape(model.init, rng.root_key(0))).items()
  }
  assert found == json.loads(GOLDEN.read_text())[family], (
    f'parameters of {family} changed: old checkpoints will not load; if that is meant, write '
    f'the new names into {GOLDEN.name} and say so in the release notes'
  )


@every_family
def test_no_gradient_leaks_across_documents(family):
  model = toys.model(**toys.FAMILIES[family])
  params = toys.start(model)
  # Tokens 10..19 are in the first document only, 20..29 in the second.
  tokens_BL = np.array([[2, *range(10, 16), 3, 2, *range(20, 25), 3, 0]], np.uint16)
  batch = batches.Batch(
    tokens_BL, np.array([[0, 8]], np.int32), np.zeros((1, 2), np.uint32), np.zeros(1, np.uint32)
  )

  def first_document(params):
    encoded = encode_whole(model, params, batch)
    return (encoded.hidden_BLD[0, :8] ** 3).sum() + (encoded.decoded_BLD[0, :8] ** 3).sum()

  gradient_VD = jax.jit(jax.grad(first_document))(params)['embeddings']['token']['embedding']
  assert np.all(np.abs(gradient_VD[10:16]).max(1) > 0)
  np.testing.assert_array_equal(gradient_VD[20:30], 0)


@every_family
def test_a_document_does_not_know_where_it_is_packed(family):
  model = toys.model(**toys.FAMILIES[family])
  params = toys.start(model)
  batch = toys.batch(documents=3, length=24)
  packed_BLD = np.asarray(encode(model, params, batch))
  for b in range(4):
    ends = [*batch.starts_BS[b, 1:], (batch.tokens_BL[b] != toys.PAD).sum()]
    for first, end in zip(batch.starts_BS[b], ends):
      tokens_1L, starts_1S = (
        np.full((1, 24), toys.PAD, np.uint16),
        np.array([[0, -1, -1]], np.int32),
      )
      tokens_1L[0, : end - first] = batch.tokens_BL[b, first:end]
      alone = batches.Batch(tokens_1L, starts_1S, batch.example_B2[:1], batch.visit_B[:1])
      np.testing.assert_allclose(
        packed_BLD[b, first:end], encode(model, params, alone)[0, : end - first], rtol=0, atol=2e-6
      )


ONE_BY_ONE = ({'scan_layers': True}, {'remat': True}, {'scan_layers': True, 'remat': True})


@pytest.mark.parametrize(
  'family, ways',
  (
    ('bert', ONE_BY_ONE[2:]),
    *(slow(each, ONE_BY_ONE) for each in ('bert', 'modernbert', 'deberta_v2_enhanced')),
  ),
)
def test_scanned_unrolled_and_rematerialised_layers_agree(family, ways):
  batch = toys.batch()
  key = rng.root_key(5)
  results = []
  for settings in ({'scan_layers': False}, *ways):
    model = toys.model(
      **toys.FAMILIES[family],
      model__dropout=0.1,
      model__attention_dropout=0.1,
      **{f'model__{k}': v for k, v in settings.items()},
    )
    params = toys.start(model)
    loss = lambda params: (encode_whole(model, params, batch, key).decoded_BLD ** 3).sum()
    results.append(jax.jit(jax.value_and_grad(loss))(params))
  for other in results[1:]:
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), results[0], other
    )


def test_dead_columns_take_no_probability_and_no_gradient():
  model = toys.model()
  params = toys.start(model)
  hidden_PD = jax.random.normal(rng.root_key(1), (3, 32))
  logits_PV = toys.head(model, params, hidden_PD)
  assert logits_PV.shape == (3, 128)
  assert np.all(np.isneginf(logits_PV[:, toys.VOCAB :])) and np.all(
    np.isfinite(logits_PV[:, : toys.VOCAB])
  )
  score = lambda p: jax.nn.log_softmax(model.head(p, hidden_PD))[:, 7].sum()
  gradient = jax.jit(jax.grad(score))(params)
  for leaf in jax.tree.leaves(gradient):
    assert np.all(np.isfinite(leaf))
  np.testing.assert_array_equal(gradient['embeddings']['token']['embedding'][toys.VOCAB :], 0)


def test_the_head_is_tied_to_the_input_embedding():
  model = toys.model()
  params = toys.start(model)
  hidden_PD = jax.random.normal(rng.root_key(1), (3, 32))
  changed = jax.tree.map(lambda x: x, params)
  changed['embeddings']['token']['embedding'] = (
    params['embeddings']['token']['embedding'].at[9].mul(3)
  )
  difference_PV = toys.head(model, changed, hidden_PD) - toys.head(model, params, hidden_PD)
  assert np.all(difference_PV[:, 9] != 0)
  np.testing.assert_array_equal(difference_PV[:, :9], 0)


def test_bfloat16_computes_in_bfloat16_and_keeps_float32_parameters_and_logits():
  model = toys.model(model__dtype='bfloat16')
  params = toys.start(model)
  assert {leaf.dtype.name for leaf in jax.tree.leaves(params)} == {'float32'}
  hidden_BLD = encode(model, params, toys.batch())
  assert hidden_BLD.dtype == jnp.bfloat16
  assert toys.head(model, params, hidden_BLD[0]).dtype == jnp.float32
  exact_BLD = encode(toys.model(), params, toys.batch())
  np.testing.assert_allclose(hidden_BLD.astype(np.float32), exact_BLD, atol=0.1)
  assert np.abs(hidden_BLD - exact_BLD).max() > 0


def test_roberta_positions_begin_at_its_third_row():
  model = toys.model(model__family='roberta')
  params = toys.start(model)
  gradient = jax.jit(jax.grad(lambda p: (encode(model, p, toys.batch()) ** 3).sum()))(params)
  used_P = np.abs(gradient['embeddings']['position']['embedding']).max(1) > 0
  assert not used_P[:2].any() and used_P[2]


def test_dropout_drops_26_in_256_and_keeps_the_mean():
  model = toys.model(model__dropout=0.1)
  from mlm_jax.models import layers

  ones = jnp.ones((64, 1000))
  dropout = lambda key: layers.Dropout(0.1).apply({}, ones, False, rngs={'dropout': key})
  dropped = np.asarray(jax.jit(dropout)(rng.root_key(3)))
  zeros = (dropped == 0).sum()
  # 64,000 draws: 6 standard deviations of a binomial with p = 26/256.
  expected = 64_000 * 26 / 256
  assert abs(zeros - expected) < 6 * np.sqrt(expected * (1 - 26 / 256))
  np.testing.assert_allclose(dropped[dropped != 0], 256 / 230, rtol=1e-6)
  params = toys.start(model)
  a, b, c = (
    encode(model, params, toys.batch(), key)
    for key in (rng.root_key(1), rng.root_key(1), rng.root_key(2))
  )
  np.testing.assert_array_equal(a, b)
  assert np.any(a != c)


@pytest.mark.parametrize(
  'scan_layers, family',
  (
    (False, 'bert'),
    (True, 'deberta_v2'),
    (False, 'modernbert'),
    slow(True, 'bert'),
    slow(False, 'deberta_v2'),
    slow(True, 'modernbert'),
  ),
)
def test_details_are_those_of_the_computation(scan_layers, family):
  model = toys.model(**toys.FAMILIES[family], model__scan_layers=scan_layers)
  params, batch = toys.start(model), toys.batch()
  segments_BL = batches.segments(batch.tokens_BL, batch.starts_BS, toys.PAD)
  positions_BL = batches.positions(batch.starts_BS, batch.tokens_BL.shape[1])
  seen = jax.device_get(
    toys.apply(model, params, batch.tokens_BL, segments_BL, positions_BL, details=True)
  )
  assert np.array_equal(seen.hidden_BLD, encode(model, params, batch))
  if family != 'modernbert':  # which has a norm after the last layer
    assert np.array_equal(seen.layers_NBLD[-1], seen.hidden_BLD)
  assert not np.allclose(seen.layers_NBLD[0], seen.hidden_BLD)
  assert seen.attention_NBHLL.shape == (model.architecture.layers, 8, 2, 16, 16)
  same_BLL = np.asarray(segments_BL)[:, :, None] == np.asarray(segments_BL)[:, None]
  assert np.allclose(np.sum(seen.attention_NBHLL, axis=-1), 1, atol=1e-5)
  assert np.all(np.where(same_BLL[None, :, None], 0, seen.attention_NBHLL) == 0)
