"""Runs that were fine-tuned for classification, and classes for sequence classification."""

import json

import numpy as np
import pytest
import tokenizers

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from mlm_jax.tasks import finetuning
from mlm_jax.training import checkpoint
from tests import toys
from tests.huggingface import builders
from tests.training import toy

QUIET = dict(log=lambda line: None)
LABELS = ('bad', 'so so', 'good')
# The case of published.json whose names a family's classifier has.
CASES = {
  'bert': 'bert_classifier',
  'roberta': 'roberta_classifier',
  'distilbert': 'distilbert_classifier',
  'electra': 'electra_classifier',
  'deberta': 'deberta_classifier',
  'deberta_v3': 'deberta_v2_classifier',
  'modernbert': 'modernbert_classifier',
}
FAMILIES = [
  each if each in ('bert', 'roberta', 'modernbert') else pytest.param(each, marks=pytest.mark.slow)
  for each in CASES
]


def read(folder, name='config.json'):
  return json.loads((folder / name).read_text())


def exported(tmp_path, family='bert', task=None, **settings):
  """Returns the folder of a run and that of what it was exported to."""
  builders.write_classifier(
    tmp_path / 'run', LABELS, task=task, **toys.FAMILIES[family], **settings
  )
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  return tmp_path / 'run', tmp_path / 'to'


@pytest.mark.parametrize('family', FAMILIES)
def test_out_and_in_again_the_run_predicts_the_same(family, tmp_path):
  run, to = exported(tmp_path, family)
  published = builders.PUBLISHED[CASES[family]]
  layer = lambda names: {name for name in names if '.layer.' not in name and '.layers.' not in name}
  assert layer(builders.read_tensors(to)) == layer(published['shapes'])
  said = read(to)
  assert said['architectures'] == published['config']['architectures']
  assert said['id2label'] == {'0': 'bad', '1': 'so so', '2': 'good'}
  assert said['label2id'] == {'bad': 0, 'so so': 1, 'good': 2}
  assert said['problem_type'] == 'single_label_classification'
  importing.run(to, tmp_path / 'again', **QUIET)
  ours, again = mlm_jax.open_run(run), mlm_jax.open_run(tmp_path / 'again')
  assert again.facts == ours.facts
  texts = builders.texts(np.random.default_rng(0))
  for one, other in zip(ours.predict(texts), again.predict(texts), strict=True):
    assert one['prediction'] == other['prediction']
    assert one['probabilities'] == pytest.approx(other['probabilities'], abs=2e-6)
  exporting.run(tmp_path / 'again', tmp_path / 'back', **QUIET)
  builders.assert_same(builders.read_tensors(tmp_path / 'back'), builders.read_tensors(to))
  assert (tmp_path / 'back' / 'config.json').read_bytes() == (to / 'config.json').read_bytes()


def test_several_labels_and_the_mean_of_a_modernbert(tmp_path):
  task = {'multilabel': True, 'pooling': 'mean'}
  _, to = exported(tmp_path, 'modernbert', task, model__dropout=0.25)
  said = read(to)
  assert said['problem_type'] == 'multi_label_classification'
  assert said['classifier_pooling'] == 'mean' and said['classifier_dropout'] == 0.25
  importing.run(to, tmp_path / 'again', **QUIET)
  again = mlm_jax.open_run(tmp_path / 'again')
  assert again.config.task.pooling == 'mean' and again.facts['multilabel']
  assert isinstance(again.predict(['a b'])[0]['prediction'], list)


def test_a_pooling_that_the_class_has_not_is_refused_and_leaves_nothing(tmp_path):
  with pytest.raises(config_lib.UserError, match='BertForSequenceClassification reads .CLS. alone'):
    exported(tmp_path, task={'pooling': 'mean'})
  assert not (tmp_path / 'to').exists()
  exporting.run(tmp_path / 'run', tmp_path / 'encoder', part='encoder', **QUIET)


@pytest.mark.parametrize('family, seps', (('bert', 1), ('roberta', 2)))
def test_pairs_are_put_together_as_the_run_does(family, seps, tmp_path):
  run, to = exported(tmp_path, family, {'second_text': 'second'})
  ours, theirs = mlm_jax.open_run(run), tokenizers.Tokenizer.from_file(str(to / 'tokenizer.json'))
  found = theirs.encode('a b', 'c')
  a, b, c = (ours.tokenizer.encode(each)[0] for each in 'abc')
  cls, sep = ours.tokenizer.cls_id, ours.tokenizer.sep_id
  assert found.ids == [cls, a, b, *[sep] * seps, c, sep]
  if family == 'bert':
    assert found.type_ids == [0, 0, 0, 0, 1, 1]
  assert theirs.encode('a b').ids == [cls, a, b, sep]
  assert read(to, 'tokenizer_config.json')['model_max_length'] == 32


def test_the_encoder_of_a_bert_keeps_the_pooler_that_was_trained(tmp_path):
  run, to = exported(tmp_path)
  exporting.run(run, tmp_path / 'encoder', part='encoder', **QUIET)
  name = 'bert.pooler.dense.weight'
  encoder, whole = (builders.read_tensors(each) for each in (tmp_path / 'encoder', to))
  np.testing.assert_array_equal(encoder[name], whole[name])
  assert not any('classifier' in each for each in encoder)
  assert read(tmp_path / 'encoder')['architectures'] == ['BertModel']


def test_the_card_has_the_scores_of_the_step(tmp_path):
  builders.write_classifier(tmp_path / 'run', LABELS, task={'test': '/home/me/test.csv'})
  report = {'step': 3, 'split': 'test', 'examples': 40, 'scores': {'accuracy': 0.875}}
  (tmp_path / 'run' / 'test.json').write_text(json.dumps(report))
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  card = (tmp_path / 'to' / 'README.md').read_text()
  assert '| accuracy | 0.8750 |' in card and 'Of 40 test examples: test.csv.' in card
  assert '/home' not in card and '| task | classification |' in card
  (tmp_path / 'run' / 'test.json').write_text(json.dumps(report | {'step': 2}))
  exporting.run(tmp_path / 'run', tmp_path / 'other', **QUIET)
  assert '0.8750' not in (tmp_path / 'other' / 'README.md').read_text()


def published(folder, case='bert_classifier', without=(), **changes):
  """Writes a folder of PUBLISHED with what is changed in its config.json; returns its path."""
  tensors = builders.write_published(folder, case, **changes)
  builders.write_tensors(
    folder, {name: each for name, each in tensors.items() if name not in without}
  )
  return folder


def test_labels_without_names_are_numbered(tmp_path):
  theirs = published(tmp_path / 'theirs')
  importing.run(theirs, tmp_path / 'run', **QUIET)
  run = mlm_jax.open_run(tmp_path / 'run')
  assert run.facts == {'labels': ['LABEL_0', 'LABEL_1'], 'multilabel': False}
  (found,) = run.predict(['a b'])
  assert set(found['probabilities']) == {'LABEL_0', 'LABEL_1'}


def test_a_classifier_is_of_pairs_where_that_is_said(tmp_path):
  importing.run(published(tmp_path / 'theirs'), tmp_path / 'run', pairs=True, **QUIET)
  run = mlm_jax.open_run(tmp_path / 'run')
  one, other = run.predict([('a b', 'c'), ('c', 'a b')])
  assert one['probabilities'] != other['probabilities']
  with pytest.raises(config_lib.UserError, match='second text'):
    run.predict(['a b'])


@pytest.mark.parametrize(
  'changes',
  ({'problem_type': 'regression'}, {'part': 'encoder'}),
  ids=str,
)
def test_regressions_of_two_scores_are_imported_as_encoders_like_what_is_asked_for(
  changes, tmp_path
):
  part = {'part': changes.pop('part')} if 'part' in changes else {}
  lines = []
  importing.run(published(tmp_path / 'theirs', **changes), tmp_path / 'run', lines.append, **part)
  assert 'task' not in mlm_jax.open_run(tmp_path / 'run').config
  assert any('classifier.weight' in line for line in lines if line.startswith('left out'))


@pytest.mark.parametrize(
  'changes, says',
  (
    ({'id2label': {'0': 'a', '2': 'b'}}, 'id2label'),
    ({'id2label': {'0': 'a', '1': 'a'}}, 'id2label'),
    ({'id2label': ['a', 'b']}, 'id2label'),
    ({'id2label': {'0': 'a', '1': 2}}, 'id2label'),
    ({'id2label': {'0': 'a', '1': 'b', '2': 'c'}}, r'classifier.weight \[2, 32\], not \[3, 32\]'),
    ({'num_labels': -1}, 'num_labels'),
    ({'problem_type': 'ranking'}, 'problem_type'),
    ({'without': ('classifier.bias',)}, r'missing tensors \(1\): classifier.bias'),
    ({'case': 'deberta_classifier', 'pooler_hidden_act': 'relu'}, 'pooler_hidden_act'),
    ({'case': 'modernbert_classifier', 'classifier_pooling': 'max'}, 'classifier_pooling'),
  ),
  ids=str,
)
def test_what_cannot_be_is_refused_and_leaves_nothing(changes, says, tmp_path):
  theirs = published(tmp_path / 'theirs', **changes)
  with pytest.raises(config_lib.UserError, match=says):
    importing.run(theirs, tmp_path / 'run', **QUIET)
  assert not (tmp_path / 'run').exists()


def test_pairs_are_refused_of_what_is_no_classifier(tmp_path):
  builders.write_published(tmp_path / 'theirs', 'bert')
  with pytest.raises(config_lib.UserError, match='--pairs'):
    importing.run(tmp_path / 'theirs', tmp_path / 'run', pairs=True, **QUIET)


def test_an_imported_classifier_is_fine_tuned_further(tmp_path):
  importing.run(published(tmp_path / 'theirs'), tmp_path / 'run', **QUIET)
  lines = [f'{"ab"[n % 2]} c,{n % 2}' for n in range(20)]
  (tmp_path / 'train.csv').write_text('\n'.join(['text,label', *lines]) + '\n')
  config = config_lib.overlay(
    config_lib.finetuning(),
    {
      'init_from': str(tmp_path / 'run'),
      'task.train': str(tmp_path / 'train.csv'),
      'data.row_length': 16,
      'data.max_segments': 3,
      'batch_size': 4,
      'evaluation.batch_size': 8,
      'total_steps': 1,
      'optim.learning_rate': 1e-30,
      'log.trackers': '',
    },
  )
  assert finetuning.run(config, tmp_path / 'more', toy.silent)
  was, now = (checkpoint.read_model(tmp_path / name / 'checkpoints')[1] for name in ('run', 'more'))
  np.testing.assert_array_equal(
    now['layers']['feed_forward']['in']['kernel'], was['layers']['feed_forward']['in']['kernel']
  )
  assert now['task']['out']['kernel'].shape == (32, 2)
  assert mlm_jax.open_run(tmp_path / 'more').facts['labels'] == ['0', '1']
