"""A sweep as one picture, for a paper or a README: curves of the arms, final scores of the runs."""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import io
from typing import Any

import matplotlib
import matplotlib.figure

from mlm_jax.report import figures
from mlm_jax.report import sweep_results

# Without the version of matplotlib or the time in it, the same runs give the same bytes.
_METADATA: dict[str, dict[str, Any]] = {
  'png': {'Software': None},
  'svg': {'Creator': None, 'Date': None},
  'pdf': {'Creator': None, 'Producer': None, 'CreationDate': None},
}
KINDS = tuple(_METADATA)


def render(
  sweep: sweep_results.Sweep, arms: Sequence[str], kinds: Sequence[str] = KINDS
) -> dict[str, bytes]:
  """Returns {kind: bytes} of the picture; `arms` are those whose losses can be compared."""
  with style():
    # Each of a figure of its own: saving one settles its layout a little more.
    return {kind: saved(_drawn(sweep, arms), kind) for kind in kinds}


@contextlib.contextmanager
def style() -> Iterator[None]:
  """Within it a figure is drawn and saved."""
  # Names are shown as they are, not read as mathematics between two dollar signs. A fixed salt for
  # the ids in an SVG, so that the same runs give the same bytes.
  with matplotlib.rc_context({'text.parse_math': False, 'svg.hashsalt': 'mlm_jax'}):
    yield


def saved(figure: matplotlib.figure.Figure, kind: str, dpi: int = 110) -> bytes:
  """Returns the bytes of a figure, the same ones whenever it is drawn; `kind` is of KINDS."""
  content = io.BytesIO()
  figure.savefig(content, format=kind, dpi=dpi, metadata=_METADATA[kind])
  return content.getvalue()


def _drawn(sweep: sweep_results.Sweep, arms: Sequence[str]) -> matplotlib.figure.Figure:
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
  left.set(xlabel=figures.x_label(sweep), ylabel=figures.curve_label(sweep))
  left.grid(alpha=0.3)
  for n, arm in enumerate(arms):
    losses = [
      loss for run in sweep.of(arm, 'done') if (loss := run.values.get(sweep.metric)) is not None
    ]
    right.plot(losses, [n] * len(losses), 'o', color=colors[arm], alpha=0.7)
  right.set(
    xlabel=f'{figures.score_label(sweep)}, a dot a run', yticks=range(len(arms)), yticklabels=arms
  )
  right.invert_yaxis()
  right.grid(axis='x', alpha=0.3)
  return figure
