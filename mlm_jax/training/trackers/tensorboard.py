"""TensorBoard: events in the run's folder, with its settings and evaluations as hyperparameters."""

import json
import time
from typing import Any

from tensorboardX import event_file_writer
from tensorboardX import summary
from tensorboardX.proto import event_pb2
from tensorboardX.proto import plugin_hparams_pb2

from mlm_jax import config as config_lib
from mlm_jax.training.trackers import interface

# Their classes are made when they are imported.
_EVENTS: Any = event_pb2
_HPARAMS: Any = plugin_hparams_pb2
# STATUS_SUCCESS and STATUS_FAILURE of TensorBoard's api.proto. A run that was stopped is none.
_ENDS = {interface.DONE: 1, interface.DIVERGED: 2}


def start(run: interface.Run) -> interface.Tracker:
  """See interface."""
  return _Board(run)


class _Board:
  """Not through SummaryWriter, whose thread dies with a traceback where the disk is full."""

  says = ''

  def __init__(self, run: interface.Run):
    folder = run.workdir / 'tensorboard'
    folder.mkdir(exist_ok=True)
    # The suffix: two starts may come in one second, which is all that the name has of the time.
    self._writer = event_file_writer.EventsWriter(str(folder / 'events'), f'.{run.step}')
    self._step = run.step
    self._settings = _settings(run.config)
    self._evaluations: dict[str, float] = {}
    # TensorBoard forgets what an earlier start wrote from here on.
    self._write(run.step + 1, session_log=_EVENTS.SessionLog(status=_EVENTS.SessionLog.START))
    # Now, so that a run can be told from others while it trains.
    _, settings, _ = summary.hparams(self._settings, {})
    self._write(run.step, summary=settings)
    self._writer.flush()

  def write(self, log: str, step: int, scalars: dict[str, float]) -> None:
    """See interface.Tracker."""
    self._step = step
    for key, value in scalars.items():
      self._write(step, summary=summary.scalar(f'{log}/{key}', value))
    if log == 'evaluations':
      self._evaluations |= {f'{log}/{key}': value for key, value in scalars.items()}
    self._writer.flush()

  def finish(self, status: int) -> None:
    """See interface.Tracker."""
    if status in _ENDS:
      # Which numbers are results is known only now; their values are those written last.
      results, _, end = summary.hparams(self._settings, self._evaluations)
      plugin = end.value[0].metadata.plugin_data
      content = _HPARAMS.HParamsPluginData.FromString(plugin.content)
      content.session_end_info.status = _ENDS[status]
      plugin.content = content.SerializeToString()
      self._write(self._step, summary=results)
      self._write(self._step, summary=end)
    self._writer.close()

  def _write(self, step: int, **what: Any) -> None:
    self._writer.write_event(_EVENTS.Event(step=step, wall_time=time.time(), **what))


def _settings(config: Any) -> dict[str, bool | float | str]:
  """Returns {dotted key: value} of a config; lists as text, since TensorBoard has none."""
  return {
    key: value if isinstance(value, bool | int | float | str) else json.dumps(value)
    for key, value in config_lib.flatten(config).items()
  }
