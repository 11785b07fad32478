"""The training curve of runs as a picture."""

from collections.abc import Sequence
import os
import pathlib

import matplotlib
import matplotlib.figure

from mlm_jax import config as config_lib
from mlm_jax.report import run_logs


def draw(workdirs: Sequence[str | os.PathLike[str]], path: str | os.PathLike[str]) -> None:
  """Writes a picture of the loss over the steps of each run; PNG, SVG or PDF by suffix.

  Solid: held-out loss under the reference masks. Pale: training loss under the run's own policy.

  Raises:
    UserError: no such folder, a run without a log, or the picture cannot be written there.
  """
  if pathlib.Path(path).suffix not in ('.png', '.svg', '.pdf'):
    raise config_lib.UserError(f'--out={path}: must end in .png, .svg or .pdf')
  # Names are shown as they are, not read as mathematics between two dollar signs. A fixed salt for
  # the ids in an SVG, so that the same runs give the same bytes.
  with matplotlib.rc_context({'text.parse_math': False, 'svg.hashsalt': 'mlm_jax'}):
    figure = _drawn(workdirs)
    try:
      figure.savefig(path, dpi=120)
    except OSError as error:
      raise config_lib.UserError(
        f'--out={path}: cannot be written ({error.strerror or error}); '
        'name a file in a folder that is there'
      ) from None


def _drawn(workdirs: Sequence[str | os.PathLike[str]]) -> matplotlib.figure.Figure:
  """Returns the figure of `draw`."""
  # Not through pyplot, which needs a display on some machines and keeps figures alive.
  figure = matplotlib.figure.Figure(figsize=(7, 4), layout='constrained')
  axes = figure.subplots()
  for number, workdir in enumerate(workdirs):
    if not pathlib.Path(workdir).is_dir():
      raise config_lib.UserError(f'no such folder: {workdir}')
    training = run_logs.values(workdir, 'metrics', 'loss')
    validation = run_logs.values(workdir, 'evaluations', 'reference_loss')
    if not training:
      raise config_lib.UserError(f'{workdir} has no metrics.jsonl with a loss in it')
    name, color = pathlib.Path(workdir).name, f'C{number}'
    axes.plot(
      *zip(*training), color=color, alpha=0.35, linewidth=1, label=f'{name}: training, own policy'
    )
    if validation:
      axes.plot(
        *zip(*validation), color=color, marker='.', label=f'{name}: held out, reference masks'
      )
  axes.set(xlabel='step', ylabel='masked loss (nats a token)')
  axes.grid(alpha=0.3)
  axes.legend()
  return figure
