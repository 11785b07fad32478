"""A run is fine-tuned by the loop of all runs: it learns, resumes, keeps its best and is used."""

import json

import numpy as np
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax import tasks
from mlm_jax.tasks import finetuning
from mlm_jax.training import checkpoint
from mlm_jax.training import logs
from tests import shared_runs
from tests import toys
from tests.training import toy


def write_examples(path, corpus, number, seed=0):
  """Writes texts whose label is whether they have one word more often than another."""
  words = sorted({each.strip('.') for each in corpus.read_text().split()})
  random = np.random.default_rng(seed)
  lines = ['text,label']
  for _ in range(number):
    label = random.integers(2)
    text = [words[i] for i in random.integers(2, len(words), random.integers(2, 6))]
    text.insert(0, words[label])
    lines.append(f'{" ".join(text)},{("low", "high")[label]}')
  path.write_text('\n'.join(lines) + '\n')
  return str(path)


def config(start, train, **settings):
  c = config_lib.finetuning()
  return config_lib.overlay(
    c,
    {
      'init_from': str(start),
      'task.train': train,
      'data.row_length': 16,
      'data.max_segments': 3,
      'epochs': 4.0,
      'batch_size': 8,
      'evaluation.batch_size': 8,
      'optim.learning_rate': 1e-2,
      'log.every': 5,
      'log.trackers': '',
      **settings,
    },
  )


@pytest.fixture(scope='module')
def start(tmp_path_factory):
  return shared_runs.trained(tmp_path_factory, 'start')


@pytest.fixture(scope='module')
def train(tmp_path_factory, start):
  path = tmp_path_factory.mktemp('examples') / 'train.csv'
  return write_examples(path, shared_runs.corpus(tmp_path_factory), 160)


@pytest.fixture(scope='module')
def test_file(tmp_path_factory):
  path = tmp_path_factory.mktemp('examples') / 'test.csv'
  return write_examples(path, shared_runs.corpus(tmp_path_factory), 40, seed=1)


@pytest.fixture(scope='module')
def run(tmp_path_factory, start, train, test_file):
  """Returns (folder, what was said) of a finished run."""
  folder, said = tmp_path_factory.mktemp('runs') / 'run', []
  assert finetuning.run(config(start, train, **{'task.test': test_file}), folder, said.append)
  return folder, said


def test_it_learns_and_its_best_checkpoint_is_scored_once(run):
  folder, said = run
  lines = logs.read_log(folder, 'evaluations')
  best = max(lines, key=lambda line: line['validation_accuracy'])
  report = json.loads((folder / 'test.json').read_text())
  assert report['step'] == best['step'] and report['split'] == 'test'
  assert report['scores']['accuracy'] > 0.9 and report['examples'] == 40
  assert np.trace(report['errors']['confusions']) == 40 * report['scores']['accuracy']
  assert any(line.startswith('starts from the encoder of') for line in said)


def test_a_run_predicts_what_it_said_of_its_test_examples(run):
  folder, _ = run
  lines = [json.loads(line) for line in (folder / 'predictions.jsonl').read_text().splitlines()]
  opened = mlm_jax.open_run(folder)
  assert opened.step == json.loads((folder / 'test.json').read_text())['step']
  found = opened.predict([line['text'] for line in lines])
  for line, each in zip(lines, found, strict=True):
    assert line.pop('label') in ('low', 'high')
    assert line == each
  assert opened.embed(['a text']).shape == (1, 32)
  for wrong in ('one text', [1], [('a', 'b')], [' ']):
    with pytest.raises(config_lib.UserError):
      opened.predict(wrong)


def test_a_stopped_run_ends_with_the_bytes_of_an_unbroken_one(
  run, start, train, test_file, tmp_path, monkeypatch
):
  folder, _ = run
  c = config(start, train, **{'task.test': test_file})
  with toy.stopped_at(7, monkeypatch):
    assert not finetuning.run(c, tmp_path / 'run', toy.silent)
  # From its folder alone, as `mlm-jax train --workdir` does.
  own = config_lib.load(tmp_path / 'run' / 'config.json')
  assert tasks.of(own).run(own, tmp_path / 'run', toy.silent)
  toy.assert_equal_runs(folder, tmp_path / 'run')
  for name in ('test.json', 'predictions.jsonl'):
    assert (folder / name).read_bytes() == (tmp_path / 'run' / name).read_bytes()


def test_from_scratch_and_frozen_parameters(start, train, tmp_path):
  c = config(start, train, **{'epochs': 0.5, 'task.freeze': ('(?!task/).*',)})
  assert finetuning.run(c, tmp_path / 'probe', toy.silent)
  theirs = checkpoint.read_model(start / 'checkpoints')[1]
  ours = checkpoint.read_model(tmp_path / 'probe' / 'checkpoints')[1]
  np.testing.assert_array_equal(
    ours['embeddings']['token']['embedding'], theirs['embeddings']['token']['embedding']
  )
  scratch = config(start, train, **{'epochs': 0.5, 'task.from_scratch': True})
  assert finetuning.run(scratch, tmp_path / 'scratch', toy.silent)
  ours = checkpoint.read_model(tmp_path / 'scratch' / 'checkpoints')[1]
  assert not np.array_equal(
    ours['embeddings']['token']['embedding'], theirs['embeddings']['token']['embedding']
  )


def test_a_fine_tuned_run_is_a_start_too(run, train, tmp_path):
  folder, _ = run
  c = config(folder, train, **{'epochs': 0.25})
  said = []
  assert finetuning.run(c, tmp_path / 'second', said.append)
  assert any(line.startswith('starts from the encoder of') for line in said)


def refused(c, folder, says):
  with pytest.raises(config_lib.UserError, match=says):
    finetuning.run(c, folder, toy.silent)
  assert not folder.exists()


def test_what_is_wrong_is_said_and_leaves_nothing(start, train, tmp_path):
  folder = tmp_path / 'run'
  refused(config(start, ''), folder, 'config.task.train')
  refused(config(start, str(tmp_path / 'none.csv')), folder, 'cannot read .*none.csv')
  refused(config(start, train, **{'task.text': 'x'}), folder, "no column 'x'; there are 'text'")
  (tmp_path / 'one.csv').write_text('text,label\na,1\nb,1\nc,1\n')
  refused(config(start, str(tmp_path / 'one.csv')), folder, 'single label')
  (tmp_path / 'test.csv').write_text('text,label\na,middle\n')
  other = str(tmp_path / 'test.csv')
  refused(config(start, train, **{'task.test': other}), folder, "label 'middle' is none of")
  weights = {'task.class_weights': (1.0, 2.0, 3.0)}
  refused(config(start, train, **weights), folder, '3 weights for 2 labels')
  with pytest.raises(config_lib.UserError, match='no run there'):
    config(tmp_path / 'nothing', train)


def test_examples_that_training_has_too_are_counted(start, train, tmp_path):
  said = []
  c = config(start, train, **{'task.test': train, 'total_steps': 1})
  assert finetuning.run(c, tmp_path / 'run', said.append)
  assert any('of the 160 test examples are training examples too' in line for line in said)


def test_a_pretrained_run_does_not_predict_and_a_fine_tuned_one_fills_nothing(run, start):
  from mlm_jax.inference import predict_file
  from mlm_jax.inference import predictor

  with pytest.raises(config_lib.UserError, match='was fine-tuned for classification'):
    predictor.open_run(run[0])
  with pytest.raises(config_lib.UserError, match='predicts no labels'):
    predict_file.run(str(start), 'a.csv', 'b.csv')


@pytest.mark.parametrize('kind', ('jsonl', 'csv', 'parquet'))
def test_a_file_of_predictions_is_in_the_order_of_its_input(run, train, tmp_path, kind):
  from mlm_jax.data.examples import tables
  from mlm_jax.inference import predict_file

  output = tmp_path / f'out.{kind}'
  assert predict_file.run(str(run[0]), train, str(output)) == 160
  texts = [each.values['text'] for each in tables.read(train, ['text'])]
  found = [each.values for each in tables.read(str(output), ['text', 'prediction'])]
  assert [each['text'] for each in found] == texts
  assert {each['prediction'] for each in found} == {'low', 'high'}


def test_a_smoke_recipe_runs(start, train, tmp_path):
  settings = [('init_from', str(start)), ('task.train', train), ('data.row_length', '16')]
  c = config_lib.load('finetune/classification:smoke', settings)
  assert finetuning.run(config_lib.overlay(c, {'total_steps': 2}), tmp_path / 'run', toy.silent)


def test_defaults_of_fine_tuning_mask_nothing():
  assert 'masking' not in config_lib.finetuning() and 'task' not in toys.config()
