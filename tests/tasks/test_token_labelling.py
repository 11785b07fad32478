"""A run is fine-tuned to label words: it learns, is scored, predicts files and refuses bad ones."""

import json
import pathlib

import numpy as np
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.data.examples import tag_schemes
from mlm_jax.downstream import token_labelling
from mlm_jax.inference import predict_file
from mlm_jax.tasks import finetuning
from tests import shared_runs
from tests.training import toy

KINDS = ('LOC', 'PER')


def write_sentences(path, words, number, seed=0):
  """Writes CoNLL columns in which two words begin entities, and a third continues both."""
  random = np.random.default_rng(seed)
  sentences = []
  for _ in range(number):
    lines = []
    for _ in range(random.integers(1, 4)):
      lines.append(f'{words[random.integers(3, 20)]} O')
      if kind := random.integers(3):
        name = KINDS[kind - 1]
        lines.append(f'{words[kind - 1]} B-{name}')
        lines += [f'{words[2]} I-{name}'] * random.integers(2)
    sentences.append('\n'.join(lines))
  path.write_text('\n\n'.join(sentences) + '\n')
  return str(path)


@pytest.fixture(scope='module')
def start(tmp_path_factory):
  return shared_runs.trained(tmp_path_factory, 'start')


@pytest.fixture(scope='module')
def words(tmp_path_factory):
  corpus = shared_runs.corpus(tmp_path_factory)
  return sorted({each.strip('.') for each in corpus.read_text().split()})


@pytest.fixture(scope='module')
def train(tmp_path_factory, words):
  return write_sentences(tmp_path_factory.mktemp('sentences') / 'train.conll', words, 240)


def config(start, train, **settings):
  given = [('init_from', str(start)), ('data.row_length', '24')]
  return config_lib.overlay(
    config_lib.load('finetune/token_labelling:smoke', given),
    {
      'task.train': train,
      'data.max_segments': 2,
      'batch_size': 8,
      'total_steps': 240,
      'evaluation.every': 240,
      'checkpoint.every': 240,
      'evaluation.batch_size': 8,
      'optim.learning_rate': 1e-2,
      'log.trackers': '',
      **settings,
    },
  )


@pytest.fixture(scope='module')
def run(tmp_path_factory, start, train, words):
  """Returns (folder, what was said) of a finished run."""
  folder, said = tmp_path_factory.mktemp('runs') / 'run', []
  test = write_sentences(tmp_path_factory.mktemp('sentences') / 'test.conll', words, 60, seed=1)
  assert finetuning.run(config(start, train, **{'task.test': test}), folder, said.append)
  return folder, said


def test_it_learns_and_says_what_it_found(run):
  folder, said = run
  report = json.loads((folder / 'test.json').read_text())
  scores, errors = report['scores'], report['errors']
  assert scores['f1'] > 0.8 and report['examples'] == 60
  assert errors['labels'] == ['LOC', 'PER', 'none'] and set(errors['per_class']) == set(KINDS)
  found = sum(each['number'] for each in errors['per_class'].values())
  assert np.sum(errors['confusions'][:2]) == found
  assert np.trace(errors['confusions'][:2]) == pytest.approx(found * scores['recall'])
  assert errors['invalid_sequences']['labelled'] == 0
  # Rows are short: what does not fit is said, and counts as O.
  assert f'test: {errors["words_left_out"]} words left out' in said
  assert errors['words_left_out'] > 0


def test_predictions_are_those_of_the_test_and_their_entities_fit(run):
  folder, _ = run
  lines = [json.loads(line) for line in (folder / 'predictions.jsonl').read_text().splitlines()]
  opened = mlm_jax.open_run(folder)
  found = opened.predict([line['tokens'] for line in lines])
  for line, each in zip(lines, found, strict=True):
    assert len(line.pop('tags')) == len(line['prediction']) == len(line['tokens'])
    assert line == each
    entities = tag_schemes.entities(each['prediction'])
    assert [tag_schemes.Entity(**one) for one in each['entities']] == entities
    if cut := each['words_left_out']:
      assert each['prediction'][-cut:] == ['O'] * cut
  assert opened.predict([' '.join(lines[0]['tokens'])])[0]['tokens'] == lines[0]['tokens']
  for wrong in ('one text', [1], [[]], [['a', ' ']]):
    with pytest.raises(config_lib.UserError):
      opened.predict(wrong)


def test_files_are_predicted_in_their_format(run, train, tmp_path):
  folder, _ = run
  columns, given = tmp_path / 'out.conll', tmp_path / 'given.jsonl'
  assert predict_file.run(str(folder), train, str(columns)) == 240
  sentences = lambda text: [each.split('\n') for each in text.strip().split('\n\n')]
  wanted = [
    [line.split()[0] for line in each] for each in sentences(pathlib.Path(train).read_text())
  ]
  found = [[line.split('\t') for line in each] for each in sentences(columns.read_text())]
  assert [[token for token, _ in each] for each in found] == wanted
  given.write_text('\n'.join(json.dumps({'tokens': each}) for each in wanted))
  assert predict_file.run(str(folder), str(given), str(tmp_path / 'out.jsonl')) == 240
  lines = [json.loads(line) for line in (tmp_path / 'out.jsonl').read_text().splitlines()]
  assert [line['prediction'] for line in lines] == [[tag for _, tag in each] for each in found]
  with pytest.raises(config_lib.UserError, match='config.task.text'):
    predict_file.run(str(folder), train, str(columns), text='column')


def test_tables_have_labels_with_commas_and_lists_as_json():
  entity = {'type': 'x', 'start': 0, 'end': 1}
  line = {'tokens': ['a', ','], 'prediction': ['B-x', None], 'entities': [entity], 'n': 1}
  flat = predict_file._flat(line)
  assert (flat['prediction'], flat['n']) == ('B-x,', 1)
  assert json.loads(flat['tokens']) == ['a', ','] and json.loads(flat['entities']) == [entity]


def outputs(labels, *sentences):
  """The outputs of a model that gives each sentence's words these labels, and [CLS] and [SEP]."""
  found = []
  for tags in sentences:
    logits = np.zeros((len(tags) + 2, len(labels)))
    logits[np.arange(1, len(tags) + 1), [labels.index(each) for each in tags]] = 1
    found.append({'word_BL': np.array([-1, *range(len(tags)), -1]), 'logits_BLC': logits})
  return found


def examples(*sentences):
  return [token_labelling.Example('here', ('w',) * len(tags), tuple(tags)) for tags in sentences]


def test_words_that_were_cut_off_are_outside():
  labels = ['O', 'B-x', 'I-x', 'B-y', 'I-y']
  facts = {'labels': labels, 'scheme': 'iob2'}
  given = examples(['B-x', 'O', 'B-x'], ['B-y', 'I-y', 'O'])
  found = outputs(labels, ['B-x', 'O'], ['B-x', 'I-x', 'I-y'])
  scores = token_labelling.score(found, given, facts)
  # Found are x at 0, x at 0 to 2 (which is y) and y at 2 (begun by I-); the cut x is not.
  expected = {'precision': 1 / 3, 'recall': 1 / 3, 'f1': 1 / 3, 'accuracy': 2 / 6}
  assert scores == pytest.approx({**expected, 'invalid_sequences': 1})
  lines = token_labelling.predictions(found, given, facts)
  assert [line['words_left_out'] for line in lines] == [1, 0]
  assert lines[0]['prediction'] == ['B-x', 'O', 'O']
  errors = token_labelling.errors(lines, facts)
  assert errors['confusions'] == [[1, 0, 1], [1, 0, 0], [0, 1, 0]]
  assert errors['per_class']['x']['number'] == 2 and errors['words_left_out'] == 1
  assert (
    errors['invalid_sequences'] | {'predicted': 1, 'labelled': 0} == errors['invalid_sequences']
  )


def test_plain_tags_that_were_cut_off_are_wrong():
  facts = {'labels': ['a', 'b'], 'scheme': 'plain'}
  given = examples(['a', 'b', 'b'], ['b'])
  found = outputs(['a', 'b'], ['a', 'a'], ['b'])
  scores = token_labelling.score(found, given, facts)
  f1_a, f1_b = 2 * 1 / (2 + 1), 2 * 1 / (1 + 3)
  assert scores == pytest.approx({'accuracy': 2 / 4, 'macro_f1': (f1_a + f1_b) / 2})
  lines = token_labelling.predictions(found, given, facts)
  assert lines[0]['prediction'] == ['a', 'a', None] and 'entities' not in lines[0]
  errors = token_labelling.errors(lines, facts)
  assert errors['confusions'] == [[1, 0], [1, 1]] and errors['words_left_out'] == 1


def refused(c, folder, says):
  with pytest.raises(config_lib.UserError, match=says):
    finetuning.run(c, folder, toy.silent)
  assert not folder.exists()


def test_what_is_wrong_is_said_and_leaves_nothing(start, train, tmp_path):
  folder, path = tmp_path / 'run', tmp_path / 'a.conll'
  with_file = lambda **more: config(start, str(path), **more)
  for text, says in (
    ('', 'holds no sentence'),
    ('a O\n\nb O\n\nc O\n', "a single tag 'O'"),
    ('a O\n\nb B-x\nc\n', 'line 4: 1 columns in place of 2'),
  ):
    path.write_text(text)
    refused(with_file(), folder, says)
  path.write_text('a B-ORG\n')
  for split in ('test', 'validation'):
    unknown = config(start, train, **{f'task.{split}': str(path)})
    refused(unknown, folder, "'a': the tag 'B-ORG' is none of those of the training examples")
  weights = {'task.class_weights': (1.0, 2.0)}
  refused(config(start, train, **weights), folder, '2 weights for 5 tags')
  refused(
    config(start, train, **{'task.labels': ('O', 'x')}), folder, 'config.task.labels: the tag'
  )


def test_settings_of_other_tasks_are_refused(start, train):
  for key, value in (('second_text', 'b'), ('multilabel', True), ('pooling', 'mean')):
    with pytest.raises(config_lib.UserError, match=f'config.task.{key}'):
      config(start, train, **{f'task.{key}': value})
  c = config_lib.finetuning()
  with pytest.raises(config_lib.UserError, match='config.task.token_labelling.scheme'):
    settings = {'init_from': str(start), 'data.row_length': 16}
    config_lib.overlay(c, settings | {'task.token_labelling.scheme': 'bioes'})
