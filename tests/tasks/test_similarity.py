"""Numbers of texts are learned by both kinds of encoders, and predicted; bad input is refused."""

import json

import numpy as np
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.data.examples import tables
from mlm_jax.inference import predict_file
from mlm_jax.tasks import finetuning
from tests import shared_runs
from tests.training import toy

ENCODERS = ('cross', 'bi')
COLUMNS = ('text', 'second_text', 'score')


def write_pairs(path, words, number, encoder, seed=0):
  """Writes pairs of texts, each with one of two words at its beginning.

  The score of a cross-encoder's pairs is how many have the first of them, that of a bi-encoder's
  whether both have the same one.
  """
  random = np.random.default_rng(seed)
  lines = [','.join(COLUMNS)]
  for _ in range(number):
    first, second = random.integers(2, size=2)
    texts = [
      ' '.join([words[each], *(words[i] for i in random.integers(2, 20, random.integers(1, 3)))])
      for each in (first, second)
    ]
    value = 1.5 + (first + second if encoder == 'cross' else 2 * (first == second))
    lines.append(f'{texts[0]},{texts[1]},{value}')
  path.write_text('\n'.join(lines) + '\n')
  return str(path)


@pytest.fixture(scope='module')
def start(tmp_path_factory):
  return shared_runs.trained(tmp_path_factory, 'start')


@pytest.fixture(scope='module')
def words(tmp_path_factory):
  corpus = shared_runs.corpus(tmp_path_factory)
  return sorted({each.strip('.') for each in corpus.read_text().split()})


def config(start, train, encoder, **settings):
  given = [('init_from', str(start)), ('data.row_length', '32')]
  return config_lib.overlay(
    config_lib.load('finetune/similarity:smoke', given),
    {
      'task.train': train,
      'task.similarity.encoder': encoder,
      'task.pooling': 'mean',
      'data.max_segments': 4,
      'batch_size': 8,
      'total_steps': 150,
      'evaluation.every': 75,
      'checkpoint.every': 75,
      'evaluation.batch_size': 8,
      'optim.learning_rate': 5e-3,
      'log.trackers': '',
      **settings,
    },
  )


@pytest.fixture(scope='module', params=ENCODERS)
def run(tmp_path_factory, start, words, request):
  """Returns (encoder, folder, the file of test examples) of a finished run."""
  folder = tmp_path_factory.mktemp('runs') / 'run'
  train, test = (
    write_pairs(tmp_path_factory.mktemp('pairs') / 'pairs.csv', words, n, request.param, seed)
    for n, seed in ((240, 0), (60, 1))
  )
  c = config(start, train, request.param, **{'task.test': test})
  assert finetuning.run(c, folder, toy.silent)
  return request.param, folder, test


def test_it_learns_and_predicts_in_the_unit_of_the_scores(run):
  encoder, folder, _ = run
  report = json.loads((folder / 'test.json').read_text())
  assert report['scores']['spearman'] > 0.85 and report['examples'] == 60
  assert report['scores']['rmse'] < 0.4
  facts = json.loads((folder / 'facts.json').read_text())
  assert facts == ({'shift': 1.5, 'scale': 2.0} if encoder == 'bi' else facts)
  groups = report['errors']['by_length']
  assert sum(each['examples'] for each in groups.values()) == 60
  worst = [abs(each['error']) for each in report['errors']['worst']]
  assert worst == sorted(worst, reverse=True) and len(worst) == 20


def test_a_run_predicts_what_it_said_of_its_test_examples(run):
  encoder, folder, test = run
  lines = [json.loads(line) for line in (folder / 'predictions.jsonl').read_text().splitlines()]
  records = [each.values for each in tables.read(test, COLUMNS)]
  assert [each['text'] for each in lines] == [each['text'] for each in records]
  assert [each['score'] for each in lines] == [float(each['score']) for each in records]
  opened = mlm_jax.open_run(folder)
  found = opened.predict([(each['text'], each['second_text']) for each in lines])
  for line, each in zip(lines, found, strict=True):
    assert line['error'] == pytest.approx(line['prediction'] - line['score'], abs=2e-6)
    assert each['prediction'] == pytest.approx(line['prediction'], abs=1e-5)
  for wrong in ('one text', ['a text'], [('a', ' ')]):
    with pytest.raises(config_lib.UserError):
      opened.predict(wrong)


@pytest.mark.parametrize('run', ('bi',), indirect=True)
def test_a_bi_encoder_predicts_the_cosine_of_its_embeddings_also_of_cut_texts(run, words):
  opened = mlm_jax.open_run(run[1])
  long = ' '.join(words[:30])
  pairs = [(words[0], words[1]), (long, words[1]), (long, f'{long} {words[0]}')]
  a_ND, b_ND = (opened.embed([pair[side] for pair in pairs]) for side in (0, 1))
  np.testing.assert_allclose(np.linalg.norm(a_ND, axis=1), 1, rtol=1e-6)
  found = [each['prediction'] for each in opened.predict(pairs)]
  np.testing.assert_allclose(found, 1.5 + 2 * (a_ND * b_ND).sum(1), atol=1e-5)
  assert found[2] == pytest.approx(3.5, abs=1e-5)  # both are cut to one text


def test_a_file_is_predicted_in_its_order(run, tmp_path):
  encoder, folder, test = run
  output = str(tmp_path / 'out.csv')
  assert predict_file.run(str(folder), test, output) == 60
  found = [each.values for each in tables.read(output, ('text', 'prediction'))]
  assert [each['text'] for each in found] == [
    each.values['text'] for each in tables.read(test, ('text',))
  ]


def test_single_texts_are_regressed_too(start, words, tmp_path):
  random = np.random.default_rng(0)
  lines = [f'{words[2]} {words[n % 2]},{3.0 * (n % 2)}' for n in random.permutation(80)]
  (tmp_path / 'train.csv').write_text('\n'.join(['text,score', *lines]) + '\n')
  settings = {'task.second_text': '', 'total_steps': 40}
  c = config(start, str(tmp_path / 'train.csv'), 'cross', **settings)
  said = []
  assert finetuning.run(c, tmp_path / 'run', said.append)
  found = mlm_jax.open_run(tmp_path / 'run').predict([f'{words[2]} {words[n]}' for n in range(2)])
  assert [each['prediction'] for each in found] == pytest.approx([0, 3], abs=0.5)
  assert any('validation examples are training examples too' in line for line in said)


GOOD = 'text,second_text,score\na,b,1\nb,c,2.5\nc,d,3\n'


@pytest.mark.parametrize(
  'content, settings, says',
  (
    (
      GOOD.replace('score', 'points'),
      {},
      "no column 'score'; there are 'text', 'second_text', 'po",
    ),
    (GOOD.replace('2.5', 'nan'), {}, "line 3: score 'nan' must be a finite number"),
    (GOOD.replace('2.5', '-inf'), {}, "line 3: score '-inf' must be a finite number"),
    (GOOD.replace('2.5', ''), {}, "line 3: score '' must be a finite number"),
    (GOOD.replace('b,c', 'b, '), {}, 'line 3: its text is'),
    (GOOD.replace(',2.5', ''), {}, 'line 3: 2 fields in place of 3'),
    (GOOD.replace('2.5', '1').replace('3', '1'), {}, 'every training example has the score 1'),
    (GOOD, {'task.second_text': ''}, 'the cosine is of two texts'),
    (GOOD, {'data.max_segments': 1}, 'must be at least 2 where'),
    (GOOD, {'task.label': 'score'}, "config.task.label = 'score': must be 'label' unless"),
    (GOOD, {'task.labels': ('1', '2')}, r'config.task.labels = .*: must be \(\) unless'),
  ),
)
def test_what_is_wrong_is_said_in_one_line_and_leaves_nothing(
  start, tmp_path, content, settings, says
):
  (tmp_path / 'train.csv').write_text(content)
  with pytest.raises(config_lib.UserError, match=says) as error:
    c = config(start, str(tmp_path / 'train.csv'), 'bi', **settings)
    finetuning.run(c, tmp_path / 'run', toy.silent)
  assert '\n' not in str(error.value)
  assert not (tmp_path / 'run').exists()
