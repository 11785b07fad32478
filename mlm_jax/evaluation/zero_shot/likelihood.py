"""Likelihood: pseudo-perplexity and bits per character of texts.

Data: a .txt file with a text a line, or .jsonl files with `text`. Metrics, plain and within words
from left to right: `pseudo_log_likelihood` is the mean over the texts, `pseudo_perplexity` is over
the pieces of all, and `bits_per_character` over their characters, which is comparable between
tokenizers. n is the number of texts, over which errors are taken.

Sources: arXiv:1910.14659, arXiv:2305.10588.
"""

from collections.abc import Sequence
import math
import pathlib

import numpy as np

from mlm_jax import config
from mlm_jax.evaluation import zero_shot

KINDS = ('masked',)
_TASK = 'likelihood'


def read(path: str) -> list[str]:
  """Returns the texts; UserError where there is none."""
  if pathlib.Path(path).suffix != '.txt':
    return [zero_shot.text(record, 'text') for record in zero_shot.records(path)]
  try:
    lines = config.read_bytes(path).decode('utf-8-sig').splitlines()
  except UnicodeDecodeError as error:
    raise config.UserError(f'{path} is not UTF-8 text: {config.one_line(error)}') from None
  found = [line for line in lines if line.strip()]
  if not found:
    raise config.UserError(f'{path} holds no text')
  return found


def score(examples: Sequence[str], scorer: zero_shot.Scorer) -> list[zero_shot.Score]:
  """Returns the scores of all texts."""
  characters = np.array([len(each) for each in examples], np.float64)
  found = []
  for prefix, within_word in (('', False), ('within_word_', True)):
    terms = scorer.text_scores(examples, within_word)
    sums = np.array([each.sum() for each in terms])
    pieces = np.array([len(each) for each in terms], np.float64)
    place = lambda metric: (_TASK, 'all', prefix + metric)
    loss, error = _ratio(-sums, pieces)
    perplexity = math.exp(loss)
    spread = None if error is None else perplexity * error
    bits = _ratio(-sums / math.log(2), characters)
    n = len(examples)
    found += [
      zero_shot.of_values(place('pseudo_log_likelihood'), sums),
      zero_shot.Score(*place('pseudo_perplexity'), perplexity, spread, n),
      zero_shot.Score(*place('bits_per_character'), *bits, n),
    ]
  return found


def _ratio(tops: np.ndarray, bottoms: np.ndarray) -> tuple[float, float | None]:
  """Returns (the ratio of two sums, its standard error over the texts by the delta method)."""
  ratio, n = float(tops.sum() / bottoms.sum()), len(tops)
  if n < 2:
    return ratio, None
  residuals = tops - ratio * bottoms
  return ratio, math.sqrt((residuals**2).sum() * n / (n - 1)) / float(bottoms.sum())
