"""Vectors of texts against the hidden states of each text alone, pooled here in numpy."""

import jax
import numpy as np
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.models import pooling
from mlm_jax.models import text_embedding
from tests import shared_runs
from tests import toys

CLOSE = dict(rtol=1e-4, atol=1e-5)
TEXTS = ('ab cd efg', '', 'a', 'no pon mil, fed abc')


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  return shared_runs.from_the_command_line(tmp_path_factory)


@pytest.fixture(scope='module')
def run(workdir):
  return mlm_jax.open_run(workdir)


def states(run, ids):
  """Returns [layers, tokens, D] of [CLS] ids [SEP], read alone and without padding."""
  row = np.array([[run.tokenizer.cls_id, *ids, run.tokenizer.sep_id]])
  encoded = toys.apply(
    run.model, run.params, row, np.ones_like(row), np.arange(row.size)[None], details=True
  )
  return np.array([encoded.embedded_BLD[0], *encoded.layers_NBLD[:, 0]])


def last(run, text):
  return states(run, run.tokenizer.encode(text))[-1]


def weighted(hidden_LD):
  weights_L = np.arange(1, len(hidden_LD) + 1)
  return (hidden_LD * weights_L[:, None]).sum(0) / weights_L.sum()


POOLED = {
  'cls': lambda hidden_LD: hidden_LD[0],
  'max': lambda hidden_LD: hidden_LD.max(0),
  'mean': lambda hidden_LD: hidden_LD.mean(0),
  'mean_sqrt_len_tokens': lambda hidden_LD: hidden_LD.sum(0) / np.sqrt(len(hidden_LD)),
  'weightedmean': weighted,
  'lasttoken': lambda hidden_LD: hidden_LD[-1],
}


def test_embeddings_do_not_depend_on_the_other_texts(run):
  texts = list(TEXTS) * 10
  together = run.embed(texts)
  assert together.shape == (40, 32) and together.dtype == np.float32
  assert together.flags.writeable and run.embed(['a'], tokens=True)[0].flags.writeable
  for i in (0, 1, 39):
    np.testing.assert_allclose(together[i], run.embed([texts[i]])[0], rtol=1e-5, atol=1e-6)
  np.testing.assert_array_equal(run.embed(text for text in texts), together)
  assert run.embed([]).shape == (0, 32) and run.embed([], layers=[0, 1]).shape == (0, 2, 32)


def test_the_mean_is_over_all_tokens_also_cls_and_sep(run):
  for text, vector in zip(TEXTS, run.embed(TEXTS)):
    np.testing.assert_allclose(vector, last(run, text).mean(0), **CLOSE)


def test_each_way_of_pooling(run):
  assert set(POOLED) == set(pooling.MODES)
  several = ('lasttoken', 'max', 'mean')
  found = {mode: run.embed(TEXTS, pooling=mode) for mode in pooling.MODES}
  for i, text in enumerate(TEXTS):
    for mode, pool in POOLED.items():
      np.testing.assert_allclose(found[mode][i], pool(last(run, text)), err_msg=mode, **CLOSE)
  np.testing.assert_allclose(
    run.embed(TEXTS, pooling=several), np.hstack([found[mode] for mode in several]), **CLOSE
  )


def test_layers_and_tokens_on_request(run):
  N = run.model.architecture.layers
  of_tokens = run.embed(TEXTS, layers=range(N + 1), tokens=True)
  pooled = run.embed(TEXTS, layers=[0, -1])
  for i, text in enumerate(TEXTS):
    expected_KLD = states(run, run.tokenizer.encode(text))
    np.testing.assert_allclose(of_tokens[i], expected_KLD, **CLOSE)
    np.testing.assert_allclose(pooled[i], expected_KLD[[0, -1]].mean(1), **CLOSE)
  for only in (-1, np.int64(N)):
    np.testing.assert_array_equal(run.embed(TEXTS, layers=only), run.embed(TEXTS))
  np.testing.assert_array_equal(run.embed(TEXTS, layers=-1, tokens=True)[0], of_tokens[0][-1])
  np.testing.assert_array_equal(run.embed(TEXTS, tokens=True)[3], of_tokens[3][-1])


@pytest.mark.parametrize(
  'settings, says',
  (
    (dict(pooling='median'), "pooling = 'median': must be cls, max, mean"),
    (dict(pooling=('mean', 7)), 'must be cls, max'),
    (dict(pooling=()), 'must be cls, max'),
    (dict(pooling=3), 'must be cls, max'),
    (dict(layers=3), 'must be one or more whole numbers from -3 to 2'),
    (dict(layers=[0, -4]), 'must be one or more whole numbers from -3 to 2'),
    (dict(layers='all'), 'must be one or more whole numbers from -3 to 2'),
    (dict(layers=1.5), 'must be one or more whole numbers from -3 to 2'),
    (dict(layers=[]), 'must be one or more whole numbers'),
    (dict(pooling='cls', tokens=True), 'nothing is pooled then; leave pooling out'),
    (dict(prompt='query'), "prompt = 'query': the model has no prompts"),
    (dict(too_long='cut'), "too_long = 'cut': must be one of truncate, window, error"),
  ),
  ids=str,
)
def test_what_cannot_be_chosen_is_refused(run, settings, says):
  with pytest.raises(config_lib.UserError, match=says):
    run.embed(['a'], **settings)


@pytest.mark.parametrize(
  'texts, says',
  (
    ('one text', 'a list of texts, not one text'),
    (b'one text', 'a list of texts, not one text'),
    (None, 'a list of texts, not NoneType'),
    (7, 'a list of texts, not int'),
    (['a', b'a'], r"texts\[1\] = b'a': must be a str"),
    ([['a']], r"texts\[0\] = \['a'\]: must be a str"),
  ),
)
def test_what_is_not_a_list_of_texts_is_refused(run, texts, says):
  with pytest.raises(config_lib.UserError, match=says):
    run.embed(texts)


def with_way(workdir, **settings):
  run = mlm_jax.open_run(workdir)
  run.embedding = text_embedding.TextEmbedding(**settings)
  return run


def test_a_runs_own_way_is_its_default(workdir, run):
  random = np.random.default_rng(0)
  kernel, bias, scale = (random.normal(size=shape) for shape in ((32, 5), 5, 5))
  modules = (
    pooling.Dense(kernel, bias, 'Tanh'),
    pooling.LayerNorm(scale, bias),
    pooling.Normalize(),
  )
  own = with_way(workdir, modes=('cls',), modules=modules)
  for text, vector in zip(TEXTS, own.embed(TEXTS)):
    x = np.tanh(last(run, text)[0] @ kernel + bias)
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * scale + bias
    np.testing.assert_allclose(vector, x / np.linalg.norm(x), **CLOSE)
  # What is asked for by name is that and no more.
  np.testing.assert_array_equal(own.embed(TEXTS, pooling='mean'), run.embed(TEXTS, pooling='mean'))


def test_a_prompt_goes_before_each_text_and_may_be_left_out_of_the_mean(workdir, run):
  prompts = {'query': 'mil fo: ', 'text': ''}
  own = with_way(workdir, prompts=prompts, default_prompt='query')
  expected = run.embed(['mil fo: ' + text for text in TEXTS])
  np.testing.assert_array_equal(own.embed(TEXTS), expected)
  np.testing.assert_array_equal(own.embed(TEXTS, prompt='query'), expected)
  for none in ('text', ''):
    np.testing.assert_array_equal(own.embed(TEXTS, prompt=none), run.embed(TEXTS))
  with pytest.raises(config_lib.UserError, match='the model has query, text'):
    own.embed(TEXTS, prompt='passage')
  bare = with_way(workdir, prompts=prompts, default_prompt='query', include_prompt=False)
  before = 1 + len(run.tokenizer.encode('mil fo:'))
  for text, vector in zip(TEXTS, bare.embed(TEXTS)):
    hidden_LD = last(run, ('mil fo: ' + text).strip())
    np.testing.assert_allclose(vector, hidden_LD[before:].mean(0), **CLOSE)


def test_what_a_run_keeps_of_its_own_way_is_read_as_it_was_written(tmp_path):
  random = np.random.default_rng(0)
  array = lambda *shape: random.normal(size=shape).astype(np.float32)
  way = text_embedding.TextEmbedding(
    modes=('max', 'cls'),
    modules=(
      pooling.Dense(array(64, 5), None, 'Identity', True, array(64, 5)),
      pooling.LayerNorm(array(5), array(5)),
      pooling.Normalize(),
    ),
    max_tokens=17,
    lowercase=True,
    prompts={'query': 'ß: '},
    default_prompt='query',
    include_prompt=False,
    similarity='dot',
  )
  assert text_embedding.read(tmp_path) is None
  text_embedding.write(tmp_path, way)
  again = text_embedding.read(tmp_path)
  leaves = lambda way: [vars(module) for module in way.modules]
  jax.tree.map(np.testing.assert_array_equal, leaves(again), leaves(way))
  plain = lambda way: {name: value for name, value in vars(way).items() if name != 'modules'}
  assert plain(again) == plain(way)
  for name in ('embedding.json', 'modules.npz'):
    content = (tmp_path / 'embedding' / name).read_bytes()
    (tmp_path / 'embedding' / name).write_bytes(content[:-9])
    with pytest.raises(config_lib.UserError, match='embedding.* is damaged'):
      text_embedding.read(tmp_path)
    (tmp_path / 'embedding' / name).write_bytes(content)
