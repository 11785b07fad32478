"""Correlations beside SciPy's, and the tables of errors."""

import numpy as np
import pytest
from scipy import stats

from mlm_jax.evaluation import similarity


@pytest.mark.parametrize('values', (3, 1000), ids=('ties', 'few ties'))
def test_correlations_are_those_of_scipy(values):
  random = np.random.default_rng(values)
  true_N = random.integers(values, size=60) * 1e-3
  predicted_N = np.round(true_N + random.normal(size=60) * values * 1e-3, 3)
  found = similarity.scores(predicted_N, true_N)
  expected = stats.spearmanr(predicted_N, true_N)[0], stats.pearsonr(predicted_N, true_N)[0]
  assert (found['spearman'], found['pearson']) == pytest.approx(expected, rel=1e-12)
  assert found['mean_correlation'] == pytest.approx(np.mean(expected), rel=1e-12)
  assert found['rmse'] == pytest.approx(((predicted_N - true_N) ** 2).mean() ** 0.5, rel=1e-12)


def test_a_constant_correlates_with_nothing():
  found = similarity.scores(np.ones(4), np.arange(4.0))
  assert found['spearman'] == found['pearson'] == 0


def test_tables_have_each_example_once_and_the_largest_errors_first():
  random = np.random.default_rng(0)
  lines = []
  for n in range(50):
    score, prediction = random.normal(size=2)
    text = {'text': 'a' * int(random.integers(1, 9))} | ({'second_text': 'bc'} if n % 2 else {})
    lines.append(text | {'score': score, 'prediction': prediction, 'error': prediction - score})
  found = similarity.tables(lines)
  lengths = [len(each['text'] + each.get('second_text', '')) for each in lines]
  low = -1
  for name, group in found['by_length'].items():
    most = int(name.split()[2])
    here = [each for each, n in zip(lines, lengths) if low < n <= most]
    pick = lambda field: np.array([each[field] for each in here])
    assert group == {
      'examples': len(here),
      **similarity.scores(pick('prediction'), pick('score')),
    }
    low = most
  assert low == max(lengths)
  errors = sorted((abs(each['error']) for each in lines), reverse=True)[:20]
  assert [abs(each['error']) for each in found['worst']] == errors
