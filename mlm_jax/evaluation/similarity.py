"""How near predicted numbers are to the true ones, in order and in size; where they are not."""

from collections.abc import Sequence
import math
from typing import Any

import numpy as np

METRICS = {
  'spearman': 'max',
  'pearson': 'max',
  'mean_correlation': 'max',
  'rmse': 'min',
  'loss': 'min',
}
_WORST = 20
_GROUPS = 4  # of examples by their length, of about one size


def scores(predicted_N: np.ndarray, true_N: np.ndarray) -> dict[str, float]:
  """Returns Spearman's and Pearson's correlation, their mean, and the root mean squared error.

  Args:
    predicted_N, true_N: numbers of one unit, which is that of `rmse`.
  """
  spearman = pearson(_ranks(predicted_N), _ranks(true_N))
  linear = pearson(predicted_N, true_N)
  return {
    'spearman': spearman,
    'pearson': linear,
    'mean_correlation': (spearman + linear) / 2,
    'rmse': math.sqrt(np.mean(np.square(predicted_N - true_N))),
  }


def pearson(a_N: np.ndarray, b_N: np.ndarray) -> float:
  """Returns Pearson's correlation; that with a constant, which has none, is 0."""
  a_N, b_N = (np.asarray(each, np.float64) - np.mean(each) for each in (a_N, b_N))
  # Of lengths first: a product of small squares would be 0.
  size = np.linalg.norm(a_N) * np.linalg.norm(b_N)
  return float(a_N @ b_N / size) if size else 0.0


def _ranks(values_N: np.ndarray) -> np.ndarray:
  """Returns the ranks of numbers; equal ones share the mean of theirs."""
  _, which_N, counts = np.unique(values_N, return_inverse=True, return_counts=True)
  return (np.cumsum(counts) - (counts - 1) / 2)[which_N]


def tables(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
  """Returns {'by_length', 'worst'} of predictions with known scores.

  Groups by length are quarters of the examples, by the characters of their texts; the worst
  examples are those with the largest errors.

  Args:
    lines: with text, perhaps second_text, score, prediction and error.
  """
  length_N = np.array([len(each['text'] + each.get('second_text', '')) for each in lines])
  bounds = np.unique(np.quantile(length_N, np.arange(1, _GROUPS + 1) / _GROUPS, method='higher'))
  group_N = np.searchsorted(bounds, length_N)
  value = {name: np.array([each[name] for each in lines]) for name in ('prediction', 'score')}
  by_length = {}
  for group, most in enumerate(bounds.tolist()):
    here = group_N == group
    by_length[f'up to {most} characters'] = {
      'examples': int(here.sum()),
      **scores(value['prediction'][here], value['score'][here]),
    }
  worst = sorted(lines, key=lambda each: -abs(each['error']))[:_WORST]
  return {'by_length': by_length, 'worst': list(worst)}
