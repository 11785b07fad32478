"""Where a model is wrong, in tables: by the length of the examples, and the worst ones."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import numpy as np

WORST = 20  # examples of a table at most
_PARTS = 4


def by_length(
  lengths: Sequence[int], score: Callable[[np.ndarray], dict[str, float]]
) -> dict[str, dict[str, float]]:
  """Returns {'LEAST-MOST': {'examples': number, metric: value}}, in quarters of the examples.

  Examples of one length are together, so that there may be fewer parts.

  Args:
    lengths: of each example.
    score: (numbers of examples) -> {metric: value}.
  """
  length_N = np.asarray(lengths)
  edges = np.unique(np.quantile(length_N, np.linspace(0, 1, _PARTS + 1)[1:], method='lower'))
  part_N, found = np.searchsorted(edges, length_N), {}
  for part in np.unique(part_N):
    here = np.flatnonzero(part_N == part)
    least, most = length_N[here].min(), length_N[here].max()
    name = f'{least}-{most}' if least < most else f'{most}'
    found[name] = {'examples': len(here), **score(here)}
  return found


def worst(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
  """Returns the lines with the most `wrong`, of those that have any."""
  wrong = [each for each in lines if each['wrong']]
  return sorted(wrong, key=lambda each: -each['wrong'])[:WORST]
