"""Small figures of intervals, for the cells of a table."""

from collections.abc import Iterable
from collections.abc import Sequence

from mlm_jax.report import figures
from mlm_jax.report import statistics
from mlm_jax.report.markup import Markup
from mlm_jax.report.markup import tag


class Intervals:
  """Intervals of differences on one scale: a small figure for each, and their axis."""

  WIDTH, _HEIGHT = 200, 26

  def __init__(self, differences: Sequence[statistics.Difference]):
    ends = [0.0]  # always inside: the line that a reader looks for
    for each in differences:
      ends += [
        end
        for end in (each.estimate.low, each.estimate.mean, each.estimate.high)
        if end is not None
      ]
    # With few seeds an interval can be far wider than all differences: it may leave the frame.
    seen = [abs(value) for each in differences for value in each.values.values()]
    most = 6 * max(seen, default=1.0) or 1.0
    self._low, self._high = figures.widened(max(min(ends), -most), min(max(ends), most), 0.06)

  def x(self, value: float) -> float:
    """Returns the place of a value, pixels from the left; the edge for one outside the frame."""
    inside = min(max(value, self._low), self._high)
    return round((inside - self._low) / (self._high - self._low) * self.WIDTH, 1)

  def one(self, difference: statistics.Difference) -> Markup:
    """Returns the figure of one Difference: its interval, its mean and the pairs."""
    middle, mean = self._HEIGHT / 2, difference.estimate
    parts = [tag('line', x1=self.x(0), x2=self.x(0), y1=0, y2=self._HEIGHT, class_='zero')]
    if mean.low is not None and mean.high is not None:
      ends = f'M{self.x(mean.low)} {middle}L{self.x(mean.high)} {middle}'
      parts.append(tag('path', d=ends, class_='interval'))
    parts += [
      tag('circle', cx=self.x(value), cy=middle, r=2.5, class_='pair')
      for value in difference.values.values()
    ]
    if mean.mean is not None:
      parts.append(tag('circle', cx=self.x(mean.mean), cy=middle, r=4.5, class_='mean'))
    return self._svg(self._HEIGHT, parts, 'The interval of the difference')

  def axis(self) -> Markup:
    """Returns the axis below the figures."""
    # Numbers nearer than 12 pixels to an edge would be cut off.
    inner = [
      value
      for value in figures.ticks(self._low, self._high, 4)
      if 12 < self.x(value) < self.WIDTH - 12
    ]
    texts = [
      tag('text', figures.short(value), x=self.x(value), y=13, text_anchor='middle')
      for value in inner
    ]
    return self._svg(18, texts, 'The scale of the differences')

  def _svg(self, height: int, parts: Iterable[Markup], title: str) -> Markup:
    return tag(
      'svg',
      tag('title', title),
      *parts,
      viewBox=f'0 0 {self.WIDTH} {height}',
      width=self.WIDTH,
      height=height,
      role='img',
    )
