"""Metrics as (sum, weight) until the last division.

A dict {name: (sum, weight)} can be added over micro-batches, steps, devices
and evaluation batches in any grouping; means of means cannot.
"""

from collections.abc import Mapping
import math
from typing import Any

import jax

_LARGEST_EXPONENT = 700.0  # exp of more overflows a double


def add(a: Any, b: Any) -> Any:
  """Returns the sums of two dicts with the same names."""
  return jax.tree.map(lambda x, y: x + y, a, b)


def means(sums: Mapping[str, tuple]) -> dict[str, float]:
  """Returns {name: float}, `perplexity` beside `loss`; weightless names are left out."""
  values = {
    name: float(total) / float(weight) for name, (total, weight) in sums.items() if float(weight)
  }
  if 'loss' in values:
    values['perplexity'] = math.exp(min(values['loss'], _LARGEST_EXPONENT))
  return values
