"""Figures as SVG, for a page that colours them: learning curves, and the response to a setting."""

from collections.abc import Iterable
from collections.abc import Sequence
import math

from mlm_jax.report import statistics
from mlm_jax.report.markup import Markup
from mlm_jax.report.markup import tag
from mlm_jax.report.sweep_results import Sweep

HEIGHT = 320  # pixels, as all sizes here
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 26, 40  # above the axes stands what y is
# Share of the training whose losses may leave the frame: early ones would flatten the rest.
_SETTLED = 0.4

# A curve: (x, least, mean, most).
Line = list[tuple[float, float, float, float]]


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
    self._xs, self._ys = widened(*xs, 0.02), widened(*ys, 0.05)

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

  def curve(self, name: str, line: Line, number: int, class_: str = 'arm') -> Markup:
    """Returns a curve with its band and its dots; its colour is that of `number`."""
    means = [(x, mean) for x, _, mean, _ in line]
    # There along the least and back along the most.
    ends = [(x, low) for x, low, *_ in line] + [(x, high) for x, *_, high in reversed(line)]
    has_band = any(low < high for _, low, _, high in line)
    return tag(
      'g',
      tag('path', d=self.path(ends, close=True), class_='band') if has_band else '',
      tag('path', d=self.path(means), class_='line'),
      *(self.dot(x, mean, 3, name) for x, mean in means),
      class_=class_,
      data_arm=number,
      data_name=name,
    )

  def dot(self, x: float, y: float, radius: float, name: str) -> Markup:
    """Returns a dot that says what it is of, where, and its value."""
    where, value = f'{self._labels[0]} {short(x)}', f'{y:.4f}'
    return tag(
      'circle',
      tag('title', f'{name}, {where}: {value}'),
      cx=self.x(x),
      cy=self.y(y),
      r=radius,
      data_x=where,  # read by report.js
      data_y=value,
    )

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
      # Where values are read: report.js moves it.
      tag('line', x1=0, x2=0, y1=_TOP, y2=HEIGHT - _BOTTOM, class_='cursor'),
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
      tag('text', self._labels[1], x=4, y=13),
    ]
    return tag('g', *parts)


def curves(sweep: Sweep, width: int, arms: Sequence[str]) -> Markup | None:
  """Returns the figure of held-out loss over the training, or None without two points.

  `arms` are those whose losses can be compared.
  """
  lines = {arm: points for arm in arms if (points := line(sweep, arm))}
  frame = fitted(
    f'curves{width}',
    width,
    list(lines.values()),
    (x_label(sweep), curve_label(sweep)),
  )
  if frame is None:
    return None
  drawn = [
    frame.curve(arm, of_arm, sweep.arms.index(arm), 'arm base' if arm == sweep.baseline else 'arm')
    for arm, of_arm in lines.items()
  ]
  score = 'Held-out reference loss'
  if sweep.fine_tunes:
    score = sweep.curve_score.replace('_', ' ').capitalize()
  return frame.svg(f'{score} of each arm over the training', *drawn)


def fitted(name: str, width: int, lines: Sequence[Line], labels: tuple[str, str]) -> Frame | None:
  """Returns the Frame of curves over the training, None where they have less than two points."""
  # Fitted to all of them together, so that hiding one does not move the others.
  points = [point for line in lines for point in line]
  last = max((x for x, *_ in points), default=0)
  settled = [point for point in points if point[0] >= _SETTLED * last]
  if len({x for x, *_ in points}) < 2:
    return None
  ys = min(low for _, low, _, _ in settled), max(high for *_, high in settled)
  return Frame(name, width, (0, last), ys, labels)


def x_label(sweep: Sweep) -> str:
  """Returns the label of the x axis of the curves."""
  return 'step' if _same_steps(sweep) else 'share of the training (%)'


def curve_label(sweep: Sweep) -> str:
  """Returns the label of the y axis of the curves, with its unit."""
  if not sweep.fine_tunes:
    return 'held-out loss (nats), reference masks'
  return sweep.curve_score.replace('_', ' ') + (' (nats)' if sweep.score == 'loss' else '')


def score_label(sweep: Sweep) -> str:
  """Returns the label of an axis of final scores, with their unit."""
  unit = ' (nats)' if sweep.score.endswith('loss') else ''
  score = sweep.metric if sweep.fine_tunes else sweep.score
  return f'final {score.replace("_", " ")}{unit}'


def _same_steps(sweep: Sweep) -> bool:
  return len({run.total_steps for run in sweep.runs}) == 1


def line(sweep: Sweep, arm: str) -> Line:
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
    f'response{width}', width, (min(xs), max(xs)), (min(ys), max(ys)), (key, score_label(sweep))
  )
  means = sorted(
    (of_arm[0][0], sum(y for _, y in of_arm) / len(of_arm)) for of_arm in seeds.values() if of_arm
  )
  drawn = [tag('path', d=frame.path(means), class_='trend')]
  for arm, of_arm in seeds.items():
    dots = [frame.dot(x, y, 4, arm) for x, y in of_arm]
    drawn.append(tag('g', *dots, class_='arm', data_arm=sweep.arms.index(arm), data_name=arm))
  return frame.svg(f'Final {sweep.metric.replace("_", " ")} by {key}', *drawn)


def ticks(low: float, high: float, most: int) -> list[float]:
  """Returns up to `most` + 1 round numbers from low to high, and at least three."""
  found: list[float] = []
  # Where round numbers lie badly in the interval, a finer step: two do not show a scale.
  while len(found) < 3:
    found, most = _ticks(low, high, most), most + 1
  return found


def _ticks(low: float, high: float, most: int) -> list[float]:
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


def widened(low: float, high: float, share: float) -> tuple[float, float]:
  """Returns an interval with a margin, never an empty one."""
  margin = (high - low) * share or abs(high) * 0.05 or 1.0
  return low - margin, high + margin
