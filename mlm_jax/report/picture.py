"""A sweep as one picture, for a paper or a README: curves of the arms, final scores of the runs."""

from collections.abc import Sequence
import io

import matplotlib
import matplotlib.figure

from mlm_jax.report import figures
from mlm_jax.report import sweep_results


def render(sweep: sweep_results.Sweep, arms: Sequence[str]) -> bytes:
  """Returns the bytes of a PNG; `arms` are those whose losses can be compared."""
  # Names are shown as they are, not read as mathematics between two dollar signs.
  with matplotlib.rc_context({'text.parse_math': False}):
    return _rendered(sweep, arms)


def _rendered(sweep: sweep_results.Sweep, arms: Sequence[str]) -> bytes:
  figure = matplotlib.figure.Figure(figsize=(9, 0.35 * len(arms) + 2.4), layout='constrained')
  left, right = figure.subplots(1, 2, width_ratios=(3, 2))
  # The upper tenth of the scale is a yellow that is hard to see on white.
  colors = {
    arm: matplotlib.colormaps['viridis'](n / max(1, len(arms) - 1) * 0.9)
    for n, arm in enumerate(arms)
  }
  for arm in arms:
    if line := figures.line(sweep, arm):
      x, low, mean, high = zip(*line)
      left.plot(x, mean, color=colors[arm], label=arm)
      left.fill_between(x, low, high, color=colors[arm], alpha=0.2, linewidth=0)
  left.set(xlabel=figures.x_label(sweep), ylabel='held-out loss (nats), reference masks')
  left.grid(alpha=0.3)
  for n, arm in enumerate(arms):
    losses = [
      loss for run in sweep.of(arm, 'done') if (loss := run.values.get(sweep.metric)) is not None
    ]
    right.plot(losses, [n] * len(losses), 'o', color=colors[arm], alpha=0.7)
  right.set(xlabel=f'final {sweep.score}, a dot a run', yticks=range(len(arms)), yticklabels=arms)
  right.invert_yaxis()
  right.grid(axis='x', alpha=0.3)
  drawn = io.BytesIO()
  # Without the version of matplotlib in it, the same runs give the same bytes.
  figure.savefig(drawn, format='png', dpi=110, metadata={'Software': None})
  return drawn.getvalue()
