"""What a person sees of training: a progress bar on a terminal, plain lines elsewhere."""

import collections
from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import datetime
import sys
import time
from typing import Any

import rich.console
import rich.progress

from mlm_jax.training import distributed
from mlm_jax.training import problem as problem_lib

COMPILING, EVALUATING, SAVING = 'compiling', 'evaluating', 'saving'
_RECENT = 50  # steps that the speed shown is measured over


def terminal() -> rich.console.Console | None:
  """Returns the terminal on which a person watches, None where there is none."""
  # A bar in a file would be thousands of lines of control characters.
  if distributed.is_first() and sys.stderr.isatty():
    return rich.console.Console(stderr=True)
  return None


def compiling() -> contextlib.AbstractContextManager:
  """Says on a terminal that programs are compiled, before there is a bar."""
  console = terminal()
  return console.status(COMPILING) if console else contextlib.nullcontext()


class Progress:
  """Keeps the clock of the runs that train together and shows how far they are.

  Args:
    problem: what they train; of several, any one's.
    config: what they share.
    first: the step that they start from.
    log: called with a line of text when the output is not a terminal.
    peak: FLOP/s that all devices together can do; None where it is not known.
    runs: how many train as one.
  """

  def __init__(
    self,
    problem: problem_lib.Problem,
    config: Any,
    first: int,
    log: Callable[[str], None],
    peak: float | None = None,
    runs: int = 1,
  ):
    self._problem, self._total = problem, config.total_steps
    self._every = {EVALUATING: config.evaluation.every, SAVING: config.checkpoint.every}
    self._log, self._peak, self._runs = log, peak, runs
    self._step = first
    self._mark = time.perf_counter()
    self._waited = 0.0
    self._idle = self._idle_at_mark = 0.0  # all pauses so far
    self._lasts: dict[str, float] = {}  # by what paused: how long the last one was
    # (step, when it was known to have ended, pauses left out) of the last steps.
    self._ends: collections.deque[tuple[int, float]] = collections.deque(maxlen=_RECENT + 1)
    self._bar: rich.progress.Progress | None = None
    if console := terminal():
      # All of it fits 80 columns.
      columns = [
        rich.progress.SpinnerColumn(),
        '{task.description}',
        rich.progress.BarColumn(bar_width=None),
        '{task.completed}/{task.total}',
        '{task.fields[left]}',
        '{task.fields[speed]}',
        '{task.fields[figures]}',
      ]
      self._bar = rich.progress.Progress(*columns, console=console, expand=True)
      self._task = self._bar.add_task(
        'training', total=self._total, completed=first, left='', speed='', figures=''
      )

  def __enter__(self) -> 'Progress':
    if self._bar:
      self._bar.start()
    return self

  def __exit__(self, *unused: object) -> None:
    if self._bar:
      self._bar.stop()

  def waited(self, seconds: float) -> None:
    """Adds to the time that training waited for data."""
    self._waited += seconds

  @contextlib.contextmanager
  def paused(self, what: str) -> Iterator[None]:
    """Time spent inside, on `what` (compiling, evaluating, saving), is not training time."""
    began = time.perf_counter()
    # The first evaluation mostly compiles, so how long one lasts is known from the second on.
    is_first = what not in self._lasts
    self._update(description=COMPILING if is_first and what == EVALUATING else what)
    yield
    seconds = time.perf_counter() - began
    self._idle += seconds
    self._lasts[what] = 0.0 if is_first else seconds
    self._update(description='training')

  def lap(self, step: int) -> dict[str, float]:
    """Returns the figures of timing.jsonl for the steps since the last call."""
    now = time.perf_counter()
    # The clock may not have moved between two quick calls; nothing is to be divided by 0.
    seconds = max(now - self._mark - (self._idle - self._idle_at_mark), 1e-9)
    steps = step - self._step
    figures = {
      'steps': steps,
      'seconds': seconds,
      'seconds_per_step': seconds / max(steps, 1),
      'waited_seconds': self._waited,
    }
    self._mark, self._idle_at_mark, self._waited, self._step = now, self._idle, 0.0, step
    return figures | ({'replicas': self._runs} if self._runs > 1 else {})

  def ended(self, step: int) -> None:
    """Moves the bar to a step that has ended, as the loop has just seen: nothing waits for it."""
    if not self._bar:
      return
    self._ends.append((step, time.perf_counter() - self._idle))
    (before, began), (_, now) = self._ends[0], self._ends[-1]
    if step == before:  # the first one, which has compiled too
      return self._update(completed=step)
    seconds = (now - began) / (step - before)
    left = (self._total - step) * seconds + sum(
      self._lasts.get(what, 0.0) * ((self._total - step) // every)
      for what, every in self._every.items()
    )
    self._update(
      completed=step,
      left=f'{datetime.timedelta(seconds=round(left))} left',
      speed=f'{seconds:.2f} s/step' if seconds > 1 else f'{1 / max(seconds, 1e-9):.1f} steps/s',
    )

  def _update(self, **fields: Any) -> None:
    if self._bar:
      self._bar.update(self._task, **fields)

  def rates(self, lap: dict[str, float], work_per_step: dict[str, float]) -> dict[str, float]:
    """Returns how much of each kind of work a second a run has done in a lap.

    Args:
      lap: from `lap`.
      work_per_step: see Problem.work; `model_flops` also gives the utilisation of the devices.
    """
    per_second = 1 / lap['seconds_per_step'] if lap['steps'] else 0.0
    rates = {f'{kind}_per_second': amount * per_second for kind, amount in work_per_step.items()}
    if self._peak and 'model_flops' in work_per_step:
      rates['utilisation'] = rates['model_flops_per_second'] / self._peak
    return rates

  def say(self, text: str) -> None:
    """Shows a line of text."""
    if self._bar:
      self._bar.console.print(text, highlight=False)
    else:
      self._log(text)

  def logged(self, step: int, lines: list[tuple[dict, dict]]) -> None:
    """Shows the metrics of each run with the figures of its lap: pairs (values, timing)."""
    figures = '  '.join([*self._metrics([values for values, _ in lines]), *self._speed(lines)])
    if self._bar:
      self._update(figures=figures)
    else:
      minutes = (self._total - step) * lines[0][1]['seconds_per_step'] / 60
      self._log(f'step {step}/{self._total}  {figures}  {minutes:.1f} minutes left')

  def _metrics(self, values_R: list[dict]) -> Iterator[str]:
    """Yields each shown metric, from the least of the runs to the largest, and what is wrong."""
    for metric in self._problem.shown[:1]:
      found = sorted(values[metric] for values in values_R if metric in values)
      if found:
        most = f' to {found[-1]:.4f}' if len(values_R) > 1 else ''
        yield f'{metric} {found[0]:.4f}{most}'
    for metric, text in self._problem.warnings.items():
      share = max(values.get(metric, 0) for values in values_R)
      if share:
        yield f'{share:.2%} {text}'

  def _speed(self, lines: list[tuple[dict, dict]]) -> Iterator[str]:
    """Yields the first kind of work a second and the utilisation, of all runs together."""
    # Each run's rate is of the one clock that all share, so rates of runs add up.
    total = lambda name: sum(timing[name] for _, timing in lines)
    kinds = [name for name in lines[0][1] if name.endswith('_per_second')]
    for name in kinds[:1]:
      yield f'{total(name):,.0f} {name.removesuffix("_per_second")}/s'
    if 'utilisation' in lines[0][1]:
      yield f'{total("utilisation"):.1%} of the peak'

  def evaluated(self, step: int, results: dict[str, dict[str, float]], name: str = '') -> None:
    """Shows an evaluation of a run."""
    shown = self._problem.shown
    texts = []
    for evaluator, values in results.items():
      found = [f'{metric} {values[metric]:.4f}' for metric in shown if metric in values]
      text = f'{evaluator} ' + (' '.join(found) or f'has no {" or ".join(shown)}')
      parts = self._parts(values) if evaluator == self._problem.ranking.evaluator else []
      texts.append(text + (f' ({", ".join(parts)})' if parts else ''))
    self.say(f'{name}step {step}  held out: ' + ', '.join(texts))

  def _parts(self, values: dict[str, float]) -> list[str]:
    """Returns the first shown metric of each part of the held-out rows, such as of each source."""
    starts = tuple(f'{metric}_on_' for metric in self._problem.shown[:1])
    return [
      f'{name.partition("_on_")[2]} {value:.4f}'
      for name, value in values.items()
      if name.startswith(starts)
    ]
