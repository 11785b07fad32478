"""What a person sees of a training run: a progress bar, or plain lines elsewhere."""

import contextlib
import sys
import time

import rich.console
import rich.progress


class Reporter:
  """Keeps the clock of a run and shows its progress.

  Args:
    config: the run's.
    first: the step that it starts from.
    log: called with a line of text when the output is no terminal.
  """

  def __init__(self, config, first, log):
    self._config, self._step, self._log = config, first, log
    self._mark = time.perf_counter()
    self._idle = self._waited = 0.0
    self._compiling = True   # the first step compiles: it does not count
    self._bar = None
    if sys.stderr.isatty():
      columns = ['{task.description}', rich.progress.BarColumn(), '{task.completed}/{task.total}',
                 '{task.fields[figures]}', rich.progress.TimeElapsedColumn(),
                 rich.progress.TimeRemainingColumn()]
      self._bar = rich.progress.Progress(*columns, console=rich.console.Console(stderr=True))
      self._task = self._bar.add_task('training', total=config.total_steps, completed=first, figures='')

  def __enter__(self):
    if self._bar:
      self._bar.start()
    return self

  def __exit__(self, *unused):
    if self._bar:
      self._bar.stop()

  def waited(self, seconds):
    """Adds to the time that training stood waiting for data."""
    self._waited += seconds

  @contextlib.contextmanager
  def paused(self):
    """Time spent inside (evaluating, saving) is not training time."""
    began = time.perf_counter()
    yield
    self._idle += time.perf_counter() - began

  def stepped(self):
    """A step has been queued; the first one's time is compilation and is left out."""
    if self._compiling:
      self._compiling = False
      if self._config.log.every > 1:
        self._mark, self._idle, self._step = time.perf_counter(), 0.0, self._step + 1

  def lap(self, step):
    """Returns the figures of timing.jsonl for the steps since the last call."""
    now = time.perf_counter()
    seconds = max(now - self._mark - self._idle, 1e-9)
    steps = max(step - self._step, 1)
    slots = steps * self._config.batch_size * self._config.data.row_length
    figures = {'seconds': seconds, 'seconds_per_step': seconds / steps,
               'tokens_per_second': slots / seconds, 'waited_seconds': self._waited}
    self._mark, self._idle, self._waited, self._step = now, 0.0, 0.0, step
    return figures

  def logged(self, step, values, timing):
    """Shows a line of metrics with the figures of its lap."""
    total = self._config.total_steps
    figures = f'loss {values.get("loss", float("nan")):.4f}  {timing["tokens_per_second"]:,.0f} tokens/s'
    if values.get('overflow'):
      figures += f'  {values["overflow"]:.2%} of the predictions did not fit their buffer'
    if self._bar:
      self._bar.update(self._task, completed=step, figures=figures)
    else:
      minutes = (total - step) * timing['seconds_per_step'] / 60
      self._log(f'step {step}/{total}  {figures}  {minutes:.1f} minutes left')

  def evaluated(self, step, results):
    """Shows an evaluation."""
    text = f'step {step}  held out: ' + ', '.join(
        f'{name} loss {values["loss"]:.4f} accuracy {values["accuracy"]:.3f}'
        if 'loss' in values else f'{name}: nothing was predicted' for name, values in results.items())
    if self._bar:
      self._bar.console.print(text, highlight=False)
    else:
      self._log(text)
