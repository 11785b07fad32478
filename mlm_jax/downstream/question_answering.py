"""Extractive question answering: the part of a context that answers a question, if one does."""

from collections.abc import Callable
from collections.abc import Sequence
import itertools
from typing import Any

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import models
from mlm_jax.data import tokenizers
from mlm_jax.data.examples import question_answering as examples_lib
from mlm_jax.data.examples import store
from mlm_jax.data.examples import windows
from mlm_jax.evaluation import answer_errors
from mlm_jax.evaluation import answers
from mlm_jax.evaluation import resampling
from mlm_jax.evaluation import squad
from mlm_jax.models.architecture import Architecture
from mlm_jax.objectives import finetuning
from mlm_jax.objectives import question_answering

Example = examples_lib.Example
read, stream, unlabelled = examples_lib.read, examples_lib.stream, examples_lib.unlabelled
_ROUNDED = 6  # digits of what is written down


def check(task: Any) -> None:
  if not task.second_text:
    raise config_lib.UserError(
      "config.task.second_text = '': must be the column of the context, such as context, where "
      'config.task.name is question_answering; config.task.text is that of the question'
    )


def key(example: Example) -> tuple[str, str]:
  return example.question, example.context


def group(example: Example) -> str:
  """Returns what examples share that are kept on one side when validation is split off."""
  return example.context


def facts(task: Any, training: Sequence[Example]) -> dict[str, Any]:
  """Returns what answers are chosen by.

  Returns:
    {'has_unanswerable': whether there may be no answer, 'threshold': above it, the difference of
    the score of no answer and the best one's means that there is none, see `calibrate`, 'n_best',
    'max_answer_pieces': as set}.
  """
  if not any(each.answers for each in training):
    raise config_lib.UserError(
      f'{task.train}: no question has an answer that its context has at the place it says'
    )
  settings = task.question_answering
  return {
    'has_unanswerable': any(each.is_scored and not each.answers for each in training),
    'threshold': 0.0,
    'n_best': settings.n_best,
    'max_answer_pieces': settings.max_answer_pieces,
  }


def calibrate(
  facts: dict[str, Any], validation: Callable[[], tuple[list[dict], Sequence[Example]]]
) -> dict[str, Any]:
  """Returns {'threshold': that with the best F1 on validation}; {} where all have answers.

  Args:
    facts: as said.
    validation: () -> (outputs, examples), of the model.
  """
  if not facts['has_unanswerable']:
    return {}
  outputs, examples = validation()
  scored = [
    (found, each) for found, each in zip(_answers(outputs, facts), examples) if each.is_scored
  ]
  if all(each.answers for _, each in scored):
    return {}
  threshold = squad.best_threshold(
    [each.texts for _, each in scored],
    [_texts(found, each)[0] if found.spans else '' for found, each in scored],
    # No piece of a context, no answer: whatever the threshold is.
    np.array([min(found.null_difference, 1e30) for found, _ in scored]),
  )
  return {'threshold': threshold}


def encode(
  examples: Sequence[Example], config: Any, tokenizer: tokenizers.Tokenizer, facts: dict
) -> store.Encoded:
  settings, seps = config.task.question_answering, models.pair_seps(config.model)
  return windows.encode(examples, tokenizer, config.data, settings, seps)


def head(config: Any, architecture: Architecture, facts: dict) -> finetuning.Head:
  return question_answering.AnswerHead(
    models.span_head(config.model, architecture), architecture.width
  )


def has_pairs(task: Any) -> bool:
  return True


def metrics(task: Any) -> dict[str, str]:
  return squad.METRICS


def score(outputs: list[dict], examples: Sequence[Example], facts: dict) -> dict[str, float]:
  """Returns exact match and F1, see squad.scores; without answers that are known it is nothing."""
  scored = [
    (each, _predicted(found, each, facts)[0])
    for found, each in zip(_answers(outputs, facts), examples)
    if each.is_scored
  ]
  return squad.scores([each.texts for each, _ in scored], [text for _, text in scored])


def _answers(outputs: list[dict], facts: dict) -> list[answers.Answers]:
  """Returns the answers.Answers of each example, from the outputs of its windows."""
  names = (question_answering.START, question_answering.FINISH, windows.BEGIN, windows.END)
  return [
    answers.best(
      [answers.Window(*(each[name] for name in names)) for each in of],
      facts['n_best'],
      facts['max_answer_pieces'],
    )
    for _, of in itertools.groupby(outputs, key=lambda each: each['example'])
  ]


def _texts(found: answers.Answers, example: Example) -> list[str]:
  return [example.context[begin:end] for (begin, end), _ in found.spans]


def _predicted(
  found: answers.Answers, example: Example, facts: dict
) -> tuple[str, tuple[int, int], float]:
  """Returns (the answer, its place, its score); '' at (-1, -1) where there is none."""
  is_none = facts['has_unanswerable'] and found.null_difference > facts['threshold']
  if is_none or not found.spans:
    return '', (-1, -1), found.null_score
  place, best = found.spans[0]
  return example.context[place[0] : place[1]], place, best


def predictions(
  outputs: list[dict], examples: Sequence[Example], facts: dict
) -> list[dict[str, Any]]:
  """Returns {id, question, answers, f1, exact_match, prediction, start, end, score, probability,
  null_score_difference, n_best} of each example: id, answers and what follows from them, and the
  difference, where there are such.
  """
  return [
    _line(found, each, facts)
    for found, each in zip(_answers(outputs, facts), examples, strict=True)
  ]


def _line(found: answers.Answers, example: Example, facts: dict) -> dict[str, Any]:
  text, (begin, end), best = _predicted(found, example, facts)
  choices = [(place, example.context[slice(*place)], score) for place, score in found.spans]
  if facts['has_unanswerable'] or not choices:
    choices.append(((-1, -1), '', found.null_score))
  choices.sort(key=lambda each: -each[2])
  probability_N = answers.probabilities(score for *_, score in choices)
  listed = [
    {'text': each, 'start': place[0], 'probability': round(float(p), _ROUNDED)}
    for (place, each, _), p in zip(choices, probability_N)
  ]
  line: dict[str, Any] = {'id': example.id} if example.id else {}
  line['question'] = example.question
  if example.is_scored:
    line['answers'] = list(example.texts)
    line['f1'] = round(squad.f1(example.texts, text), _ROUNDED)
    line['exact_match'] = squad.exact_match(example.texts, text)
  line |= {'prediction': text, 'start': begin, 'end': end, 'score': round(best, _ROUNDED)}
  line['probability'] = next(
    each['probability'] for each in listed if (each['start'], each['text']) == (begin, text)
  )
  if facts['has_unanswerable'] and found.spans:
    line['null_score_difference'] = round(found.null_difference, _ROUNDED)
  return line | {'n_best': listed}


def errors(predictions: list[dict[str, Any]], facts: dict) -> dict[str, Any]:
  """Returns {'threshold'} where it is used, and what answer_errors.tables says."""
  used = {'threshold': facts['threshold']} if facts['has_unanswerable'] else {}
  return used | answer_errors.tables([each for each in predictions if 'answers' in each])


def sums(predictions: list[dict[str, Any]], facts: dict) -> resampling.Sums:
  """Returns what the scores are made of; see downstream.sums."""
  lines = [each for each in predictions if 'answers' in each]
  has_N = np.array([bool(each['answers']) for each in lines])
  values = {name: np.array([each[name] for each in lines]) for name in ('exact_match', 'f1')}
  if has_N.any() and not has_N.all():
    for kind, which_N in (('has_answer', has_N), ('no_answer', ~has_N)):
      values |= {
        f'{kind}_{name}': np.where(which_N, values[name], np.nan) for name in ('exact_match', 'f1')
      }
  return resampling.means(values)
