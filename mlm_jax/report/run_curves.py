"""The losses of a run over its steps, as curves with names."""

import dataclasses
import math
import os

from mlm_jax.report import run_logs
from mlm_jax.training import logs
from mlm_jax.training import workdir as workdir_lib

_ON = 'reference_loss_on_'
GENERAL = 'general_loss'  # of an adaptation, see tasks/adaptation.py
_MOST = 200  # points of a curve of the training, more than a figure can show apart


@dataclasses.dataclass(frozen=True)
class Curve:
  """A loss of a run over its steps, or another score.

  Attributes:
    name: for a legend.
    kind: 'reference', held out under the reference masks, or of the validation examples; 'source',
      of one source; 'general', of general text, and 'allowance', up to which it may rise; 'policy',
      held out under the run's own policy; 'training'.
    points: [(step, loss in nats a token, or a score)], finite ones only.
  """

  name: str
  kind: str
  points: list[tuple[float, float]]


def losses(workdir: str | os.PathLike[str]) -> list[Curve]:
  """Returns the Curves of a run that have points.

  Raises:
    UserError: a log is damaged.
  """
  fields = [('held out, reference masks', 'reference', 'evaluations', 'reference_loss')]
  fields += [
    (f'held out, {each}', 'source', 'evaluations', _ON + each) for each in sources(workdir)
  ]
  fields += [
    ('held out, own masks', 'policy', 'evaluations', 'policy_loss'),
    ('training, own masks', 'training', 'metrics', 'loss'),
  ]
  if run_logs.is_fine_tuned(workdir):
    fields = [
      ('validation', 'reference', 'evaluations', 'validation_loss'),
      ('training', 'training', 'metrics', 'loss'),
    ]
  if GENERAL in {name for line in logs.read_log(workdir, 'evaluations') for name in line}:
    fields.insert(1, ('held out, general text', 'general', 'evaluations', GENERAL))
  curves = [
    Curve(name, kind, _finite(run_logs.values(workdir, log, field)))
    for name, kind, log, field in fields
  ]
  curves = [curve for curve in curves if curve.points]
  return [each for curve in curves for each in (curve, *_allowed(workdir, curve))]


def _allowed(workdir: str | os.PathLike[str], curve: Curve) -> list[Curve]:
  """Returns the Curve of how far a curve of general text may rise, [] for any other."""
  if curve.kind != 'general':
    return []
  config = workdir_lib.read_config(workdir)
  if 'adapt' not in config:
    return []
  limit = curve.points[0][1] + config.adapt.allowance
  ends = [(step, limit) for step, _ in (curve.points[0], curve.points[-1])]
  return [Curve('allowance of general text', 'allowance', ends)]


def validation(workdir: str | os.PathLike[str], metric: str) -> list[Curve]:
  """Returns the Curve of a metric of a fine-tuned run on its validation examples, [] before that.

  Raises:
    UserError: a log is damaged.
  """
  points = _finite(run_logs.values(workdir, 'evaluations', f'validation_{metric}'))
  return [Curve('validation', 'reference', points)] if points else []


def sources(workdir: str | os.PathLike[str]) -> list[str]:
  """Returns the sources that have held-out losses of their own; [] where there is one for all."""
  names = (name for line in logs.read_log(workdir, 'evaluations') for name in line)
  return [name.removeprefix(_ON) for name in dict.fromkeys(names) if name.startswith(_ON)]


def thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
  """Returns the means of equally many neighbours, so that there are few enough points."""
  size = math.ceil(len(points) / _MOST)
  groups = [points[i : i + size] for i in range(0, len(points), size)] if size else []
  return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def _finite(points: list[tuple[int | float, ...]]) -> list[tuple[float, float]]:
  return [(step, value) for step, value in points if math.isfinite(value)]
