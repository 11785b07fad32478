"""Tasks to be timed, each in a process of its own.

Frameworks keep thread pools that spin while they wait, and allocators that do not
return memory; in one process each would be charged for the others. Here all but the one
whose turn it is block on a pipe.
"""

from collections.abc import Callable
from collections.abc import Sequence
import multiprocessing
from multiprocessing import connection
import os
import time
from typing import Any

from mlm_jax.benchmarks import clock

_PATIENCE = 10  # seconds that a process has to end by itself


class Failed(Exception):
  """A worker could not do its work; the message is one line that says why."""


class Worker:
  """A process that makes a task and times it when asked.

  Attributes:
    first_seconds: wall seconds of the first call, which compiles.
  """

  def __init__(
    self,
    make: Callable[..., Callable[[int], Any]],
    arguments: tuple[Any, ...],
    cores: Sequence[int],
  ) -> None:
    """Starts it, makes the task, calls it once.

    Args:
      make: function that returns the task, a function (calls) that returns when
        so many calls are done; importable.
      arguments: of make.
      cores: the processor's cores that it may use.

    Raises:
      Failed: whatever went wrong in it.
    """
    # Spawned, not forked: a fork would take this process's threads and devices half along.
    spawn = multiprocessing.get_context('spawn')
    self._pipe, other = spawn.Pipe()
    self._process = spawn.Process(target=_serve, args=(other, make, arguments, cores), daemon=True)
    self._process.start()
    other.close()
    try:
      self.first_seconds = self._answer()
    # Also an interrupt must not leave the process behind.
    except BaseException:
      self.close()
      raise

  def time(self, calls: int) -> tuple[float, float]:
    """Returns (wall, processor) seconds a call."""
    wall, processor = self.do(_time, calls)
    return wall / calls, processor / calls

  def do(self, function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns function(task, *arguments), run in the process; function must be importable."""
    self._pipe.send((function, arguments))
    return self._answer()

  def close(self) -> None:
    """Ends the process: by itself, so that it can tidy up, or else by force."""
    self._pipe.close()
    # Its read fails at the closed pipe, and it returns.
    self._process.join(_PATIENCE)
    self._process.terminate()
    self._process.join()

  def _answer(self) -> Any:
    try:
      done, answer = self._pipe.recv()
    except EOFError:
      self._process.join()
      raise Failed(f'its process ended with status {self._process.exitcode}') from None
    if not done:
      raise Failed(answer)
    return answer


def _serve(
  pipe: connection.Connection,
  make: Callable[..., Callable[[int], Any]],
  arguments: tuple[Any, ...],
  cores: Sequence[int],
) -> None:
  """Answers until the pipe closes."""
  # Before any framework decides how many threads to start.
  if hasattr(os, 'sched_setaffinity'):
    os.sched_setaffinity(0, cores)
  try:
    task = make(*arguments)
    begin = time.perf_counter()
    # The first call compiles.
    task(1)
    pipe.send((True, time.perf_counter() - begin))
    while True:
      function, arguments = pipe.recv()
      pipe.send((True, function(task, *arguments)))
  except (EOFError, BrokenPipeError):
    pass  # the other side has closed the pipe, or was killed
  except Exception as error:  # of any framework; the report says it in one line
    lines = str(error).strip().splitlines() or ['']
    pipe.send((False, f'{type(error).__name__}: {lines[0][:200]}'))


def _time(task: Callable[[int], Any], calls: int) -> tuple[float, float]:
  return clock.time_calls(lambda: task(calls), 1)
