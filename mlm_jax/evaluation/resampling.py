"""Intervals of scores over other examples of the same kind: a bootstrap over the examples.

Scores such as F1 are no means, but functions of sums over examples; each draw is another weighted
sum. Source: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import numpy as np

_DRAWS, _AT_ONCE, _LEVEL = 1_000, 50, 0.95


@dataclasses.dataclass(frozen=True)
class Sums:
  """What the scores of a split are made of.

  Attributes:
    of_NK: K numbers of each example.
    scores: (their sums [R, K] over R sets of examples) -> {metric: [R]}.
  """

  of_NK: np.ndarray
  scores: Callable[[np.ndarray], dict[str, np.ndarray]]

  @property
  def whole(self) -> dict[str, float]:
    """{metric: value} of all examples."""
    return {name: float(each[0]) for name, each in self.scores(self.of_NK.sum(0)[None]).items()}


def intervals(sums: Sums) -> dict[str, tuple[float, float]]:
  """Returns {metric: (low, high)}, the 95 % interval; the same each time."""
  random, N, found = np.random.default_rng(0), len(sums.of_NK), []
  for _ in range(0, _DRAWS, _AT_ONCE):
    weight_RN = random.multinomial(N, np.full(N, 1 / N), _AT_ONCE)
    found.append(sums.scores(weight_RN @ sums.of_NK))
  edges = (1 - _LEVEL) / 2, (1 + _LEVEL) / 2
  found = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
  return {name: _between(values_R, edges) for name, values_R in found.items()}


def _between(values_R: np.ndarray, edges: tuple[float, float]) -> tuple[float, float]:
  low, high = np.quantile(values_R, edges)
  return float(low), float(high)


def means(values: dict[str, Any]) -> Sums:
  """Returns the Sums of {metric: number of each example}, NaN of those that it is not of."""
  value_NK = np.array(list(values.values()), np.float64).T
  is_NK = np.isfinite(value_NK)
  K = len(values)
  return Sums(
    np.concatenate([np.where(is_NK, value_NK, 0), is_NK], axis=1),
    lambda sum_RX: dict(zip(values, ratio(sum_RX[:, :K], sum_RX[:, K:]).T)),
  )


def ratio(of: np.ndarray, to: np.ndarray) -> np.ndarray:
  """Returns of / to, 0 where that is 0 / 0."""
  return np.where(to > 0, of / np.where(to > 0, to, 1), 0.0)


def by_class(hits_NC: np.ndarray, predicted_NC: np.ndarray, true_NC: np.ndarray) -> np.ndarray:
  """Returns [N, 3 C], from which `parted` takes them."""
  return np.concatenate([hits_NC, predicted_NC, true_NC], axis=1).astype(np.float64)


def parted(sums_RX: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns hits, predicted and true [R, C] each."""
  hits_RC, predicted_RC, true_RC = np.split(sums_RX, 3, axis=1)
  return hits_RC, predicted_RC, true_RC


def f1(hits: np.ndarray, predicted: np.ndarray, true: np.ndarray) -> np.ndarray:
  """Returns the harmonic mean of precision and recall, 0 where there is neither."""
  return ratio(2 * hits, predicted + true)


def one_label(sums_RX: np.ndarray) -> dict[str, np.ndarray]:
  """Returns accuracy, macro-F1 and Matthews' correlation of examples with one label each.

  Source: Gorodkin (2004), Comparing two K-category assignments by a K-category correlation
  coefficient.
  """
  hits_RC, predicted_RC, true_RC = parted(sums_RX)
  hits_R, number_R = hits_RC.sum(1), true_RC.sum(1)
  spread = lambda each_RC: number_R**2 - (each_RC**2).sum(1)
  both_R = np.sqrt(spread(predicted_RC) * spread(true_RC))
  return {
    'accuracy': ratio(hits_R, number_R),
    'macro_f1': f1(hits_RC, predicted_RC, true_RC).mean(1),
    'matthews': ratio(hits_R * number_R - (predicted_RC * true_RC).sum(1), both_R),
  }
