"""Regressions and their classes in `transformers`; a bi-encoder for sentence-transformers."""

import json

import numpy as np
import pytest

import mlm_jax
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from mlm_jax.models import text_embedding
from tests import toys
from tests.huggingface import builders

QUIET = dict(log=lambda line: None)
FACTS = {'shift': 2.5, 'scale': 1.5}
PAIRS = {'name': 'similarity', 'second_text': 'second'}
BI = PAIRS | {'similarity.encoder': 'bi', 'pooling': 'mean'}


def read(folder, name='config.json'):
  return json.loads((folder / name).read_text())


def texts(number=6):
  return builders.texts(np.random.default_rng(0), number)


def predicted(folder, given):
  return [each['prediction'] for each in mlm_jax.open_run(folder).predict(given)]


@pytest.mark.parametrize('family', ('bert', 'modernbert'))
@pytest.mark.parametrize('has_pairs', (False, True), ids=('texts', 'pairs'))
def test_out_and_in_again_a_regression_predicts_the_same(family, has_pairs, tmp_path):
  task = PAIRS if has_pairs else {'name': 'similarity'}
  settings = toys.FAMILIES[family] | {'model__init_std': 0.3}
  builders.write_tuned(tmp_path / 'run', FACTS, task=task, **settings)
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  said, tensors = read(tmp_path / 'to'), builders.read_tensors(tmp_path / 'to')
  assert said['architectures'][0].endswith('ForSequenceClassification')
  assert said['problem_type'] == 'regression' and said['id2label'] == {'0': 'LABEL_0'}
  importing.run(tmp_path / 'to', tmp_path / 'again', **QUIET)
  given = list(zip(texts(), reversed(texts()))) if has_pairs else texts()
  ours = predicted(tmp_path / 'run', given)
  assert np.std(ours) > 1e-3
  assert predicted(tmp_path / 'again', given) == pytest.approx(ours, abs=3e-6)
  exporting.run(tmp_path / 'again', tmp_path / 'back', **QUIET)
  builders.assert_same(builders.read_tensors(tmp_path / 'back'), tensors)


def test_a_bi_encoder_is_exported_with_its_way_and_no_head(tmp_path):
  builders.write_tuned(tmp_path / 'run', FACTS, task=BI)
  run_folder, way = tmp_path / 'run', mlm_jax.open_run(tmp_path / 'run').embedding
  assert (way.modes, way.max_tokens, way.similarity) == (('mean',), 16, 'cosine')
  exporting.run(run_folder, tmp_path / 'to', **QUIET)
  kinds = [each['type'].rpartition('.')[2] for each in read(tmp_path / 'to', 'modules.json')]
  assert kinds == ['Transformer', 'Pooling', 'Normalize']
  assert read(tmp_path / 'to')['architectures'] == ['BertModel']
  assert read(tmp_path / 'to', 'sentence_bert_config.json')['max_seq_length'] == 16
  importing.run(tmp_path / 'to', tmp_path / 'again', **QUIET)
  assert text_embedding.read(tmp_path / 'again') == way
  vectors = [mlm_jax.open_run(tmp_path / each).embed(texts()) for each in ('run', 'again')]
  np.testing.assert_allclose(*vectors, rtol=0, atol=1e-6)


def test_one_score_of_others_is_a_regression(tmp_path):
  changes = {'id2label': {'0': 'LABEL_0'}}
  tensors = builders.write_published(tmp_path / 'theirs', 'bert_classifier', **changes)
  one = {name: x[:1] if name.startswith('classifier') else x for name, x in tensors.items()}
  builders.write_tensors(tmp_path / 'theirs', one)
  importing.run(tmp_path / 'theirs', tmp_path / 'run', pairs=True, **QUIET)
  run = mlm_jax.open_run(tmp_path / 'run')
  assert run.facts == {'shift': 0.0, 'scale': 1.0} and run.config.task.name == 'similarity'
  (found,) = run.predict([('a b', 'c')])
  assert isinstance(found['prediction'], float)
