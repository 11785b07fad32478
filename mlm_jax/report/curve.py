"""The training curve of runs as a picture."""

from collections.abc import Sequence
import os
import pathlib
from typing import Any

import matplotlib.figure

from mlm_jax import config as config_lib
from mlm_jax.report import picture
from mlm_jax.report import run_curves
from mlm_jax.report import run_logs
from mlm_jax.report import task_scores
from mlm_jax.training import workdir as workdir_lib

# How a curve is drawn, by its kind; those under a run's own masks held out are left to the page.
_STYLES: dict[str, dict[str, Any]] = {
  'training': {'alpha': 0.35, 'linewidth': 1},
  'reference': {'marker': '.'},
  'source': {'linestyle': '--', 'linewidth': 1},
  'general': {'linestyle': '-.', 'marker': '.'},
  'allowance': {'linestyle': ':', 'linewidth': 1},
}


def render(workdirs: Sequence[str | os.PathLike[str]], kind: str) -> bytes:
  """Returns a picture of the losses over the steps of each run; `kind` is one of picture.KINDS.

  Solid: held-out loss under the reference masks. Dashed, of a single run: that of each source.
  Dash-dotted, of an adaptation: that of general text, and dotted how far it may rise.
  Pale: training loss under the run's own policy. Of fine-tuned runs: the losses, and beside them
  the validation metric that chooses the checkpoint.

  Raises:
    UserError: no such folder, or a run without a log.
  """
  with picture.style():
    return picture.saved(_drawn(workdirs), kind, dpi=120)


def _drawn(workdirs: Sequence[str | os.PathLike[str]]) -> matplotlib.figure.Figure:
  """Returns the figure of `render`."""
  for workdir in workdirs:
    if not pathlib.Path(workdir).is_dir():
      raise config_lib.UserError(f'no such folder: {workdir}')
  # Not through pyplot, which needs a display on some machines and keeps figures alive.
  figure = matplotlib.figure.Figure(figsize=(7, 4), layout='constrained')
  if not run_logs.is_fine_tuned(workdirs[0]):
    _losses(figure.subplots(), workdirs, 'masked loss (nats a token)')
    return figure
  figure.set_size_inches(10, 4)
  left, right = figure.subplots(1, 2)
  _losses(left, workdirs, 'loss (nats)')
  ranks = [task_scores.ranks(workdir_lib.read_config(each)) for each in workdirs]
  for number, (workdir, metric) in enumerate(zip(workdirs, ranks)):
    for curve in run_curves.validation(workdir, metric):
      label = f'{run_logs.name(workdir)}: {metric.replace("_", " ")}'
      right.plot(*zip(*curve.points), color=f'C{number}', marker='.', label=label)
  names = ', '.join(dict.fromkeys(each.replace('_', ' ') for each in ranks))
  right.set(xlabel='step', ylabel=f'validation {names}')
  right.grid(alpha=0.3)
  if right.lines:
    right.legend()
  return figure


def _losses(axes: Any, workdirs: Sequence[str | os.PathLike[str]], label: str) -> None:
  """Draws the losses of runs."""
  for number, workdir in enumerate(workdirs):
    # Sources of several runs would be too many lines to tell apart.
    kinds = [each for each in _STYLES if each != 'source' or len(workdirs) == 1]
    curves = [each for each in run_curves.losses(workdir) if each.kind in kinds]
    if not any(each.kind == 'training' for each in curves):
      raise config_lib.UserError(f'{workdir} has no metrics.jsonl with a loss in it')
    for n, curve in enumerate(curves):
      # The sources follow the curve of all of them.
      color = f'C{n if curve.kind == "source" else number}'
      name = f'{run_logs.name(workdir)}: {curve.name}'
      axes.plot(*zip(*curve.points), color=color, label=name, **_STYLES[curve.kind])
  axes.set(xlabel='step', ylabel=label)
  axes.grid(alpha=0.3)
  axes.legend()
