"""What a person sees of a sweep: a live table on a terminal, plain lines elsewhere."""

from collections.abc import Callable
from collections.abc import Mapping
import os
import pathlib
import sys
import time
import typing
from typing import Any

import rich.console
import rich.live
import rich.table

from mlm_jax import config
from mlm_jax.sweeps import kinds
from mlm_jax.sweeps import layout
from mlm_jax.sweeps import planning

_PERIOD = 1.0  # seconds between two looks at the logs of running runs
_TAIL = 1 << 14  # bytes of a log that hold its last line
_ORDER = (layout.RUNNING, layout.FAILED, layout.DIVERGED, layout.WAITING, layout.DONE)


class Progress(typing.NamedTuple):
  """The newest values in the logs of a run; None where there are none yet."""

  step: int = 0
  evaluated: int | None = None  # the step of the score
  score: float | None = None
  tokens_per_second: float | None = None


def progress(run_folder: pathlib.Path, field: str = 'reference_loss') -> Progress:
  """Returns the Progress of a run; its score is a field of evaluations.jsonl."""
  evaluation = _last(run_folder / 'evaluations.jsonl')
  return Progress(
    _last(run_folder / 'metrics.jsonl').get('step', 0),
    evaluation.get('step'),
    evaluation.get(field),
    _last(run_folder / 'timing.jsonl').get('tokens_per_second'),
  )


def _last(path: pathlib.Path) -> dict[str, Any]:
  """Returns the last whole line of a log; {} where there is none."""
  # Another process writes this log now: its last line may be unfinished, and any fault is
  # temporary, so that nothing is raised.
  try:
    with open(path, 'rb', opener=config.without_waiting) as file:
      # Logs of long runs have many megabytes, and this is called once a second for each.
      file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
      lines = file.read().split(b'\n')[:-1]
    line = config.parse_json(lines[-1])
  except (OSError, ValueError, IndexError):
    return {}
  return line if isinstance(line, dict) else {}


class Board:
  """Shows how far the runs of a plan are.

  Args:
    plan: planning.Plan.
    workdir: of the sweep.
    statuses: {name: layout.Status}, which the runner changes.
    log: takes a line of text where there is no terminal.
  """

  def __init__(
    self,
    plan: planning.Plan,
    workdir: pathlib.Path,
    statuses: Mapping[str, layout.Status],
    log: Callable[[str], None],
  ):
    self._runs, self._workdir, self._statuses, self._log = plan.runs, workdir, statuses, log
    assert plan.sweep.metric is not None  # a plan has it filled in
    self._field = kinds.of(plan.sweep.base).watched(plan.sweep.metric)
    self._score = self._field.replace('_', ' ')
    self._progress: dict[str, Progress] = {}
    self._looked = 0.0
    self._live: rich.live.Live | None = None
    # On stderr, so that a redirected stdout has only lines that can be read later.
    if sys.stderr.isatty():
      self._live = rich.live.Live(console=rich.console.Console(stderr=True), auto_refresh=False)

  def __enter__(self) -> 'Board':
    # Of all runs once: those that are not running have logs of earlier calls.
    for run in self._runs:
      self._read(run)
    if self._live:
      self._live.start()
    return self

  def __exit__(self, *unused: object) -> None:
    if self._live:
      self._live.update(self._table(), refresh=True)
      self._live.stop()

  def say(self, text: str) -> None:
    """Shows a line; above the table where there is one."""
    if self._live:
      self._live.console.print(text, markup=False)
    else:
      self._log(text)

  def changed(self, run: planning.Run) -> None:
    """Shows that a run has another state."""
    self._read(run)
    if self._live:  # the next refresh of the table shows it
      return
    status = self._statuses[run.name]
    more = {
      layout.RUNNING: f' (attempt {status.attempts})' if status.attempts > 1 else '',
      layout.DONE: self._figures(run),
      layout.FAILED: f': {status.error}',
      layout.DIVERGED: f': {status.error}',
      layout.WAITING: f' to resume from its newest checkpoint: {status.error}'
      if status.error
      else '',
    }
    self._log(f'{run.name}: {status.state}{more[status.state]}')

  def refresh(self) -> None:
    """Reads the logs of running runs again, at most once per second."""
    if time.monotonic() - self._looked < _PERIOD:
      return
    self._looked = time.monotonic()
    for run in self._runs:
      if self._statuses[run.name].state == layout.RUNNING:
        before = self._progress[run.name].evaluated
        self._read(run)
        evaluated = self._progress[run.name].evaluated
        # The last evaluation is shown when the run is done.
        if not self._live and evaluated not in (before, run.config.total_steps):
          self._log(f'{run.name}: step {evaluated}/{run.config.total_steps}{self._figures(run)}')
    if self._live:
      self._live.update(self._table(), refresh=True)

  def _read(self, run: planning.Run) -> None:
    self._progress[run.name] = progress(layout.run_folder(self._workdir, run), self._field)

  def _figures(self, run: planning.Run) -> str:
    """Returns the newest score and speed as text."""
    seen = self._progress[run.name]
    score = '' if seen.score is None else f', {self._score} {seen.score:.4f}'
    return score + (
      '' if seen.tokens_per_second is None else f', {seen.tokens_per_second:,.0f} tokens/s'
    )

  def _table(self) -> rich.table.Table:
    """Returns the runs as a table, for a terminal."""
    assert self._live is not None
    table = rich.table.Table(
      'run', 'state', 'step', self._score, 'tokens/s', caption=self._caption()
    )
    # Running ones first, since a screen may be too small for all; 6 lines are frame and caption.
    state = lambda run: _ORDER.index(self._statuses[run.name].state)
    for run in sorted(self._runs, key=state)[: max(1, self._live.console.height - 6)]:
      status, seen = self._statuses[run.name], self._progress[run.name]
      what = status.state + (f' ({status.attempts})' if status.attempts > 1 else '')
      table.add_row(
        run.name,
        what,
        f'{seen.step:,}/{run.config.total_steps:,}',
        '' if seen.score is None else f'{seen.score:.4f}',
        '' if seen.tokens_per_second is None else f'{seen.tokens_per_second:,.0f}',
      )
    return table

  def _caption(self) -> str:
    states = [status.state for status in self._statuses.values()]
    return ', '.join(f'{states.count(state)} {state}' for state in _ORDER if state in states)
