"""A trace of a few steps, for TensorBoard or xprof."""

from collections.abc import Callable
import pathlib

import jax

STEPS = 5  # of a trace, after as many that are left out: they compile and fill caches


class Trace:
  """Writes a trace of STEPS steps into a folder, beginning before step `first`."""

  def __init__(self, folder: pathlib.Path, first: int, log: Callable[[str], None]):
    self._folder, self._steps, self._log = folder, range(first, first + STEPS), log
    self._running = False
    self._last = 0

  def __enter__(self) -> 'Trace':
    return self

  def __exit__(self, *unused: object) -> None:
    if self._running:  # the run ends inside the traced steps
      self._stop()
    elif self._last < self._steps.start:
      self._log(f'profile: none, since the run ended before step {self._steps.start}')

  def at(self, step: int) -> None:
    """To be called before each step."""
    self._last = step
    if step == self._steps.start:
      jax.profiler.start_trace(self._folder)
      self._running = True
    elif step == self._steps.stop and self._running:
      self._stop()

  def _stop(self) -> None:
    jax.profiler.stop_trace()
    self._running = False
    self._log(f'profile: {self._folder}')
