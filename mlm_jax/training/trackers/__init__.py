"""Where a run's numbers are shown besides its own files: `log.trackers`.

interface     what a tracker is
tensorboard   events in the run's folder
wandb         Weights & Biases
trackio       Trackio
sent          what a service has been given already

A new one is a file here, its name in config/limits.py and an extra in setup.cfg. The run's files
are the truth: each tracker works in a thread of its own, which training never waits for, and one
that raises or no longer answers is left out, with one line.
"""

from collections.abc import Callable
import importlib
import importlib.util
import math
import pathlib
import queue
import threading
import time
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.training.trackers import interface

_MOST = 10_000  # lines that wait for a tracker which has stopped taking them
_PATIENCE = 30  # seconds that they have from the end of the run on


def named(config: Any) -> list[str]:
  """Returns the names of the trackers that a config asks for."""
  return [name for name in config.log.trackers.split(',') if name]


def check(config: Any) -> None:
  """Raises UserError where a tracker that a config names is not installed."""
  for name in named(config):
    # TensorBoard's writer comes with the package. A folder of the name is no library, and wandb
    # makes one where it is used: it has no origin.
    spec = None if name == 'tensorboard' else importlib.util.find_spec(name)
    if name != 'tensorboard' and (spec is None or spec.origin is None):
      raise config_lib.UserError(
        f"log.trackers names {name}, which is not installed: pip install 'mlm_jax[{name}]'"
      )


def describe(workdir: pathlib.Path, config: Any, step: int) -> interface.Run:
  """Returns what trackers are told of the run in a folder that goes on from a step."""
  folder = workdir.resolve()
  # A sweep's folder is SWEEP/sweep.json, SWEEP/runs/NAME.
  is_swept = folder.parent.name == 'runs' and (folder.parents[1] / 'sweep.json').is_file()
  group = folder.parents[1].name if is_swept else None
  return interface.Run(folder, config, step, folder.name, group)


class Trackers:
  """The trackers of a run.

  Args:
    run: see interface.
    say: takes a line of text for a person.
    writes: of several processes one does.
  """

  def __init__(self, run: interface.Run, say: Callable[[str], None], writes: bool = True):
    self._say, self._name = say, run.name
    self._live = {name: _Worker(name, run) for name in (named(run.config) if writes else ())}
    self._until: float | None = None  # when they are no longer waited for; None before the end

  def write(self, log: str, step: int, values: dict[str, Any]) -> None:
    """Hands a line of a log to all of them, without its lists and what is not finite."""
    scalars = {
      key: float(value)
      for key, value in values.items()
      if not isinstance(value, list) and math.isfinite(value)
    }
    for worker in self._live.values():
      worker.put((log, step, scalars))
    self._look()

  def _look(self) -> None:
    """Says what the trackers say, and leaves out those that have failed."""
    for name, worker in list(self._live.items()):
      if says := worker.news():
        self._say(says)
      if worker.why_failed:
        self._say(f'warning: {self._name} is no longer shown by {name}: {worker.why_failed}')
        del self._live[name]

  def end(self, status: int) -> None:
    """Tells them how the run ends, see interface, and waits for none; only once."""
    if self._until is None:
      self._until = time.monotonic() + _PATIENCE
      for worker in self._live.values():
        worker.put(status)

  def __enter__(self) -> 'Trackers':
    return self

  def __exit__(self, kind: type[BaseException] | None, *unused: object) -> None:
    self.end(interface.STOPPED)
    # The program ends at once: what it leaves behind would speak while it waits here.
    if kind is not None and issubclass(kind, config_lib.Fatal):
      return
    for worker in self._live.values():
      worker.wait(self._until or 0.0)
    self._look()


class _Worker:
  """A tracker at work in its thread.

  Attributes:
    why_failed: one line, '' where it has not.
  """

  def __init__(self, name: str, run: interface.Run):
    self.why_failed = ''
    self._news: list[str] = []
    self._lines: queue.Queue[Any] = queue.Queue(_MOST)
    # A daemon: one that never comes back does not keep the process.
    self._thread = threading.Thread(target=self._work, args=(name, run), name=name, daemon=True)
    self._thread.start()

  def _work(self, name: str, run: interface.Run) -> None:
    try:
      tracker = importlib.import_module(f'{__name__}.{name}').start(run)
      self._news.append(tracker.says)
      while isinstance(line := self._lines.get(), tuple):
        tracker.write(*line)
      tracker.finish(line)
    except BaseException as error:  # a library may raise anything, also what ends a program
      said = str(error) if isinstance(error, config_lib.UserError) else config_lib.error_text(error)
      self.why_failed = config_lib.one_line(said)

  def put(self, line: tuple[str, int, dict[str, float]] | int) -> None:
    """Queues a line, or how the run ends."""
    try:
      self._lines.put_nowait(line)
    except queue.Full:
      self.why_failed = f'it is {_MOST:,} lines behind'

  def news(self) -> str:
    """Returns what the tracker says, once."""
    return self._news.pop() if self._news else ''

  def wait(self, until: float) -> None:
    """Waits for its end, at most until a time of the monotonic clock."""
    self._thread.join(max(0.0, until - time.monotonic()))
    if self._thread.is_alive() and not self.why_failed:
      self.why_failed = 'it does not answer; its lines of the last steps may be missing there'
