"""Trackio: in the user's cache, or on a server or Space that its own TRACKIO_... variables name."""

from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.training.trackers import interface
from mlm_jax.training.trackers import sent


def start(run: interface.Run) -> interface.Tracker:
  """See interface."""
  import trackio  # pyrefly: ignore[missing-import]

  return _Trackio(trackio, run)


class _Trackio:
  """A run of Trackio."""

  says = ''  # it prints lines of its own

  def __init__(self, trackio: Any, run: interface.Run):
    self._sent = sent.Sent(run.workdir, 'trackio')
    self._run = trackio.init(
      project=run.config.log.project,
      # It knows a run by its name alone, and folders of one name are common.
      name=f'{run.name}-{self._sent.id}',
      group=run.group,
      config=config_lib.flatten(run.config),
      resume='allow',
      embed=False,  # in a notebook, instead of its output
    )

  def write(self, log: str, step: int, scalars: dict[str, float]) -> None:
    """See interface.Tracker."""
    if not self._sent.has(log, step):
      self._run.log({f'{log}/{key}': value for key, value in scalars.items()}, step=step)
      self._sent.add(log, step)

  def finish(self, status: int) -> None:
    """See interface.Tracker; Trackio knows no status."""
    del status
    self._run.finish()
