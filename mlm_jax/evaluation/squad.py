"""Exact match and F1 of answers, by the definitions of the official script of SQuAD 2.0.

Source: arXiv:1806.03822 and its evaluate-v2.0.py. For languages without spaces: where a text has a
character of such a script (see data/tokenizers/scripts.py), each of these characters is a word of
its own and all of Unicode's punctuation is taken out, as the scripts of CMRC 2018 and MLQA do for
Chinese. A text without such characters is treated as the official script does.
"""

import collections
from collections.abc import Sequence
import re
import string
import unicodedata

import numpy as np

from mlm_jax.data.tokenizers import scripts

METRICS = {'f1': 'max', 'exact_match': 'max', 'loss': 'min'}
_ARTICLES = re.compile(r'\b(a|an|the)\b')
_ASCII_PUNCTUATION = frozenset(string.punctuation)


def words(answer: str) -> list[str]:
  """Returns the words of an answer that are compared: no capitals, punctuation or articles."""
  text = answer.lower()
  has_unspaced = any(map(scripts.without_spaces, text))
  kept = (c for c in text if c not in _ASCII_PUNCTUATION)
  if has_unspaced:
    kept = (
      f' {c} ' if scripts.without_spaces(c) else c
      for c in kept
      if unicodedata.category(c)[0] != 'P'
    )
  return _ARTICLES.sub(' ', ''.join(kept)).split()


def exact_match(answers: Sequence[str], predicted: str) -> float:
  """Returns 1 where a prediction is one of the answers, () of an unanswerable question; else 0."""
  return float(words(predicted) in _wanted(answers))


def f1(answers: Sequence[str], predicted: str) -> float:
  """Returns the largest F1 over words of a prediction and any of the answers.

  Of nothing and nothing it is 1, of nothing and something 0.
  """
  found = words(predicted)
  return max(_f1(each, found) for each in _wanted(answers))


def _wanted(answers: Sequence[str]) -> list[list[str]]:
  """Returns the words of each answer; those of no answer where none has any."""
  return [each for each in map(words, answers) if each] or [[]]


def _f1(wanted: list[str], found: list[str]) -> float:
  if not wanted or not found:
    return float(wanted == found)
  same = sum((collections.Counter(wanted) & collections.Counter(found)).values())
  # The harmonic mean of precision and recall.
  return 2 * same / (len(wanted) + len(found))


def scores(answers: Sequence[Sequence[str]], predicted: Sequence[str]) -> dict[str, float]:
  """Returns the means over questions, as shares of 1.

  Args:
    answers: of each question; () where it has none.
    predicted: of each question; '' for no answer.

  Returns:
    exact_match and f1; where some questions have answers and others none, those of both kinds
    too: has_answer_exact_match, has_answer_f1, no_answer_exact_match, no_answer_f1.
  """
  found = {
    'exact_match': np.array([exact_match(*each) for each in zip(answers, predicted, strict=True)]),
    'f1': np.array([f1(*each) for each in zip(answers, predicted, strict=True)]),
  }
  has_answer = np.array([bool(each) for each in answers])
  means = {name: float(values.mean()) for name, values in found.items()}
  if has_answer.any() and not has_answer.all():
    for kind, which in (('has_answer', has_answer), ('no_answer', ~has_answer)):
      means |= {f'{kind}_{name}': float(values[which].mean()) for name, values in found.items()}
  return means


def best_threshold(
  answers: Sequence[Sequence[str]], predicted: Sequence[str], null_score_N: np.ndarray
) -> float:
  """Returns the threshold with the best F1: above it, a null score means that there is no answer.

  Args:
    answers: of each question; () where it has none.
    predicted: the best answer of each, had it one.
    null_score_N: how much more the model believes in no answer than in that.
  """
  gain_N = np.array(
    [f1(each, text) - f1(each, '') for each, text in zip(answers, predicted, strict=True)]
  )
  order = np.argsort(null_score_N, kind='stable')
  score_N = np.asarray(null_score_N, np.float64)[order]
  total_N = np.cumsum(gain_N[order])
  # Questions of one score are answered together, or none of them.
  is_last = np.append(score_N[1:] > score_N[:-1], True)
  score_K, total_K = score_N[is_last], total_N[is_last]
  # Answering none is worth 0; of equals the first, which answers least, as the script has it.
  best = int(np.argmax(total_K))
  return float(score_K[best]) if total_K[best] > 0 else float(score_K[0] - 1)
