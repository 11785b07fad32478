"""Runs that label words or answer questions beside the classes of `transformers`, both ways."""

import shutil

import numpy as np
import pytest
import torch
import transformers

import mlm_jax
from mlm_jax.data.examples import tag_schemes
from mlm_jax.data.examples import windows as windows_lib
from mlm_jax.huggingface import exporting
from mlm_jax.huggingface import importing
from mlm_jax.objectives import question_answering
from tests import toys
from tests.huggingface import builders
from tests.huggingface import test_task_heads as ours
from tests.parity import interop

pytestmark = pytest.mark.parity

LOGITS = 1e-5
FAMILIES = [each for each in toys.FAMILIES if 'enhanced' not in each]
QUIET = dict(log=lambda line: None)
KINDS = tuple(ours.KINDS)


def our_outputs(run, kind):
  task = run._task
  return run.outputs([task.unlabelled('given', each, run.config.task) for each in ours.given(kind)])


def loaded(folder, kind):
  """Returns (model, tokenizer) of the Auto classes."""
  auto = getattr(transformers, f'AutoModelFor{ours.CLASSES[kind]}')
  return interop.loaded(auto, folder), transformers.AutoTokenizer.from_pretrained(folder)


def assert_same_tags(run, folder):
  """Compares the logits of all tokens, and the tags of all words, of a run and of a folder."""
  model, tokenizer = loaded(folder, 'token_labelling')
  lines = run.predict(ours.given('token_labelling'))
  for words, found, line in zip(
    ours.given('token_labelling'), our_outputs(run, 'token_labelling'), lines, strict=True
  ):
    text = ' '.join(words)
    inputs = tokenizer(text, truncation=True, return_tensors='pt', return_offsets_mapping=True)
    offsets = inputs.pop('offset_mapping')[0].tolist()
    with torch.no_grad():
      logits_TC = model(**inputs).logits[0].numpy()
    assert np.abs(logits_TC).max() > 0.05
    # What follows is padding.
    our_TC = found['logits_BLC'][: len(logits_TC)]
    np.testing.assert_allclose(our_TC, logits_TC, rtol=0, atol=LOGITS)
    # The first token of each word, by the place that their tokenizer says.
    begins = np.cumsum([0, *(len(each) + 1 for each in words[:-1])]).tolist()
    places = [begin + (text[begin] == ' ') if end > begin else -1 for begin, end in offsets]
    tags = [model.config.id2label[int(logits_TC[places.index(b)].argmax())] for b in begins]
    assert line['prediction'] == tags
    assert len(line.get('entities', ())) == (
      len(tag_schemes.entities(tags)) if run.facts['scheme'] != 'plain' else 0
    )
  assert len({tag for line in lines for tag in line['prediction']}) > 1


def their_windows(folder, row, stride, questions):
  """Yields (start_T, finish_T, [place in the context or None of each token]) lists of questions."""
  model, tokenizer = loaded(folder, 'question_answering')
  for question, context in questions:
    encoded = tokenizer(
      question,
      context,
      max_length=row,
      truncation='only_second',
      stride=stride,
      return_overflowing_tokens=True,
      return_offsets_mapping=True,
    )
    found = []
    for i in range(len(encoded['input_ids'])):
      names = [name for name in tokenizer.model_input_names if name in encoded]
      inputs = {name: torch.tensor(encoded[name][i])[None] for name in names}
      with torch.no_grad():
        scores = model(**inputs)
      kinds, offsets = encoded.sequence_ids(i), encoded['offset_mapping'][i]
      places = [tuple(at) if kind == 1 else None for kind, at in zip(kinds, offsets)]
      found.append((scores.start_logits[0].numpy(), scores.end_logits[0].numpy(), places))
    yield found


def their_answer(windows, context, facts):
  """Returns the answer that no other beats, by trying all of them."""
  best, text = -np.inf, ''
  for start_T, finish_T, places in windows:
    inside = [t for t, each in enumerate(places) if each]
    for first in inside:
      for last in inside:
        score = float(start_T[first]) + float(finish_T[last])
        if first <= last < first + facts['max_answer_pieces'] and score > best:
          best, text = score, context[places[first][0] : places[last][1]].strip()
  null = min(float(start_T[0]) + float(finish_T[0]) for start_T, finish_T, _ in windows)
  return '' if facts['has_unanswerable'] and null - best > facts['threshold'] else text


def assert_same_answers(run, folder):
  """Compares the scores of all tokens of all windows, and the answers, of a run and of a folder."""
  given, facts = ours.given('question_answering'), run.facts
  row, stride = run.config.data.row_length, run.config.task.question_answering.stride
  found, lines = our_outputs(run, 'question_answering'), run.predict(given)
  theirs = list(their_windows(folder, row, stride, given))
  assert len(found) == sum(map(len, theirs))
  # Of an example they are in the order in which rows were packed.
  begins = lambda window: min(each for each in window[windows_lib.BEGIN] if each >= 0)
  windows = iter(sorted(found, key=lambda each: (each['example'], begins(each))))
  for (_, context), of, line in zip(given, theirs, lines, strict=True):
    for start_T, finish_T, _ in of:
      window = next(windows)
      for name, score_T in ((question_answering.START, start_T), ('finish_BL', finish_T)):
        our_T = window[name][: len(score_T)]
        np.testing.assert_allclose(our_T, score_T, rtol=0, atol=LOGITS)
    assert line['prediction'] == their_answer(of, context, facts)


SAME = {'token_labelling': assert_same_tags, 'question_answering': assert_same_answers}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('family', FAMILIES)
def test_a_run_of_ours_predicts_the_same_there_and_comes_back(family, kind, tmp_path):
  names = builders.PAD_SECOND if family == 'roberta' else builders.NAMES
  ours.write_run(tmp_path / 'run', kind, family, names=names, model__init_std=0.3)
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  SAME[kind](mlm_jax.open_run(tmp_path / 'run'), tmp_path / 'to')
  importing.run(tmp_path / 'to', tmp_path / 'again', **QUIET)
  SAME[kind](mlm_jax.open_run(tmp_path / 'again'), tmp_path / 'to')
  exporting.run(tmp_path / 'again', tmp_path / 'back', **QUIET)
  interop.assert_back(tmp_path / 'to', tmp_path / 'back')


@pytest.mark.parametrize(
  'case, kind',
  [
    (case, kind)
    for kind, end in (('token_labelling', 'labels'), ('question_answering', 'answers'))
    for case in interop.CASES
    if case.endswith(end)
  ],
)
def test_a_model_of_theirs_predicts_the_same_here_and_goes_back(case, kind, tmp_path):
  tags = ours.TAGS if kind == 'token_labelling' else ['LABEL_0', 'LABEL_1']
  named = {str(i): name for i, name in enumerate(tags)}
  theirs = interop.their_model(case, id2label=named, label2id={})
  interop.write(theirs, tmp_path / 'theirs')
  if kind == 'question_answering' and theirs.config.model_type in ('roberta', 'camembert'):
    _put_two_separators(tmp_path / 'theirs', tmp_path)
  importing.run(tmp_path / 'theirs', tmp_path / 'run', **QUIET)
  run = mlm_jax.open_run(tmp_path / 'run')
  exporting.run(tmp_path / 'run', tmp_path / 'back', **QUIET)
  interop.assert_back(tmp_path / 'theirs', tmp_path / 'back')
  SAME[kind](run, tmp_path / 'back')


def _put_two_separators(folder, tmp_path):
  """Gives a folder a tokenizer that puts pairs together as those of RoBERTa do."""
  ours.write_run(tmp_path / 'other', 'question_answering', 'roberta', names=builders.PAD_SECOND)
  exporting.run(tmp_path / 'other', tmp_path / 'files', **QUIET)
  for name in ('tokenizer.json', 'tokenizer_config.json', 'special_tokens_map.json'):
    shutil.copy(tmp_path / 'files' / name, folder)
  (folder / 'vocab.txt').unlink()


def test_what_is_ours_survives_saving_there(tmp_path):
  ours.write_run(tmp_path / 'run', 'question_answering', threshold=-0.75)
  exporting.run(tmp_path / 'run', tmp_path / 'to', **QUIET)
  for each in loaded(tmp_path / 'to', 'question_answering'):
    each.save_pretrained(tmp_path / 'saved')
  importing.run(tmp_path / 'saved', tmp_path / 'again', **QUIET)
  run, again = (mlm_jax.open_run(tmp_path / name) for name in ('run', 'again'))
  assert again.facts == run.facts and again.facts['threshold'] == -0.75
