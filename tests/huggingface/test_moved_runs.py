"""Runs are whole in their folders: moved anywhere, they open, go on, and others start from them."""

import json
import shutil

import numpy as np
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.data import store
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from mlm_jax.huggingface import sentence_transformers
from mlm_jax.tasks import pretraining
from tests import shared_runs
from tests import toys
from tests.huggingface import builders
from tests.huggingface.test_importing import QUIET
from tests.huggingface.test_sentence_transformers import sentence_folder

TEXTS = ['ab cd', 'a']


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  return shared_runs.corpus(tmp_path_factory)


def pretrain(config, workdir):
  with shared_runs.without_scores():
    return pretraining.run(config, workdir, lambda line: None)


@pytest.fixture(scope='module')
def begun(corpus, tmp_path_factory):
  """(A run that was moved after the first of two steps, the config that it was started with, what
  it embeds after both); the run that it started from, which embeds by [CLS], is gone.
  """
  folder = tmp_path_factory.mktemp('runs')
  sentence_folder(folder / 'theirs', {'pooling_mode': 'cls'}, ('Normalize', {}, {}))
  importing.run(folder / 'theirs', folder / 'first', **QUIET)
  config = builders.further(folder / 'first', corpus, ('checkpoint.every', '1'))
  assert pretrain(config, folder / 'run')
  vectors = mlm_jax.open_run(folder / 'run').embed(TEXTS)
  shutil.rmtree(folder / 'run' / 'checkpoints' / '2')
  (folder / 'run' / 'finished.json').unlink()
  (folder / 'elsewhere' / 'deeper').mkdir(parents=True)
  there = (folder / 'run').rename(folder / 'elsewhere' / 'deeper' / 'run')
  shutil.rmtree(folder / 'first')
  return there, config, vectors


def test_a_run_that_started_from_one_that_is_gone_goes_on_wherever_it_is_moved(begun, tmp_path):
  there, _, vectors = begun
  assert mlm_jax.open_run(there).step == 1
  run = shutil.copytree(there, tmp_path / 'run')
  assert pretrain(config_lib.load(run / 'config.json'), run)
  again = mlm_jax.open_run(run)
  np.testing.assert_array_equal(again.embed(TEXTS), vectors)
  # It embeds as the one did that it started from, and its export does.
  assert again.embedding.modes == ('cls',) and np.linalg.norm(vectors, axis=1) == pytest.approx(1)
  exporting.run(run, tmp_path / 'to', sentences=True, **QUIET)
  assert sentence_transformers.read(tmp_path / 'to', 40, 32) == again.embedding


@pytest.mark.slow
def test_it_goes_on_by_its_first_config_too_and_others_start_from_it(begun, corpus, tmp_path):
  there, config, vectors = begun
  run = shutil.copytree(there, tmp_path / 'run')
  assert pretrain(config, run)
  np.testing.assert_array_equal(mlm_jax.open_run(run).embed(TEXTS), vectors)
  # Although what it names as its own start is gone.
  assert pretrain(builders.further(run, corpus), tmp_path / 'third')


@pytest.mark.slow
def test_another_tokenizer_at_the_same_place_is_not_taken_for_it(theirs, corpus, tmp_path):
  importing.run(theirs, tmp_path / 'run', **QUIET)
  path = tmp_path / 'mine.json'
  document = json.loads((tmp_path / 'run' / store.TOKENIZER).read_bytes())
  path.write_text(json.dumps(document))
  config = toys.training_config(corpus, data__tokenizer=str(path), total_steps=2)
  assert pretrain(config, tmp_path / 'more')
  path.write_text(json.dumps(document | {'post_processor': None}))
  own = config_lib.load(tmp_path / 'more' / 'config.json')
  assert own.data.tokenizer == str(tmp_path / 'more' / store.TOKENIZER)
  (tmp_path / 'more' / 'finished.json').unlink()
  assert pretrain(own, tmp_path / 'more')
  (tmp_path / 'more' / 'finished.json').unlink()
  with pytest.raises(
    config_lib.UserError, match='prepared with another model than config.data.tok'
  ):
    pretrain(config, tmp_path / 'more')
