"""The axes of figures."""

import random

from mlm_jax.report import figures


def test_an_axis_has_three_round_labels_or_more_inside_it():
  draw = random.Random(0)
  for _ in range(2000):
    low = draw.uniform(-5, 5)
    high = low + 10 ** draw.uniform(-4, 4)
    ticks = figures.ticks(low, high, draw.choice((4, 6)))
    # Ticks are rounded to 12 digits.
    assert 3 <= len(ticks) <= 9 and low - 1e-9 <= ticks[0] and ticks[-1] <= high + 1e-9
    if low < 0 < high:
      assert 0 in ticks
