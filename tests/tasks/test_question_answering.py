"""A run learns to answer, knows when there is no answer, and is used as it was scored."""

import csv
import json
import pathlib
import shutil

import numpy as np
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.evaluation import squad
from mlm_jax.tasks import finetuning
from mlm_jax.tasks import finetuning_data
from tests import shared_runs
from tests.training import toy


def words_of(corpus):
  words = sorted({each.strip('.') for each in corpus.read_text().split()})
  return sorted(words, key=len)


def write_squad(path, corpus, number, seed=0, unanswerable=0.3):
  """Writes questions whose answer is the one word of the context that is one of two short ones."""
  words, random = words_of(corpus), np.random.default_rng(seed)
  paragraphs = []
  for n in range(number):
    others = [words[i] for i in random.integers(2, len(words), random.integers(3, 9))]
    has_none, place = random.random() < unanswerable, random.integers(len(others))
    text = words[random.integers(2)]
    if not has_none:
      others.insert(place, text)
    answer = {'text': text, 'answer_start': len('  '.join(['', *others[:place], '']))}
    qa = {'id': f'{seed}-{n}', 'question': f'{words[5 + n % 3]}?', 'is_impossible': has_none}
    qa['answers'] = [] if has_none else [answer]
    # Two spaces: what is read is cleaned, and what is answered is not.
    paragraphs.append({'context': '  ' + '  '.join(others), 'qas': [qa]})
  path.write_text(json.dumps({'version': 'v2.0', 'data': [{'paragraphs': paragraphs}]}))
  return str(path)


def config(start, train, **settings):
  c = config_lib.load('finetune/question_answering', [('init_from', str(start)), *SMALL])
  return config_lib.overlay(c, {'task.train': train, **settings})


SMALL = [
  ('data.row_length', '32'),
  ('data.max_segments', '3'),
  ('task.question_answering.stride', '8'),
  ('task.question_answering.max_question_pieces', '6'),
  ('epochs', '6'),
  ('batch_size', '8'),
  ('evaluation.batch_size', '8'),
  ('optim.learning_rate', '1e-2'),
  ('log.trackers', ''),
]


@pytest.fixture(scope='module')
def start(tmp_path_factory):
  return shared_runs.trained(tmp_path_factory, 'start')


@pytest.fixture(scope='module')
def files(tmp_path_factory):
  folder, corpus = tmp_path_factory.mktemp('squad'), shared_runs.corpus(tmp_path_factory)
  return (
    write_squad(folder / 'train.json', corpus, 200),
    write_squad(folder / 'test.json', corpus, 40, seed=1),
  )


@pytest.fixture(scope='module')
def run(tmp_path_factory, start, files):
  """Returns (folder, what was said) of a finished run."""
  folder, said = tmp_path_factory.mktemp('runs') / 'run', []
  c = config(start, files[0], **{'task.test': files[1]})
  assert finetuning.run(c, folder, said.append)
  return folder, said


def of(path):
  """Returns {id: (question, context, answers)} of a SQuAD file."""
  data = json.loads(pathlib.Path(path).read_text())['data']
  return {
    qa['id']: (qa['question'], paragraph['context'], [each['text'] for each in qa['answers']])
    for article in data
    for paragraph in article['paragraphs']
    for qa in paragraph['qas']
  }


def lines_of(folder):
  return [json.loads(each) for each in (folder / 'predictions.jsonl').read_text().splitlines()]


def test_it_learns_and_its_scores_are_those_of_its_predictions(run, files):
  report, lines = json.loads((run[0] / 'test.json').read_text()), lines_of(run[0])
  wanted = of(files[1])
  assert [each['id'] for each in lines] == list(wanted)
  answers = [wanted[each['id']][2] for each in lines]
  scores = squad.scores(answers, [each['prediction'] for each in lines])
  assert {'has_answer_f1', 'no_answer_f1'} < set(scores)
  for name, value in scores.items():
    assert report['scores'][name] == pytest.approx(value)
  assert report['scores']['f1'] > 0.8
  assert sum(each['questions'] for each in report['errors']['by_answer_length'].values()) == 40
  for each in lines:
    if each['prediction']:
      # A part of the context as it was given, two spaces and all.
      assert wanted[each['id']][1][each['start'] : each['end']] == each['prediction']
    else:
      assert each['start'] == each['end'] == -1
    assert sum(one['probability'] for one in each['n_best']) == pytest.approx(1, abs=1e-4)


def test_the_threshold_of_validation_is_kept_and_used(run, files, tmp_path):
  folder, lines = run[0], lines_of(run[0])
  calibration = json.loads((folder / 'calibration.json').read_text())
  report = json.loads((folder / 'test.json').read_text())
  threshold = calibration['facts']['threshold']
  assert calibration['step'] == report['step'] and report['errors']['threshold'] == threshold
  assert threshold != json.loads((folder / 'facts.json').read_text())['threshold']
  for each in lines:
    assert (each['prediction'] == '') == (each['null_score_difference'] > threshold)
  # One that nothing is above: the folder's own is what is read.
  shutil.copytree(folder, tmp_path / 'run')
  other = json.dumps(calibration | {'facts': {'threshold': 1e9}})
  (tmp_path / 'run' / 'calibration.json').write_text(other)
  pairs = [each[:2] for each in of(files[1]).values()]
  assert all(each['prediction'] for each in mlm_jax.open_run(tmp_path / 'run').predict(pairs))


def test_a_run_predicts_what_it_said_of_its_test_examples(run, files):
  opened, lines = mlm_jax.open_run(run[0]), lines_of(run[0])
  found = opened.predict([each[:2] for each in of(files[1]).values()])
  for line, each in zip(lines, found, strict=True):
    for name in ('id', 'answers', 'f1', 'exact_match'):
      line.pop(name)
    assert line == each
  for wrong in ('one text', ['a'], [('a', ' ')]):
    with pytest.raises(config_lib.UserError):
      opened.predict(wrong)


def test_files_are_predicted(run, files, tmp_path):
  from mlm_jax.inference import predict_file

  lines = lines_of(run[0])
  assert predict_file.run(str(run[0]), files[1], str(tmp_path / 'a.csv')) == 40
  with (tmp_path / 'a.csv').open(newline='') as file:
    rows = list(csv.DictReader(file))
  for row, line in zip(rows, lines, strict=True):
    assert (row['id'], row['prediction']) == (line['id'], line['prediction'])
    assert json.loads(row['n_best']) == line['n_best']
  with (tmp_path / 'in.jsonl').open('w') as file:
    for question, context, _ in of(files[1]).values():
      file.write(json.dumps({'q': question, 'context': context}) + '\n')
  output = tmp_path / 'b.jsonl'
  assert predict_file.run(str(run[0]), str(tmp_path / 'in.jsonl'), str(output), text='q') == 40
  found = [json.loads(each) for each in output.read_text().splitlines()]
  assert [each['prediction'] for each in found] == [each['prediction'] for each in lines]


def test_questions_on_one_context_are_on_one_side(start, files, tmp_path):
  whole = json.loads(pathlib.Path(files[0]).read_text())
  for paragraph in whole['data'][0]['paragraphs']:
    (qa,) = paragraph['qas']
    paragraph['qas'] = [qa | {'id': f'{qa["id"]}-{i}'} for i in range(3)]
  (tmp_path / 'a.json').write_text(json.dumps(whole))
  splits = finetuning_data.splits_of(config(start, str(tmp_path / 'a.json')))
  contexts = {name: {each.context for each in of} for name, of in splits.items()}
  assert len(splits['validation']) == 60 and len(splits['train']) == 540
  assert not contexts['train'] & contexts['validation']


def refused(c, folder, says):
  with pytest.raises(config_lib.UserError, match=says):
    finetuning.run(c, folder, toy.silent)
  assert not folder.exists()


def test_what_is_wrong_is_said_and_leaves_nothing(start, files, tmp_path):
  folder, train = tmp_path / 'run', files[0]
  refused(config(start, train, **{'task.second_text': ''}), folder, 'task.second_text')
  with pytest.raises(config_lib.UserError, match='task.label_smoothing'):
    config(start, train, **{'task.label_smoothing': 0.1})
  long = {'task.question_answering.stride': 24}
  refused(config(start, train, **long), folder, 'data.row_length = 32: must be above 33')
  qa = {'id': 'a', 'question': 'q', 'answers': [{'text': 'x', 'answer_start': 0}]}
  paragraph = {'context': 'y z', 'qas': [qa]}
  path = tmp_path / 'a.json'
  path.write_text(json.dumps({'data': [{'paragraphs': [paragraph]}]}))
  refused(config(start, str(path)), folder, 'too few to keep some for validation')
  refused(config(start, str(path), **{'task.validation': train}), folder, 'no question has an')
  with pytest.raises(config_lib.UserError, match='unless task.name is'):
    config(start, train, **{'task.name': 'classification'})
  # One such answer among others is left out, and said.
  good = [{'context': 'x', 'qas': [qa | {'id': f'{n}'}]} for n in range(30)]
  path.write_text(json.dumps({'data': [{'paragraphs': [paragraph, *good]}]}))
  said = []
  c = config(start, str(path), **{'task.validation': str(path), 'total_steps': 1})
  assert finetuning.run(c, folder, said.append)
  assert any('train: 1 answers are left out: their context has' in line for line in said)
  assert json.loads((folder / 'test.json').read_text())['scores']['f1'] in (0, 1)


def test_a_smoke_recipe_runs(start, files, tmp_path):
  settings = [('init_from', str(start)), ('task.train', files[0]), *SMALL[:4]]
  c = config_lib.load('finetune/question_answering:smoke', settings)
  assert finetuning.run(config_lib.overlay(c, {'total_steps': 2}), tmp_path / 'run', toy.silent)
