"""Metrics as (sum, weight) until the last division.

A dict {name: (sum, weight)} can be added over micro-batches, steps, devices
and evaluation batches in any grouping; means of means cannot.
"""

import jax


def add(a: dict, b: dict) -> dict:
  """Returns the sums of two dicts with the same names."""
  return jax.tree.map(lambda x, y: x + y, a, b)


def means(sums: dict) -> dict[str, float]:
  """Returns {name: sum / weight}; names without weight are left out."""
  # A metric may have nothing to count, such as the accuracy of a class that no batch had.
  return {
    name: float(total) / float(weight) for name, (total, weight) in sums.items() if float(weight)
  }
