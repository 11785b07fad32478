"""The training curve of runs as a picture."""

import pathlib

import matplotlib
import matplotlib.figure

from mlm_jax import config as config_lib
from mlm_jax import workdir as workdir_lib


def draw(workdirs, path):
  """Writes a picture of the loss over the steps of each run; PNG, SVG or PDF by suffix.

  Solid: held-out reference loss. Pale: training loss under the run's own policy.
  """
  if pathlib.Path(path).suffix not in ('.png', '.svg', '.pdf'):
    raise config_lib.UserError(f'--out={path}: must end in .png, .svg or .pdf')
  figure = matplotlib.figure.Figure(figsize=(7, 4), layout='constrained')
  axes = figure.subplots()
  for number, workdir in enumerate(workdirs):
    training = workdir_lib.read_log(workdir, 'metrics')
    held_out = workdir_lib.read_log(workdir, 'evaluations')
    if not training:
      raise config_lib.UserError(f'{workdir} has no metrics.jsonl with a line in it')
    name, color = pathlib.Path(workdir).name, f'C{number}'
    lines = [line for line in training if 'loss' in line]
    axes.plot([line['step'] for line in lines], [line['loss'] for line in lines],
              color=color, alpha=0.35, linewidth=1, label=f'{name}: training, own policy')
    if held_out:
      axes.plot([line['step'] for line in held_out], [line['reference_loss'] for line in held_out],
                color=color, marker='.', label=f'{name}: held out, reference masks')
  axes.set(xlabel='step', ylabel='masked loss (nats a token)')
  axes.grid(alpha=0.3)
  axes.legend()
  with matplotlib.rc_context({'svg.hashsalt': 'mlm_jax'}):
    figure.savefig(path, dpi=120)
