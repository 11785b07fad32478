"""Metrics as (sum, weight) until the last division.

A dict {name: (sum, weight)} can be added over micro-batches, steps, devices
and evaluation batches in any grouping; means of means cannot.
"""

import math

import jax


def add(a, b):
  """Returns the sums of two dicts with the same names."""
  return jax.tree.map(lambda x, y: x + y, a, b)


def means(sums):
  """Returns {name: float}, `perplexity` beside `loss`; weightless names are left out."""
  values = {
    name: float(total) / float(weight) for name, (total, weight) in sums.items() if float(weight)
  }
  if 'loss' in values:
    values['perplexity'] = math.exp(min(values['loss'], 700.0))
  return values
