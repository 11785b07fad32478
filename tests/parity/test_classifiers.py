"""Classifiers of `transformers` and ours, both ways: the same labels, and the same logits."""

import numpy as np
import pytest
import torch
import transformers

import mlm_jax
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from tests import toys
from tests.huggingface import builders
from tests.parity import interop

pytestmark = pytest.mark.parity

LOGITS = 1e-5
LABELS = ('bad', 'so so', 'good')
FAMILIES = [each for each in toys.FAMILIES if 'enhanced' not in each]
EVERY = pytest.mark.parametrize('family', FAMILIES)
QUIET = dict(log=lambda line: None)
NAMED = {str(i): name for i, name in enumerate(LABELS)}


def names_of(family):
  return builders.PAD_SECOND if family == 'roberta' else builders.NAMES


def texts(number=9):
  return builders.texts(np.random.default_rng(0), number)


def examples(has_pairs):
  """Returns texts, or pairs of texts."""
  return list(zip(texts(), reversed(texts()))) if has_pairs else texts()


def our_logits(run, given):
  task = run._task
  made = [task.unlabelled('given', each, run.config.task) for each in given]
  return np.stack([each['logits_BSC'] for each in run.outputs(made)])


def their_logits(folder, given, has_pairs):
  """Returns the logits that AutoTokenizer and the Auto class give, of padded rows."""
  auto = transformers.AutoModelForSequenceClassification
  model = interop.loaded(auto, folder)
  tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
  columns = list(map(list, zip(*given))) if has_pairs else [given]
  inputs = tokenizer(*columns, padding=True, truncation=True, return_tensors='pt')
  with torch.no_grad():
    return model, model(**inputs).logits.numpy()


def assert_alike(run, folder, has_pairs):
  """Compares logits and predictions of a run and of a folder."""
  given = examples(has_pairs)
  model, theirs = their_logits(folder, given, has_pairs)
  ours = our_logits(run, given)
  assert np.abs(theirs).max() > 0.05 and np.ptp(theirs, axis=0).max() > 0.01
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=LOGITS)
  predicted = [each['prediction'] for each in run.predict(given)]
  assert predicted == [model.config.id2label[int(i)] for i in theirs.argmax(1)]
  return model


@EVERY
@pytest.mark.parametrize('has_pairs', (False, True))
def test_a_run_of_ours_predicts_the_same_there_and_comes_back(family, has_pairs, tmp_path):
  task = {'second_text': 'second'} if has_pairs else {}
  settings = toys.FAMILIES[family]
  builders.write_classifier(
    tmp_path / 'run', LABELS, names_of(family), task=task, model__init_std=0.3, **settings
  )
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  run = mlm_jax.open_run(tmp_path / 'run')
  model = assert_alike(run, tmp_path / 'to', has_pairs)
  assert model.config.id2label == dict(enumerate(LABELS))
  assert model.config.problem_type == 'single_label_classification'
  importing.run(tmp_path / 'to', tmp_path / 'again', pairs=has_pairs, **QUIET)
  again = mlm_jax.open_run(tmp_path / 'again')
  # Other rows, and so other rounding.
  pair = [our_logits(each, examples(has_pairs)) for each in (again, run)]
  np.testing.assert_allclose(*pair, rtol=0, atol=1e-6)
  exporting.run(tmp_path / 'again', tmp_path / 'back', **QUIET)
  interop.assert_back(tmp_path / 'to', tmp_path / 'back')


@pytest.mark.parametrize(
  'case',
  (
    'bert_classifier',
    'xlm_roberta_classifier',
    'deberta_classifier',
    'modernbert_classifier',
    'distilbert_classifier',
    'electra_classifier',
    'deberta_v2_classifier',
    'roberta_classifier',
  ),
)
def test_a_classifier_of_theirs_predicts_the_same_here_and_goes_back(case, tmp_path):
  theirs = interop.their_model(case, id2label=NAMED, label2id={})
  interop.write(theirs, tmp_path / 'theirs')
  importing.run(tmp_path / 'theirs', tmp_path / 'run', **QUIET)
  run = mlm_jax.open_run(tmp_path / 'run')
  assert run.facts == {'labels': list(LABELS), 'multilabel': False}
  exporting.run(tmp_path / 'run', tmp_path / 'back', **QUIET)
  interop.assert_back(tmp_path / 'theirs', tmp_path / 'back')
  assert_alike(run, tmp_path / 'back', False)
