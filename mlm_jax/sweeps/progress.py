"""What a person sees of a sweep: a live table on a terminal, plain lines elsewhere."""

import json
import os
import sys
import time
import typing

import rich.console
import rich.live
import rich.table

from mlm_jax.sweeps import layout

_PERIOD = 1.0  # seconds between two looks at the logs of running runs
_TAIL = 1 << 14  # bytes of a log that hold its last line
_ORDER = (layout.RUNNING, layout.FAILED, layout.DIVERGED, layout.WAITING, layout.DONE)


class Progress(typing.NamedTuple):
  """What the logs of a run say last; None where they say nothing yet."""

  step: int = 0
  evaluated: int | None = None  # the step of the loss
  reference_loss: float | None = None
  tokens_per_second: float | None = None


def progress(run_folder):
  """Returns the Progress of a run."""
  evaluation = _last(run_folder / 'evaluations.jsonl')
  return Progress(
    _last(run_folder / 'metrics.jsonl').get('step', 0),
    evaluation.get('step'),
    evaluation.get('reference_loss'),
    _last(run_folder / 'timing.jsonl').get('tokens_per_second'),
  )


def _last(path):
  """Returns the last whole line of a log; {} where there is none. It may be in the midst of
  writing.
  """
  try:
    with open(path, 'rb') as file:
      file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
      lines = file.read().split(b'\n')[:-1]
    line = json.loads(lines[-1])
  except (OSError, ValueError, IndexError):
    return {}
  return line if isinstance(line, dict) else {}


class Board:
  """Shows how far the runs of a plan are.

  Args:
    plan: planning.Plan.
    workdir: of the sweep.
    statuses: {name: folder.Status}, which the runner changes.
    log: takes a line of text where there is no terminal.
  """

  def __init__(self, plan, workdir, statuses, log):
    self._runs, self._workdir, self._statuses, self._log = plan.runs, workdir, statuses, log
    self._progress = {}
    self._looked = 0.0
    self._live = None
    if sys.stderr.isatty():
      self._live = rich.live.Live(console=rich.console.Console(stderr=True), auto_refresh=False)

  def __enter__(self):
    for run in self._runs:
      self._progress[run.name] = progress(layout.run_folder(self._workdir, run))
    if self._live:
      self._live.start()
    return self

  def __exit__(self, *unused):
    if self._live:
      self._live.update(self._table(), refresh=True)
      self._live.stop()

  def say(self, text):
    """Shows a line; above the table where there is one."""
    self._live.console.print(text, markup=False) if self._live else self._log(text)

  def changed(self, run):
    """Says that a run has another state."""
    self._read(run)
    if self._live:
      return
    status = self._statuses[run.name]
    more = {
      layout.RUNNING: f' (attempt {status.attempts})' if status.attempts > 1 else '',
      layout.DONE: self._figures(run),
      layout.FAILED: f': {status.error}',
      layout.DIVERGED: f': {status.error}',
      layout.WAITING: f' to go on from its newest checkpoint: {status.error}'
      if status.error
      else '',
    }
    self._log(f'{run.name}: {status.state}{more[status.state]}')

  def refresh(self):
    """Looks again at the logs of running runs, once in a while."""
    if time.monotonic() - self._looked < _PERIOD:
      return
    self._looked = time.monotonic()
    for run in self._runs:
      if self._statuses[run.name].state == layout.RUNNING:
        before = self._progress[run.name].evaluated
        self._read(run)
        evaluated = self._progress[run.name].evaluated
        if not self._live and evaluated not in (before, run.config.total_steps):
          self._log(f'{run.name}: step {evaluated}/{run.config.total_steps}{self._figures(run)}')
    if self._live:
      self._live.update(self._table(), refresh=True)

  def _read(self, run):
    self._progress[run.name] = progress(layout.run_folder(self._workdir, run))

  def _figures(self, run):
    """Returns the newest loss and speed as text."""
    seen = self._progress[run.name]
    loss = '' if seen.reference_loss is None else f', reference loss {seen.reference_loss:.4f}'
    return loss + (
      '' if seen.tokens_per_second is None else f', {seen.tokens_per_second:,.0f} tokens/s'
    )

  def _table(self):
    """Returns the runs as a table; what runs comes first, in case the screen is too small for
    all.
    """
    table = rich.table.Table(
      'run', 'state', 'step', 'reference loss', 'tokens/s', caption=self._caption()
    )
    state = lambda run: _ORDER.index(self._statuses[run.name].state)
    for run in sorted(self._runs, key=state)[: max(1, self._live.console.height - 6)]:
      status, seen = self._statuses[run.name], self._progress[run.name]
      what = status.state + (f' ({status.attempts})' if status.attempts > 1 else '')
      table.add_row(
        run.name,
        what,
        f'{seen.step:,}/{run.config.total_steps:,}',
        '' if seen.reference_loss is None else f'{seen.reference_loss:.4f}',
        '' if seen.tokens_per_second is None else f'{seen.tokens_per_second:,.0f}',
      )
    return table

  def _caption(self):
    states = [status.state for status in self._statuses.values()]
    return ', '.join(f'{states.count(state)} {state}' for state in _ORDER if state in states)
