"""A score on the held-out text, which every run has when it ends."""

from collections.abc import Sequence
import dataclasses
import math
import pathlib
import typing

from mlm_jax import config as config_lib
from mlm_jax.sweeps import judges
from mlm_jax.sweeps import metrics
from mlm_jax.training import logs

if typing.TYPE_CHECKING:
  from mlm_jax.sweeps import planning


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """Judges by a field of evaluations.jsonl, such as the loss under the reference masks."""

  metric: str = 'reference_loss'

  def ready(self, name: str, runs: 'Sequence[planning.Run]') -> judges.Ready:
    """See judges.Judge."""
    direction = metrics.direction(self.metric, None, {run.name: run.config for run in runs})
    return judges.Ready(
      score=self.metric,
      direction=direction,
      asked={'held_out': self.metric},
      same_tokens=True,
      what=f'{self.metric} of held-out text',
      tokens=lambda run: 0.0,
      passes=1,
      judge=self._judge,
    )

  def _judge(
    self, run: 'planning.Run', folder: pathlib.Path, step: int, log: judges.Log
  ) -> dict[str, float]:
    lines = [each for each in logs.read_log(folder, 'evaluations') if each['step'] == step]
    if not lines or self.metric not in lines[-1]:
      raise config_lib.UserError(f'its last evaluation has no {self.metric}')
    value = lines[-1][self.metric]  # null where it is not finite
    return {self.metric: math.nan if value is None else float(value)}
