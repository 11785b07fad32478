"""Metrics: sums and weights, in any grouping."""

import numpy as np
import pytest

from mlm_jax.core import metrics


def test_metrics_do_not_depend_on_how_sums_are_grouped():
  random = np.random.default_rng(0)
  parts = [{'loss': (random.uniform(1, 9), float(random.integers(0, 5)))} for _ in range(6)]
  parts = [{'loss': (total * weight, weight)} for part in parts for total, weight in part.values()]
  left = parts[0]
  for part in parts[1:]:
    left = metrics.add(left, part)
  right = metrics.add(
    metrics.add(metrics.add(parts[5], parts[4]), parts[3]),
    metrics.add(parts[2], metrics.add(parts[1], parts[0])),
  )
  assert metrics.means(left) == pytest.approx(metrics.means(right), rel=1e-12)
  assert metrics.means({'loss': (0.0, 0.0)}) == {}
