"""Trains the runs of a plan, each by itself: resumed where it was stopped, tried again on a crash.

A run whose process is still at work, as for some seconds after its sweep was killed, is not started
a second time: it occupies its slot until that process has ended.
"""

import collections
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import os
import pathlib
import signal
import threading
import time
import typing
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.sweeps import judging
from mlm_jax.sweeps import launchers
from mlm_jax.sweeps import layout
from mlm_jax.sweeps import planning
from mlm_jax.sweeps import progress as board_lib
from mlm_jax.sweeps import scoring
from mlm_jax.training import workdir as workdir_lib

_RETRIES = 2  # of a run that crashed
_WRONG_INPUT = 2  # the exit status that another attempt would only repeat
_PAUSE = 0.2  # seconds between two polls of the runs


def run(
  plan: planning.Plan,
  workdir: str | os.PathLike[str],
  launcher: launchers.Launcher,
  log: Callable[[str], None] = print,
  stopped: Callable[[str], Any] | None = None,
) -> bool:
  """Trains the runs that are not done, scores and judges those that are; returns whether all are.

  A signal (SIGINT, SIGTERM, SIGHUP) lets the runs save and end; the same call resumes them.

  Args:
    plan: planning.Plan.
    workdir: of the sweep.
    launcher: where they are trained.
    log: takes lines of text.
    stopped: takes the name of the signal that has ended it, where one has.

  Raises:
    UserError: another sweep is running or stored there; anything that is wrong with the data.
  """
  workdir = pathlib.Path(workdir).absolute()
  with workdir_lib.locked(workdir):  # two sweeps would start each other's runs
    layout.check(plan, workdir)
    # Here, once, and not in the runs, which would all prepare the same data at the same time.
    planning.prepare_data([run for run in plan.runs if not layout.is_done(workdir, run)], log)
    layout.write(plan, workdir)
    statuses = layout.statuses(plan, workdir)
    with board_lib.Board(plan, workdir, statuses, log) as board:
      runner = _Runner(plan, workdir, statuses, launcher, board)
      with _handled(runner.note):
        runner.loop()
    if runner.signal and stopped:
      stopped(runner.signal)
    scored = bool(runner.signal) or scoring.score(plan, workdir, log)
    judged = bool(runner.signal) or judging.judge(plan, workdir, log, stopped)
  return _conclude(statuses, workdir, runner.signal, log) and scored and judged


def _conclude(
  statuses: Mapping[str, layout.Status],
  workdir: pathlib.Path,
  stopped_by: str,
  log: Callable[[str], None],
) -> bool:
  """Logs how it ended; returns whether all runs are done."""
  for name, status in statuses.items():
    if status.state in (layout.FAILED, layout.DIVERGED):
      log(f'{name} {status.state}: {status.error}; see {launchers.output(workdir / "runs" / name)}')
  states = collections.Counter(status.state for status in statuses.values())
  log(
    f'{states[layout.DONE]} of {len(statuses)} runs are done'
    + (f'; stopped by {stopped_by}, the same command resumes them' if stopped_by else '')
  )
  return states[layout.DONE] == len(statuses)


class _Attempt(typing.NamedTuple):
  """A run that was started.

  Attributes:
    run: planning.Run.
    task: what the launcher returned, or a Survivor.
    begin: size of output.log when it was started, bytes: what it prints comes after.
  """

  run: planning.Run
  task: launchers.Task
  begin: int


class _Runner:
  """The runs that are waiting and running.

  Attributes:
    signal: the name of the signal that ends the sweep, or ''.
  """

  def __init__(
    self,
    plan: planning.Plan,
    workdir: pathlib.Path,
    statuses: Mapping[str, layout.Status],
    launcher: launchers.Launcher,
    board: board_lib.Board,
  ):
    self._workdir, self._statuses, self._launcher, self._board = workdir, statuses, launcher, board
    self._waiting = collections.deque(
      run for run in plan.runs if statuses[run.name].state == layout.WAITING
    )
    self._running: dict[str, _Attempt] = {}
    self._is_urgent = False
    self.signal = ''

  def note(self, number: int, frame: Any) -> None:
    """Handles a signal; after a second one, if it is SIGINT, runs are not waited for."""
    # Only notes it: a handler may interrupt any line, also one that changes the runs.
    self._is_urgent = bool(self.signal) and number == signal.SIGINT
    self.signal = signal.Signals(number).name

  def loop(self) -> None:
    """Trains until no run is left, or after a signal until none is running."""
    self._write()
    stopping = False
    try:
      # After a signal nothing more is started, but what runs is waited for while it saves.
      while self._running or self._waiting and not self.signal:
        # Once, since a run that is asked twice would not save; again when it must end at once.
        if self.signal and (self._is_urgent or not stopping):
          self._stop()
          stopping = True
        self._start()
        for attempt in list(self._running.values()):
          self._look(attempt)
        self._board.refresh()
        time.sleep(_PAUSE)
    finally:
      self._stop()  # after an error here; otherwise none is left

  def _start(self) -> None:
    """Starts waiting runs in the free slots."""
    while self._waiting and len(self._running) < self._launcher.slots and not self.signal:
      run = self._waiting.popleft()
      place = layout.run_folder(self._workdir, run)
      output = launchers.output(place)
      # The log is appended to by every attempt; only this one's part may explain how it ends.
      begin = output.stat().st_size if output.exists() else 0
      if layout.is_at_work(place):
        self._board.say(
          f'{run.name}: a process that outlived its sweep is still at work there; waits for it'
        )
        task: launchers.Task = launchers.Survivor(place)
      else:
        task = self._launcher.start(place)
        self._statuses[run.name].attempts += 1  # waiting for a survivor is not an attempt
      self._running[run.name] = _Attempt(run, task, begin)

  def _stop(self) -> None:
    for attempt in self._running.values():
      if self._is_urgent:
        attempt.task.kill()
      else:
        attempt.task.stop()

  def _look(self, attempt: _Attempt) -> None:
    """Polls a run and notes its state."""
    run, task, begin = attempt
    status = self._statuses[run.name]
    # A task may wait in a cluster's queue after it was submitted.
    if task.started and status.state != layout.RUNNING:
      status.state, status.error = layout.RUNNING, None
      self._changed(run)
    ended = task.poll()
    if ended is None:
      return
    del self._running[run.name]
    # Its folder decides, not the exit status: a run that is killed after its last save is done,
    # and a survivor has no exit status.
    if layout.is_done(self._workdir, run):
      status.state, status.error = layout.DONE, None
    elif why := layout.why_diverged(self._workdir, run):
      status.state, status.error = layout.DIVERGED, why
    elif self.signal:  # it was asked to stop, so however it ended is no failure
      status.state = layout.WAITING
    else:
      printed = _printed(launchers.output(layout.run_folder(self._workdir, run)), begin)
      status.error = _why(ended, printed)
      # A folder that another process holds is not wrong input, though its exit status is the same.
      is_held = workdir_lib.HELD in printed
      is_final = ended == _WRONG_INPUT and not is_held or status.attempts > _RETRIES
      status.state = layout.FAILED if is_final else layout.WAITING
      if status.state == layout.WAITING:
        self._waiting.appendleft(run)  # before the others: it has work that is saved
    self._changed(run)

  def _changed(self, run: planning.Run) -> None:
    self._write()
    self._board.changed(run)

  def _write(self) -> None:
    layout.write_status(self._workdir, self._statuses)


def _printed(output: pathlib.Path, begin: int) -> str:
  """Returns the text of a run's output.log from a byte on."""
  if not os.path.lexists(output):
    return ''
  return config_lib.read_bytes(output)[begin:].decode(errors='replace')


def _why(ended: int | str, printed: str) -> str:
  """Returns in one line why a run ended: its exit status, and the last line that it printed."""
  if isinstance(ended, str):
    return ended
  if ended < 0:
    return f'killed by signal {-ended} ({signal.strsignal(-ended)})'
  # An error ends with its message, and so does what Python prints of an exception.
  last = next(
    (line.strip() for line in reversed(printed.split('\n')) if line.strip()), 'it printed nothing'
  )
  return f'exit status {ended}: {last[:500]}'


@contextlib.contextmanager
def _handled(handler: Callable[[int, Any], None]) -> Iterator[None]:
  """Gives the signals that end a sweep to a handler; Python allows that in the main thread only."""
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  # A signal that is ignored stays ignored, as SIGHUP under nohup.
  numbers = [
    number
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    if signal.getsignal(number) is not signal.SIG_IGN
  ]
  before = {number: signal.signal(number, handler) for number in numbers}
  try:
    yield
  finally:
    for number, former in before.items():
      signal.signal(number, former)
