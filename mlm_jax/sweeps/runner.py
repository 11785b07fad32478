"""Makes the runs of a plan: each by itself, taken up where it was stopped, tried again where it crashed."""

import collections
import contextlib
import pathlib
import signal
import threading
import time

from mlm_jax import workdir as workdir_lib
from mlm_jax.sweeps import board as board_lib
from mlm_jax.sweeps import folder
from mlm_jax.sweeps import launchers
from mlm_jax.sweeps import planning

_RETRIES = 2      # of a run that crashed
_WRONG_INPUT = 2  # exit status: it would be wrong again
_PAUSE = 0.2      # seconds between two looks at the runs


def run(plan, workdir, launcher, log=print):
  """Makes the runs that are not done; returns whether all are.

  A signal (SIGINT, SIGTERM, SIGHUP) lets the runs save and end; the same call goes on.

  Args:
    plan: planning.Plan.
    workdir: of the sweep.
    launcher: see `launchers`.
    log: takes lines of text.

  Raises:
    UserError: another sweep is at work or stands there; whatever is wrong with the data.
  """
  workdir = pathlib.Path(workdir).absolute()
  with workdir_lib.locked(workdir):
    folder.check(plan, workdir)
    planning.prepare_data([run for run in plan.runs if not folder.is_done(workdir, run)], log)
    folder.write(plan, workdir)
    statuses = {run.name: folder.Status(folder.DONE if folder.is_done(workdir, run) else folder.WAITING)
                for run in plan.runs}
    with board_lib.Board(plan, workdir, statuses, log) as board:
      runner = _Runner(plan, workdir, statuses, launcher, board)
      with _handled(runner.note):
        runner.loop()
  return _conclude(statuses, workdir, runner.signal, log)


def _conclude(statuses, workdir, stopped_by, log):
  """Says how it ended; returns whether all runs are done."""
  for name, status in statuses.items():
    if status.state == folder.FAILED:
      log(f'{name} failed: {status.error}; see {launchers.output(workdir / "runs" / name)}')
  states = collections.Counter(status.state for status in statuses.values())
  log(f'{states[folder.DONE]} of {len(statuses)} runs are done'
      + (f'; stopped by {stopped_by}, the same command goes on' if stopped_by else ''))
  return states[folder.DONE] == len(statuses)


class _Runner:
  """The runs that are waiting and running.

  Attributes:
    signal: the name of the signal that ends the sweep, or ''.
  """

  def __init__(self, plan, workdir, statuses, launcher, board):
    self._workdir, self._statuses, self._launcher, self._board = workdir, statuses, launcher, board
    self._waiting = collections.deque(run for run in plan.runs if statuses[run.name].state != folder.DONE)
    self._running = {}     # {name: (run, what the launcher returned)}
    self._is_urgent = False
    self.signal = ''

  def note(self, number, frame):
    """Takes a signal; a second SIGINT does not wait for runs to save."""
    self._is_urgent = bool(self.signal) and number == signal.SIGINT
    self.signal = signal.Signals(number).name

  def loop(self):
    """Returns when no run is left, or after a signal when none is running."""
    self._write()
    stopping = False
    try:
      while self._running or self._waiting and not self.signal:
        if self.signal and (self._is_urgent or not stopping):
          self._stop()
          stopping = True
        self._start()
        for run, task in list(self._running.values()):
          self._look(run, task)
        self._board.refresh()
        time.sleep(_PAUSE)
    finally:
      self._stop()   # none is left, unless something went wrong here

  def _start(self):
    """Starts what there is a place for."""
    while self._waiting and len(self._running) < self._launcher.slots and not self.signal:
      run = self._waiting.popleft()
      self._running[run.name] = run, self._launcher.start(folder.run_folder(self._workdir, run))
      self._statuses[run.name].attempts += 1

  def _stop(self):
    for _, task in self._running.values():
      task.kill() if self._is_urgent else task.stop()

  def _look(self, run, task):
    """Notes what has become of a run."""
    status = self._statuses[run.name]
    if task.started and status.state != folder.RUNNING:
      status.state, status.error = folder.RUNNING, None
      self._changed(run)
    ended = task.poll()
    if ended is None:
      return
    del self._running[run.name]
    if folder.is_done(self._workdir, run):
      status.state, status.error = folder.DONE, None
    elif self.signal:
      status.state = folder.WAITING
    else:
      status.error = _why(ended, launchers.output(folder.run_folder(self._workdir, run)))
      is_final = ended == _WRONG_INPUT or status.attempts > _RETRIES
      status.state = folder.FAILED if is_final else folder.WAITING
      if not is_final:
        self._waiting.appendleft(run)
    self._changed(run)

  def _changed(self, run):
    self._write()
    self._board.changed(run)

  def _write(self):
    folder.write_status(self._workdir, self._statuses)


def _why(ended, output):
  """Returns in one line why a run ended: its exit status, and the last that it printed."""
  if isinstance(ended, str):
    return ended
  if ended < 0:
    return f'killed by signal {-ended} ({signal.strsignal(-ended)})'
  lines = output.read_text(errors='replace').split('\n') if output.exists() else []
  last = next((line.strip() for line in reversed(lines) if line.strip()), '')
  return f'exit status {ended}: {last[:500]}'


@contextlib.contextmanager
def _handled(handler):
  """Gives the signals that end a sweep to a handler; other threads than the main one get none."""
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  numbers = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
             if signal.getsignal(number) is not signal.SIG_IGN]   # as nohup has it
  before = {number: signal.signal(number, handler) for number in numbers}
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
