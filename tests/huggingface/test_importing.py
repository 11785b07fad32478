"""Hugging Face folders become runs, and go back as they came; published.json has the names and
shapes.
"""

import json
import math
import os
import pathlib
import shutil

import ml_dtypes
import numpy as np
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.data import store
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from mlm_jax.tasks import pretraining
from tests import shared_runs
from tests import toys
from tests.huggingface import builders

QUIET = dict(log=lambda line: None)


def assert_back(theirs, run):
  """Exports a run and compares it with the folder that it came from."""
  exporting.run(run, run.with_name('back'), **QUIET)
  builders.assert_same(builders.read_tensors(run.with_name('back')), builders.read_tensors(theirs))
  assert (run.with_name('back') / 'config.json').read_bytes() == (
    theirs / 'config.json'
  ).read_bytes()


def refusal(folder, tmp_path):
  """Returns what is said of a folder; nothing may be left of the run."""
  with pytest.raises(config_lib.UserError) as raised:
    importing.run(folder, tmp_path / 'run', **QUIET)
  assert not list(tmp_path.glob('run*'))
  assert len(str(raised.value).splitlines()) == 1
  return str(raised.value)


# A case of each family; the others are their heads and variants.
FAMILIES = (
  'bert_pairs',
  'roberta',
  'distilbert',
  'electra',
  'deberta',
  'deberta_v2',
  'deberta_v3',
  'modernbert',
)


@pytest.mark.parametrize(
  'case',
  [
    case if case in FAMILIES else pytest.param(case, marks=pytest.mark.slow)
    for case in builders.PUBLISHED
  ],
)
def test_there_and_back_no_byte_of_a_tensor_changes(case, tmp_path):
  builders.write_published(tmp_path / 'theirs', case)
  importing.run(tmp_path / 'theirs', tmp_path / 'run', **QUIET)
  assert_back(tmp_path / 'theirs', tmp_path / 'run')


def test_a_config_without_its_class_goes_back_as_it_came(tmp_path):
  builders.write_published(tmp_path / 'theirs', 'bert', architectures=None)
  importing.run(tmp_path / 'theirs', tmp_path / 'run', **QUIET)
  assert_back(tmp_path / 'theirs', tmp_path / 'run')


def test_each_number_of_theirs_is_where_ours_reads_it(tmp_path):
  theirs = builders.write_published(tmp_path / 'theirs', 'bert')
  importing.run(tmp_path / 'theirs', tmp_path / 'run', **QUIET)
  run = mlm_jax.open_run(tmp_path / 'run')
  np.testing.assert_allclose(
    bert(theirs, [2, 7, 9, 8, 3]),
    toys.apply(
      run.model, run.params, np.array([[2, 7, 9, 8, 3]]), np.ones((1, 5), int), np.arange(5)[None]
    ).hidden_BLD[0],
    atol=2e-6,
  )


def bert(tensors, ids, positions=None, epsilon=1e-12):
  """Returns hidden_LD of a BERT in float64, straight from the paper (arXiv:1810.04805)."""
  x = {name.partition('.')[2]: array.astype(np.float64) for name, array in tensors.items()}
  dense = lambda h, name: h @ x[f'{name}.weight'].T + x[f'{name}.bias']

  def norm(h, name):
    h = h - h.mean(-1, keepdims=True)
    return (
      h / np.sqrt((h**2).mean(-1, keepdims=True) + epsilon) * x[f'{name}.weight']
      + x[f'{name}.bias']
    )

  L = len(ids)
  h = norm(
    x['embeddings.word_embeddings.weight'][ids]
    + x['embeddings.position_embeddings.weight'][range(L) if positions is None else positions]
    + x['embeddings.token_type_embeddings.weight'][:1],
    'embeddings.LayerNorm',
  )
  for n in range(2):
    layer = f'encoder.layer.{n}'
    q, k, v = (
      dense(h, f'{layer}.attention.self.{name}').reshape(L, 4, 8).transpose(1, 0, 2)
      for name in ('query', 'key', 'value')
    )
    weights = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(8))
    mixed = (weights / weights.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(L, 32)
    h = norm(
      h + dense(mixed, f'{layer}.attention.output.dense'), f'{layer}.attention.output.LayerNorm'
    )
    inner = dense(h, f'{layer}.intermediate.dense')
    inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / np.sqrt(2)))
    h = norm(h + dense(inner, f'{layer}.output.dense'), f'{layer}.output.LayerNorm')
  return h


def test_padding_that_only_the_config_names_takes_no_position(tmp_path):
  # The tokenizer pads with 1; for the model 7 is padding, which a text may have.
  theirs = builders.write_published(tmp_path / 'theirs', 'roberta', pad_token_id=7)
  importing.run(tmp_path / 'theirs', tmp_path / 'run', **QUIET)
  run = mlm_jax.open_run(tmp_path / 'run')
  ids = np.array([2, 7, 9, 8, 7, 7, 6, 3])
  # As RoBERTa's published code counts: from behind that id, which is itself at its own row.
  positions = np.where(ids == 7, 7, 7 + np.cumsum(ids != 7))
  np.testing.assert_allclose(
    toys.apply(
      run.model, run.params, ids[None], np.ones((1, 8), int), np.arange(8)[None]
    ).hidden_BLD[0],
    bert(theirs, ids, positions, epsilon=run.config.model.norm_epsilon),
    atol=2e-6,
  )
  assert_back(tmp_path / 'theirs', tmp_path / 'run')
  # What is trained further is written from the run's own numbers, and they name that padding too.
  assert run.config.model.uncounted_id == 7 and run.config.model.max_positions == 42 - 8
  shutil.rmtree(tmp_path / 'run' / 'huggingface')
  exporting.run(tmp_path / 'run', tmp_path / 'more', **QUIET)
  tensors, config = builders.read_tensors(tmp_path / 'more'), read(tmp_path / 'more')
  assert (config['pad_token_id'], config['max_position_embeddings']) == (7, 42)
  name = 'roberta.embeddings.position_embeddings.weight'
  np.testing.assert_array_equal(tensors[name], theirs[name])


def read(folder):
  return json.loads((folder / 'config.json').read_text())


def test_a_head_that_is_no_copy_of_the_tokens_is_a_table_of_its_own(tmp_path):
  tensors = builders.write_published(tmp_path / 'theirs', 'bert')
  table = builders.random_tensors({'cls.predictions.decoder.weight': (50, 32)}, seed=1)
  # The first name of the biases is unused where the second says something else.
  biases = builders.random_tensors({'cls.predictions.decoder.bias': (50,)}, seed=1)
  builders.write_tensors(tmp_path / 'theirs', tensors | table | biases)
  importing.run(tmp_path / 'theirs', tmp_path / 'run', **QUIET)
  run = mlm_jax.open_run(tmp_path / 'run')
  assert not run.config.model.tied_head
  head = run.params['head']
  np.testing.assert_array_equal(head['table'][:50], *table.values())
  np.testing.assert_array_equal(head['bias'][:50], *biases.values())
  assert_back(tmp_path / 'theirs', tmp_path / 'run')
  shutil.rmtree(tmp_path / 'run' / 'huggingface')
  exporting.run(tmp_path / 'run', tmp_path / 'more', **QUIET)
  assert read(tmp_path / 'more')['tie_word_embeddings'] is False
  more = builders.read_tensors(tmp_path / 'more')
  for name, array in (table | biases).items():
    np.testing.assert_array_equal(more[name], array)
  assert np.array_equal(more['cls.predictions.bias'], more['cls.predictions.decoder.bias'])


@pytest.mark.parametrize(
  'case, heads',
  (
    ('bert_encoder', {'classifier.weight': (2, 32), 'classifier.bias': (2,)}),
    pytest.param('bert', {'qa_outputs.weight': (2, 32)}, marks=pytest.mark.slow),
    ('modernbert', {'classifier.weight': (2, 32)}),
  ),
)
def test_heads_of_other_tasks_are_left_out_by_name_and_go_back(case, heads, tmp_path):
  tensors = builders.write_published(tmp_path / 'theirs', case)
  if case == 'bert_encoder':  # as its classes with a head name them
    tensors = {f'bert.{name}': array for name, array in tensors.items()}
  if case == 'modernbert':  # a classifier has parts of the masked head, without the last
    del tensors['decoder.bias']
  builders.write_tensors(tmp_path / 'theirs', tensors | builders.random_tensors(heads))
  lines = []
  importing.run(tmp_path / 'theirs', tmp_path / 'run', lines.append)
  said = next(line for line in lines if line.startswith('left out, since no masked'))
  assert all(name in said for name in heads)
  assert ('head.dense.weight' in said) == (case == 'modernbert')
  has_new = any('a new one is initialised at random' in line for line in lines)
  assert has_new == (case != 'bert')
  assert mlm_jax.open_run(tmp_path / 'run').params['head']['bias'].shape == (128,)
  assert_back(tmp_path / 'theirs', tmp_path / 'run')


@pytest.mark.parametrize(
  'dtype', [pytest.param(np.float16, marks=pytest.mark.slow), ml_dtypes.bfloat16]
)
def test_halves_come_back_as_halves(dtype, tmp_path):
  tensors = builders.write_published(tmp_path / 'theirs', 'bert_pairs')
  builders.write_tensors(
    tmp_path / 'theirs', {name: array.astype(dtype) for name, array in tensors.items()}
  )
  importing.run(tmp_path / 'theirs', tmp_path / 'run', **QUIET)
  assert mlm_jax.open_run(tmp_path / 'run').params['head']['bias'].dtype == np.float32
  assert_back(tmp_path / 'theirs', tmp_path / 'run')


def test_old_names_copies_and_buffers_come_back_as_they_were(tmp_path):
  tensors = builders.write_published(tmp_path / 'theirs', 'bert_pairs')
  old = lambda name: name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace(
    'LayerNorm.bias', 'LayerNorm.beta'
  )
  table = tensors['bert.embeddings.word_embeddings.weight']
  bias = tensors.pop('cls.predictions.bias')
  tensors = {old(name): array for name, array in tensors.items()} | {
    'cls.predictions.decoder.weight': table,
    'cls.predictions.decoder.bias': bias,
    'bert.embeddings.position_ids': np.arange(40)[None],
  }
  builders.write_tensors(tmp_path / 'theirs', tensors)
  importing.run(tmp_path / 'theirs', tmp_path / 'run', **QUIET)
  params = mlm_jax.open_run(tmp_path / 'run').params
  np.testing.assert_array_equal(params['head']['bias'][:50], bias)
  for ours, was in (('scale', 'gamma'), ('bias', 'beta')):
    np.testing.assert_array_equal(
      params['embeddings']['norm'][ours], tensors[f'bert.embeddings.LayerNorm.{was}']
    )
  assert_back(tmp_path / 'theirs', tmp_path / 'run')


def copy(theirs, tmp_path):
  return pathlib.Path(shutil.copytree(theirs, tmp_path / 'theirs'))


def test_shards_are_read_as_one_file_is(theirs, tmp_path):
  folder = copy(theirs, tmp_path)
  tensors = builders.read_tensors(folder)
  (folder / 'model.safetensors').unlink()
  weight_map = {name: f'model-{n % 2}.safetensors' for n, name in enumerate(tensors)}
  for file in set(weight_map.values()):
    builders.write_tensors(
      folder, {name: tensors[name] for name in tensors if weight_map[name] == file}, file
    )
  (folder / 'model.safetensors.index.json').write_text(
    json.dumps({'metadata': {}, 'weight_map': weight_map})
  )
  importing.run(folder, tmp_path / 'run', **QUIET)
  exporting.run(tmp_path / 'run', tmp_path / 'back', **QUIET)
  builders.assert_same(builders.read_tensors(tmp_path / 'back'), tensors)
  shutil.rmtree(tmp_path / 'run')
  (folder / 'model-1.safetensors').unlink()
  assert 'model-1.safetensors is missing, damaged or cut short' in refusal(folder, tmp_path)


@pytest.mark.parametrize('has_reference', [True, False])
def test_a_folder_of_the_hubs_cache_is_its_snapshot(theirs, has_reference, tmp_path):
  cache = tmp_path / 'models--some--bert'
  (cache / 'blobs').mkdir(parents=True)
  (cache / 'snapshots' / 'abc').mkdir(parents=True)
  for n, file in enumerate(
    theirs.iterdir()
  ):  # the cache links to files that are called by their hashes
    shutil.copy(file, cache / 'blobs' / str(n))
    (cache / 'snapshots' / 'abc' / file.name).symlink_to(f'../../blobs/{n}')
  if has_reference:
    (cache / 'snapshots' / 'newer').mkdir()
    os.utime(cache / 'snapshots' / 'abc', (0, 0))
    (cache / 'refs').mkdir()
    (cache / 'refs' / 'main').write_text('abc\n')
  importing.run(cache, tmp_path / 'run', **QUIET)
  assert_back(theirs, tmp_path / 'run')


def test_an_imported_run_fills_embeds_and_is_pretrained_further_wherever_it_is_moved(
  theirs, tmp_path
):
  importing.run(theirs, tmp_path / 'here', **QUIET)
  before = mlm_jax.open_run(tmp_path / 'here').embed(['ab cd', 'a'])
  moved = tmp_path / 'there'
  (tmp_path / 'here').rename(moved)
  assert str(tmp_path) not in (moved / 'config.json').read_text()
  run = mlm_jax.open_run(moved)
  assert run.config.data.tokenizer == str(moved / store.TOKENIZER)
  np.testing.assert_array_equal(run.embed(['ab cd', 'a']), before)
  [predictions] = run.fill('ab [MASK] cd', top_k=3)
  assert len(predictions) == 3 and run.step == 0
  assert len(run.masked(['ab cd'])[0]) == 6
  with pytest.raises(config_lib.UserError, match='was not trained there: start from it in another'):
    mlm_jax.train(None, moved)
  assert not (moved / 'data').exists()
  corpus = toys.write_corpus(tmp_path / 'corpus.txt')
  config = builders.further(moved, corpus)
  with shared_runs.without_scores():
    assert pretraining.run(config, tmp_path / 'more', lambda line: None)
  more = mlm_jax.open_run(tmp_path / 'more')
  change = np.abs(
    more.params['embeddings']['token']['embedding'] - run.params['embeddings']['token']['embedding']
  )
  assert more.step == 2 and 0 < change.max() < 0.1  # it started from there
  exporting.run(tmp_path / 'more', tmp_path / 'to', **QUIET)
  assert sorted(builders.read_tensors(tmp_path / 'to')) == sorted(builders.read_tensors(theirs))


def test_a_folder_without_a_head_says_so_and_goes_back_without_one(tmp_path):
  theirs = builders.write_published(tmp_path / 'theirs', 'bert_encoder')
  lines = []
  importing.run(tmp_path / 'theirs', tmp_path / 'run', lines.append)
  assert any('no masked-language-model head' in line for line in lines)
  run = mlm_jax.open_run(tmp_path / 'run')
  assert run.embed(['ab']).shape == (1, 32)
  np.testing.assert_array_equal(
    run.params['embeddings']['position']['embedding'],
    theirs['embeddings.position_embeddings.weight'],
  )


def test_the_size_of_a_model_is_named_where_it_is_a_published_one():
  size = lambda **ours: (
    importing._config('bert', ours | {'vocab_size': 9, 'max_positions': 40}).model.size
  )
  assert size(layers=12, width=768, heads=12, feed_forward=3072) == 'base'
  assert size(layers=2, width=128, heads=2, feed_forward=512) == 'tiny'


def test_a_name_on_the_hub_is_downloaded_without_pickles(theirs, tmp_path, monkeypatch):
  def download(name, allow_patterns):
    assert name == 'some/bert' and not any(
      pattern.endswith(('bin', '*', 'pt')) for pattern in allow_patterns
    )
    return str(theirs)

  monkeypatch.setattr('huggingface_hub.snapshot_download', download)
  importing.run('some/bert', tmp_path / 'run', **QUIET)
  assert_back(theirs, tmp_path / 'run')
