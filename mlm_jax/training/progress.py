"""What a person sees of training: a progress bar on a terminal, plain lines elsewhere."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import sys
import time
from typing import Any

import rich.console
import rich.progress

from mlm_jax.training import distributed
from mlm_jax.training import problem as problem_lib


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
    self._log, self._peak, self._runs = log, peak, runs
    self._step = first
    self._mark = time.perf_counter()
    self._idle = self._waited = 0.0
    self._bar: rich.progress.Progress | None = None
    # A bar in a file would be thousands of lines of control characters.
    if distributed.is_first() and sys.stderr.isatty():
      columns = [
        '{task.description}',
        rich.progress.BarColumn(),
        '{task.completed}/{task.total}',
        '{task.fields[figures]}',
        rich.progress.TimeElapsedColumn(),
        rich.progress.TimeRemainingColumn(),
      ]
      self._bar = rich.progress.Progress(*columns, console=rich.console.Console(stderr=True))
      self._task = self._bar.add_task('training', total=self._total, completed=first, figures='')

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
  def paused(self) -> Iterator[None]:
    """Time spent inside (compiling, evaluating, saving) is not training time."""
    began = time.perf_counter()
    yield
    self._idle += time.perf_counter() - began

  def lap(self, step: int) -> dict[str, float]:
    """Returns the figures of timing.jsonl for the steps since the last call."""
    now = time.perf_counter()
    # The clock may not have moved between two quick calls; nothing is to be divided by 0.
    seconds, steps = max(now - self._mark - self._idle, 1e-9), step - self._step
    figures = {
      'steps': steps,
      'seconds': seconds,
      'seconds_per_step': seconds / max(steps, 1),
      'waited_seconds': self._waited,
    }
    self._mark, self._idle, self._waited, self._step = now, 0.0, 0.0, step
    return figures | ({'replicas': self._runs} if self._runs > 1 else {})

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
      self._bar.update(self._task, completed=step, figures=figures)
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
      texts.append(f'{evaluator} ' + (' '.join(found) or f'has no {" or ".join(shown)}'))
    self.say(f'{name}step {step}  held out: ' + ', '.join(texts))
