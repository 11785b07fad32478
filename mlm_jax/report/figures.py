"""Figures of a sweep as SVG, for a page that colours them: learning curves, response, intervals."""

from collections.abc import Iterable
from collections.abc import Sequence
import math

from mlm_jax.report import statistics
from mlm_jax.report.markup import Markup
from mlm_jax.report.markup import tag
from mlm_jax.report.sweep_results import Sweep

HEIGHT = 320  # pixels, as all sizes here
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 10, 40
# Share of the training whose losses may leave the frame: early ones would flatten the rest.
_SETTLED = 0.4

# A curve: (x, least, mean, most).
_Line = list[tuple[float, float, float, float]]


class Frame:
  """Axes with their scales, and the figure that they make with what is drawn inside.

  Args:
    name: unique on the page.
    width: of the figure, pixels.
    xs, ys: (least, most) of the values.
    labels: of the two axes.
  """

  def __init__(
    self,
    name: str,
    width: int,
    xs: tuple[float, float],
    ys: tuple[float, float],
    labels: tuple[str, str],
  ):
    self._name, self._width, self._labels = name, width, labels
    self._xs, self._ys = _widened(*xs, 0.02), _widened(*ys, 0.05)

  def x(self, value: float) -> float:
    """Returns the place of a value on the x axis, pixels from the left."""
    low, high = self._xs
    return round(_LEFT + (value - low) / (high - low) * (self._width - _LEFT - _RIGHT), 1)

  def y(self, value: float) -> float:
    """Returns the place of a value on the y axis, pixels from the top."""
    low, high = self._ys
    return round(HEIGHT - _BOTTOM - (value - low) / (high - low) * (HEIGHT - _TOP - _BOTTOM), 1)

  def path(self, points: Iterable[tuple[float, float]], close: bool = False) -> str:
    """Returns the `d` of a path through (x, y) points."""
    return 'M' + 'L'.join(f'{self.x(x)} {self.y(y)}' for x, y in points) + ('Z' if close else '')

  def svg(self, title: str, *drawn: Markup) -> Markup:
    """Returns the figure: axes, and what is drawn inside them."""
    width, height = self._width - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    # A few pixels more than the axes, so that dots at the edge are whole.
    seen = tag('rect', x=_LEFT, y=_TOP - 4, width=width + 6, height=height + 4)
    clip = tag('clipPath', seen, id=self._name)
    return tag(
      'svg',
      tag('title', title),
      clip,
      self._axes(),
      tag('g', *drawn, clip_path=f'url(#{self._name})'),
      viewBox=f'0 0 {self._width} {HEIGHT}',
      width=self._width,
      height=HEIGHT,
      role='img',
      class_='chart',
    )

  def _axes(self) -> Markup:
    bottom, right = HEIGHT - _BOTTOM, self._width - _RIGHT
    parts = []
    for value in ticks(*self._ys, 6):
      parts += [
        tag('line', x1=_LEFT, x2=right, y1=self.y(value), y2=self.y(value), class_='grid'),
        tag('text', short(value), x=_LEFT - 7, y=self.y(value) + 4, text_anchor='end'),
      ]
    for value in ticks(*self._xs, 6 if self._width > 500 else 4):
      parts += [
        tag('line', x1=self.x(value), x2=self.x(value), y1=bottom, y2=bottom + 5, class_='axis'),
        tag('text', short(value), x=self.x(value), y=bottom + 18, text_anchor='middle'),
      ]
    parts += [
      tag('line', x1=_LEFT, x2=right, y1=bottom, y2=bottom, class_='axis'),
      tag('text', self._labels[0], x=(_LEFT + right) / 2, y=HEIGHT - 5, text_anchor='middle'),
    ]
    return tag('g', *parts)


def curves(sweep: Sweep, width: int, arms: Sequence[str]) -> Markup | None:
  """Returns the figure of held-out loss over the training, or None without two points.

  `arms` are those whose losses can be compared.
  """
  # The frame is fitted to all arms together, so that hiding one does not move the others.
  lines = {arm: points for arm in arms if (points := line(sweep, arm))}
  points = [point for line in lines.values() for point in line]
  last = max((x for x, *_ in points), default=0)
  settled = [point for point in points if point[0] >= _SETTLED * last]
  if len({x for x, *_ in points}) < 2:
    return None
  frame = Frame(
    f'curves{width}',
    width,
    (0, last),
    (min(p[1] for p in settled), max(p[3] for p in settled)),
    (x_label(sweep), 'loss'),
  )
  drawn = [_drawn_line(frame, sweep, arm, line) for arm, line in lines.items()]
  return frame.svg('Held-out reference loss of each arm over the training', *drawn)


def x_label(sweep: Sweep) -> str:
  """Returns the label of the x axis of the curves."""
  return 'step' if _same_steps(sweep) else 'share of the training (%)'


def _same_steps(sweep: Sweep) -> bool:
  return len({run.total_steps for run in sweep.runs}) == 1


def line(sweep: Sweep, arm: str) -> _Line:
  """Returns [(x, least, mean, most)] over an arm's seeds, where all of them have been evaluated.

  The runs are those that are done, or all that have been evaluated where none is done.
  """
  # Arms with one budget may have different steps: then they are drawn by the share of it.
  scale = (lambda run: 1) if _same_steps(sweep) else (lambda run: 100 / run.total_steps)
  runs = sweep.of(arm, 'done') or [run for run in sweep.of(arm) if run.curve]
  of_run = [
    {step * scale(run): loss for step, loss in run.curve if math.isfinite(loss)} for run in runs
  ]
  # Only where every seed has been evaluated: else the mean would jump as seeds come and go.
  shared = sorted(set.intersection(*map(set, of_run))) if of_run else []
  values = [(x, [each[x] for each in of_run]) for x in shared]
  return [(x, min(losses), sum(losses) / len(losses), max(losses)) for x, losses in values]


def _drawn_line(frame: Frame, sweep: Sweep, arm: str, line: _Line) -> Markup:
  # There along the least and back along the most.
  band = [(x, low) for x, low, *_ in line] + [(x, high) for x, *_, high in reversed(line)]
  means = [(x, mean) for x, _, mean, _ in line]
  label = x_label(sweep)
  dots = [_dot(frame, x, mean, 3, f'{arm}, {label} {short(x)}: {mean:.4f}') for x, mean in means]
  return tag(
    'g',
    tag('path', d=frame.path(band, close=True), class_='band'),
    tag('path', d=frame.path(means), class_='line'),
    *dots,
    class_='arm base' if arm == sweep.baseline else 'arm',
    data_arm=sweep.arms.index(arm),
  )


def _dot(frame: Frame, x: float, y: float, radius: float, title: str) -> Markup:
  return tag('circle', tag('title', title), cx=frame.x(x), cy=frame.y(y), r=radius)


def numeric_setting(sweep: Sweep) -> str | None:
  """Returns the setting that is varied if it is the only one and its values are numbers."""
  if len(sweep.varied) != 1:
    return None
  ((key, values),) = sweep.varied.items()
  return key if all(type(value) in (int, float) for value in values) else None


def response(sweep: Sweep, width: int, arms: Sequence[str]) -> Markup | None:
  """Returns the figure of the final score by the varied number, or None without three of them.

  `arms` are those whose losses can be compared.
  """
  # With a second varied setting, points of one x would differ for another reason than the seed.
  key = numeric_setting(sweep)
  if key is None:
    return None
  seeds = {
    arm: [
      (sweep.setting(run, key), run.values[sweep.metric])
      for run in sweep.of(arm, 'done')
      if statistics.is_finite(run.values.get(sweep.metric))
    ]
    for arm in arms
  }
  points = [point for of_arm in seeds.values() for point in of_arm]
  if len({x for x, _ in points}) < 3:
    return None
  xs, ys = zip(*points)
  frame = Frame(
    f'response{width}', width, (min(xs), max(xs)), (min(ys), max(ys)), (key, sweep.score)
  )
  means = sorted(
    (of_arm[0][0], sum(y for _, y in of_arm) / len(of_arm)) for of_arm in seeds.values() if of_arm
  )
  drawn = [tag('path', d=frame.path(means), class_='trend')]
  for arm, of_arm in seeds.items():
    dots = [_dot(frame, x, y, 4, f'{arm}: {y:.4f}') for x, y in of_arm]
    drawn.append(tag('g', *dots, class_='arm', data_arm=sweep.arms.index(arm)))
  return frame.svg(f'Final {sweep.metric.replace("_", " ")} by {key}', *drawn)


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
    self._low, self._high = _widened(max(min(ends), -most), min(max(ends), most), 0.06)

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
      value for value in ticks(self._low, self._high, 4) if 12 < self.x(value) < self.WIDTH - 12
    ]
    texts = [
      tag('text', short(value), x=self.x(value), y=13, text_anchor='middle') for value in inner
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


def ticks(low: float, high: float, most: int) -> list[float]:
  """Returns up to `most` + 1 round numbers from low to high."""
  raw = (high - low) / most
  power = 10.0 ** math.floor(math.log10(raw))
  # The margins of 1e-9 keep a tick that float error would push beyond an end.
  step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9))
  first = math.ceil(low / step - 1e-9)
  return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
  """Returns a number in few characters: 0.15, 2,000, 40k."""
  if abs(value) >= 10_000:
    return f'{value / 1000:,.10g}k'
  return f'{value:,.4g}' if abs(value) < 1000 else f'{value:,.0f}'


def _widened(low: float, high: float, share: float) -> tuple[float, float]:
  """Returns an interval with a margin, never an empty one."""
  margin = (high - low) * share or abs(high) * 0.05 or 1.0
  return low - margin, high + margin
