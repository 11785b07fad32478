"""Signals that end a run at a saved step."""

import os
import signal
import threading
import time
from typing import Any

import jax
from jax.experimental import multihost_utils

from mlm_jax import config as config_lib

_PERIOD = 1.0  # seconds between two looks at who the parent is


def stop_with(parent: int) -> None:
  """Sends this process SIGTERM once the process that started it has ended, however it did.

  A run then saves and ends; what only prepares data ends at once.

  Args:
    parent: the id of that process.

  Raises:
    UserError: it is not the parent of this process, or no longer.
  """
  if os.getppid() != parent:
    raise config_lib.UserError(
      f'--stop-with={parent}: must be the id of the process that starts this one, and it must be '
      f'at work; the parent is {os.getppid()}'
    )

  def watch() -> None:
    # By polling, since only Linux can be asked for a signal when a parent ends. A child whose
    # parent has ended gets another one.
    while os.getppid() == parent:
      time.sleep(_PERIOD)
    os.kill(os.getpid(), signal.SIGTERM)

  threading.Thread(target=watch, name='stop-with', daemon=True).start()


class StopSignal:
  """Notes SIGTERM and SIGINT, so that the step in progress ends and is saved.

  A second SIGINT stops at once. Signals reach the main thread only; elsewhere
  nothing is noted. Of several processes all stop at one step, whichever of them got
  the signal; JAX listens for SIGTERM then.
  """

  def __init__(self) -> None:
    self._name = ''
    self._before: dict[signal.Signals, Any] = {}

  def __enter__(self) -> 'StopSignal':
    # Python allows handlers in the main thread only.
    if threading.current_thread() is threading.main_thread():
      noted = (signal.SIGINT,) if jax.process_count() > 1 else (signal.SIGTERM, signal.SIGINT)
      self._before = {number: signal.signal(number, self._note) for number in noted}
    return self

  def __exit__(self, *unused: object) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def at(self, step: int) -> str:
    """Returns the name of the signal that ends the run at this step, or ''; for every step."""
    if jax.process_count() == 1:
      return self._name
    # The processes agree on a step that none of them has passed, if all ask at each step.
    return 'SIGTERM' if multihost_utils.reached_preemption_sync_point(step) else ''

  def _note(self, number: int, frame: Any) -> None:
    if self._name and number == signal.SIGINT:
      raise KeyboardInterrupt
    self._name = signal.Signals(number).name
    if jax.process_count() > 1:
      # JAX listens for SIGTERM alone and tells the other processes.
      os.kill(os.getpid(), signal.SIGTERM)
    # Not by `print`, which the signal may have interrupted.
    more = '; once more to stop at once' if number == signal.SIGINT else ''
    os.write(2, f'{self._name}: stopping after this step{more}\n'.encode())
