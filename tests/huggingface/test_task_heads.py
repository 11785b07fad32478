"""Runs that label words or answer questions, and the classes of `transformers` for that."""

import json

import numpy as np
import pytest

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
TAGS = ['O', 'B-x', 'E-x', 'I-x', 'S-x']  # in an order of their own
READING = {'stride': 8, 'max_question_pieces': 6}
ANSWERS = {'n_best': 5, 'max_answer_pieces': 4}
# {kind: (settings of the group `task`, facts)}
KINDS = {
  'token_labelling': (
    {'name': 'token_labelling', 'token_labelling.scheme': 'bioes'},
    {'labels': TAGS, 'scheme': 'bioes'},
  ),
  'question_answering': (
    {
      'name': 'question_answering',
      'text': 'question',
      'second_text': 'context',
      **{f'question_answering.{name}': value for name, value in (READING | ANSWERS).items()},
    },
    {'has_unanswerable': True, 'threshold': 0.0, **ANSWERS},
  ),
}
CLASSES = {'token_labelling': 'TokenClassification', 'question_answering': 'QuestionAnswering'}
EVERY = pytest.mark.parametrize('kind', KINDS)
MODERN = {'head.dense.weight', 'head.norm.weight', 'classifier.weight', 'classifier.bias'}
HEADS = {
  ('bert', 'token_labelling'): {'classifier.weight', 'classifier.bias'},
  ('bert', 'question_answering'): {'qa_outputs.weight', 'qa_outputs.bias'},
  ('modernbert', 'token_labelling'): MODERN,
  ('modernbert', 'question_answering'): MODERN,
}


def read(folder, name='config.json'):
  return json.loads((folder / name).read_text())


def write_run(folder, kind, family='bert', threshold=0.25, names=builders.NAMES, **settings):
  """Writes a run of a kind, whose threshold its model has decided."""
  task, facts = KINDS[kind]
  builders.write_tuned(folder, facts, names, task=task, **toys.FAMILIES[family], **settings)
  if kind == 'question_answering':
    calibration = {'step': 3, 'facts': {'threshold': threshold}}
    (folder / 'calibration.json').write_text(json.dumps(calibration))


def given(kind, number=6):
  """Returns what a run of a kind predicts of."""
  random = np.random.default_rng(0)
  if kind == 'question_answering':
    # Questions that are not cut, contexts of several windows.
    return list(zip(*(builders.texts(random, number, words) for words in (2, 20))))
  return [each.split() for each in builders.texts(random, 2 * number, 9)]


@EVERY
@pytest.mark.parametrize('family', ('bert', pytest.param('modernbert', marks=pytest.mark.slow)))
def test_out_and_in_again_the_run_predicts_the_same(kind, family, tmp_path):
  write_run(tmp_path / 'run', kind, family)
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  said, tensors = read(tmp_path / 'to'), builders.read_tensors(tmp_path / 'to')
  prefix = 'model.' if family == 'modernbert' else 'bert.'
  assert {each for each in tensors if not each.startswith(prefix)} == HEADS[family, kind]
  assert said['architectures'][0].endswith(f'For{CLASSES[kind]}')
  importing.run(tmp_path / 'to', tmp_path / 'again', **QUIET)
  ours, again = mlm_jax.open_run(tmp_path / 'run'), mlm_jax.open_run(tmp_path / 'again')
  assert again.facts == ours.facts
  for one, other in zip(ours.predict(given(kind)), again.predict(given(kind)), strict=True):
    assert one['prediction'] == other['prediction']
    assert set(one) == set(other)
  exporting.run(tmp_path / 'again', tmp_path / 'back', **QUIET)
  builders.assert_same(builders.read_tensors(tmp_path / 'back'), tensors)
  config = (tmp_path / 'back' / 'config.json').read_bytes()
  assert config == (tmp_path / 'to' / 'config.json').read_bytes()


def test_labels_and_their_scheme_go_with_the_folder(tmp_path):
  write_run(tmp_path / 'run', 'token_labelling')
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  said = read(tmp_path / 'to')
  assert said['id2label'] == {str(i): tag for i, tag in enumerate(TAGS)}
  assert said['label2id'] == {tag: i for i, tag in enumerate(TAGS)}
  importing.run(tmp_path / 'to', tmp_path / 'again', **QUIET)
  task = mlm_jax.open_run(tmp_path / 'again').config.task
  assert (task.name, task.token_labelling.scheme) == ('token_labelling', 'bioes')
  assert '| task | token_labelling |' in (tmp_path / 'to' / 'README.md').read_text()


def test_the_threshold_and_how_contexts_are_read_go_with_the_folder(tmp_path):
  write_run(tmp_path / 'run', 'question_answering', threshold=-1.5)
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  importing.run(tmp_path / 'to', tmp_path / 'again', **QUIET)
  again = mlm_jax.open_run(tmp_path / 'again')
  assert again.facts == {'has_unanswerable': True, 'threshold': -1.5, **ANSWERS}
  reading = again.config.task.question_answering
  assert {name: reading[name] for name in READING} == READING
  assert again.config.data.row_length == 32
  assert '| threshold of no answer | -1.5 |' in (tmp_path / 'to' / 'README.md').read_text()


def published(folder, kind, own=None, rows=2, without=(), **changes):
  """Writes a folder of a BERT of a kind as others do; returns its path."""
  arch = f'BertFor{CLASSES[kind]}'
  more = {'mlm_jax': own} if own is not None else {}
  builders.write_published(folder, 'bert_encoder', architectures=[arch], **more, **changes)
  out = 'classifier' if kind == 'token_labelling' else 'qa_outputs'
  head = builders.random_tensors({f'{out}.weight': (rows, 32), f'{out}.bias': (rows,)})
  encoder = {
    f'bert.{name}': each
    for name, each in builders.read_tensors(folder).items()
    if not name.startswith('pooler')
  }
  tensors = {name: each for name, each in (encoder | head).items() if name not in without}
  builders.write_tensors(folder, tensors)
  return folder


@pytest.mark.parametrize(
  'tags, scheme',
  (
    ('O B-x I-x', 'iob2'),
    ('O B-x I-x E-x S-x', 'bioes'),
    ('O U-x', 'bilou'),
    ('NOUN VERB', 'plain'),
    ('B-x I-x', 'plain'),
  ),
)
def test_the_scheme_of_others_is_read_from_their_labels(tags, scheme, tmp_path):
  tags = tags.split()
  names = {str(i): tag for i, tag in enumerate(tags)}
  folder = published(tmp_path / 'theirs', 'token_labelling', rows=len(tags), id2label=names)
  importing.run(folder, tmp_path / 'run', **QUIET)
  run = mlm_jax.open_run(tmp_path / 'run')
  assert run.facts == {'labels': tags, 'scheme': scheme}
  (found,) = run.predict([['a', 'b']])
  assert len(found['prediction']) == 2 and set(found['prediction']) <= set(tags)


def test_others_find_no_answer_only_where_that_is_said(tmp_path):
  folder = published(tmp_path / 'theirs', 'question_answering')
  importing.run(folder, tmp_path / 'run', **QUIET)
  importing.run(folder, tmp_path / 'second', unanswerable=True, **QUIET)
  run, second = (mlm_jax.open_run(tmp_path / name) for name in ('run', 'second'))
  assert not run.facts['has_unanswerable'] and second.facts['has_unanswerable']
  assert all(each['prediction'] for each in run.predict(given('question_answering')))
  lines = second.predict(given('question_answering'))
  assert all((each['prediction'] == '') == (each['null_score_difference'] > 0) for each in lines)


@pytest.mark.parametrize(
  'kind, changes, says',
  (
    ('token_labelling', {'id2label': {'0': 'a', '1': 'a'}}, 'id2label'),
    ('token_labelling', {'rows': 3}, r'classifier.weight \[3, 32\], not \[2, 32\]'),
    ('token_labelling', {'own': {'scheme': 'iob3'}}, 'scheme = "iob3": must be one of iob2'),
    ('token_labelling', {'own': {'scheme': 'bioes'}}, 'tags of the scheme bioes'),
    ('token_labelling', {'own': []}, 'mlm_jax = .*: must be an object'),
    ('question_answering', {'without': ('qa_outputs.bias',)}, 'missing tensors .1.: qa_outputs'),
    ('question_answering', {'rows': 3}, r'qa_outputs.weight \[3, 32\], not \[2, 32\]'),
    ('question_answering', {'id2label': {'0': 'a'}}, 'id2label'),
    ('question_answering', {'own': {'threshold': 'high'}}, 'threshold = "high": must be a number'),
    ('question_answering', {'own': {'n_best': 0}}, 'n_best = 0: must be a whole number from 1'),
    ('question_answering', {'own': {'has_unanswerable': 1}}, 'has_unanswerable'),
  ),
  ids=str,
)
def test_what_cannot_be_is_refused_and_leaves_nothing(kind, changes, says, tmp_path):
  folder = published(tmp_path / 'theirs', kind, **changes)
  with pytest.raises(config_lib.UserError, match=says) as caught:
    importing.run(folder, tmp_path / 'run', **QUIET)
  assert '\n' not in str(caught.value)
  assert not (tmp_path / 'run').exists()


@EVERY
def test_flags_of_others_are_refused(kind, tmp_path):
  flag = 'pairs' if kind == 'question_answering' else 'unanswerable'
  folder = published(tmp_path / 'theirs', kind)
  with pytest.raises(config_lib.UserError, match=f'--{flag} is for'):
    importing.run(folder, tmp_path / 'run', **{flag: True}, **QUIET)
  assert not (tmp_path / 'run').exists()


@EVERY
def test_the_encoder_alone_is_imported_where_that_is_said(kind, tmp_path):
  lines = []
  folder = published(tmp_path / 'theirs', kind)
  importing.run(folder, tmp_path / 'run', lines.append, part='encoder')
  assert 'task' not in mlm_jax.open_run(tmp_path / 'run').config
  assert any('left out' in line and '.weight' in line for line in lines)


@pytest.mark.slow
def test_an_imported_run_goes_on_and_another_task_takes_its_encoder(tmp_path):
  importing.run(published(tmp_path / 'theirs', 'token_labelling'), tmp_path / 'run', **QUIET)
  (tmp_path / 'train.conll').write_text('\n\n'.join(f'{"ab"[n % 2]} {n % 2}' for n in range(20)))
  (tmp_path / 'train.csv').write_text(
    '\n'.join(['text,label', *(f'{"ab"[n % 2]} c,{n % 2}' for n in range(20))]) + '\n'
  )
  small = {
    'data.row_length': 16,
    'data.max_segments': 3,
    'batch_size': 4,
    'evaluation.batch_size': 8,
    'total_steps': 1,
    'optim.learning_rate': 1e-30,
    'log.trackers': '',
  }
  for name, recipe, more in (
    ('same', 'token_labelling', {'task.token_labelling.scheme': 'plain'}),
    ('other', 'classification', {}),
  ):
    file = tmp_path / ('train.conll' if name == 'same' else 'train.csv')
    start = [('init_from', str(tmp_path / 'run')), ('data.row_length', '16')]
    config = config_lib.load(f'finetune/{recipe}:smoke', start)
    config = config_lib.overlay(config, {'task.train': str(file), **small, **more})
    assert finetuning.run(config, tmp_path / name, toy.silent)
    was, now = (checkpoint.read_model(tmp_path / each / 'checkpoints')[1] for each in ('run', name))
    np.testing.assert_array_equal(
      now['layers']['feed_forward']['in']['kernel'], was['layers']['feed_forward']['in']['kernel']
    )
    assert not np.array_equal(now['task']['out']['kernel'], was['task']['out']['kernel'])
    assert mlm_jax.open_run(tmp_path / name).facts['labels'] == ['0', '1']
