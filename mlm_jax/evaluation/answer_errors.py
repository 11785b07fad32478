"""Where a model answers badly: by the kind of question, by the length of the answer, the worst."""

import collections
from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

import numpy as np

from mlm_jax.evaluation import squad

_FEWEST = 0.01  # share of the questions that a first word has which is not among the others
_WORST = 20
# Of answers, in words: the last length of each group.
_LENGTHS = {'no answer': 0, '1': 1, '2': 2, '3-4': 4, '5-8': 8, '9 and more': np.inf}


def tables(lines: list[dict[str, Any]]) -> dict[str, Any]:
  """Returns {'by_first_word', 'by_answer_length', 'worst'} of predictions with known answers.

  The first word of a question says what is asked for; those of fewer than 1 % of the questions are
  'others'. The length of an answer is that of the first one, in words of squad.words. The worst
  are those that the model believes in most, of the least F1.

  Args:
    lines: with question, answers, prediction, f1, exact_match and probability.
  """
  count = collections.Counter(map(_first_word, lines))
  is_rare = {word for word, number in count.items() if number < _FEWEST * len(lines)}
  named = lambda line: 'others' if _first_word(line) in is_rare else _first_word(line)
  by_length = _scores(lines, _length)
  worst = sorted(
    (each for each in lines if each['f1'] < 1), key=lambda each: (each['f1'], -each['probability'])
  )
  fields = ('id', 'question', 'answers', 'prediction', 'f1', 'probability')
  return {
    'by_first_word': dict(
      sorted(_scores(lines, named).items(), key=lambda each: -each[1]['questions'])
    ),
    'by_answer_length': {name: by_length[name] for name in _LENGTHS if name in by_length},
    'worst': [{name: each[name] for name in fields if name in each} for each in worst[:_WORST]],
  }


def _first_word(line: dict[str, Any]) -> str:
  # Of a language without spaces it is the first character.
  return next(iter(squad.words(line['question'])), '')


def _length(line: dict[str, Any]) -> str:
  number = len(squad.words(line['answers'][0])) if line['answers'] else 0
  if line['answers'] and not number:
    number = 1  # such as an answer that is an article
  return next(name for name, most in _LENGTHS.items() if number <= most)


def _scores(
  lines: Iterable[dict[str, Any]], kind: Callable[[dict[str, Any]], str]
) -> dict[str, dict[str, float]]:
  """Returns {kind: {'questions', 'f1', 'exact_match'}}, the means of each kind."""
  of = collections.defaultdict(list)
  for each in lines:
    of[kind(each)].append((each['f1'], each['exact_match']))
  return {
    name: {
      'questions': len(found),
      **{
        metric: float(mean) for metric, mean in zip(('f1', 'exact_match'), np.mean(found, axis=0))
      },
    }
    for name, found in of.items()
  }
