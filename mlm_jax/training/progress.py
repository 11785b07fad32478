"""What a person sees of a training run: a progress bar, or plain lines elsewhere."""

import contextlib
import math
import sys
import time

import rich.console
import rich.progress

from mlm_jax.training import distributed


class Reporter:
  """Keeps the clock of a run and shows its progress.

  Args:
    config: the run's.
    first: the step that it starts from.
    log: called with a line of text when the output is no terminal.
    peak: FLOP/s that all devices together can do; None where it is not known.
    replicas: runs that train as one; None for a run on its own.
  """

  def __init__(self, config, first, log, peak=None, replicas=None):
    self._config, self._step, self._log, self._peak = config, first, log, peak
    self._replicas = replicas
    self._mark = time.perf_counter()
    self._idle = self._waited = 0.0
    self._slots = 0  # tokens and padding since the last lap
    self._bar = None
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
      self._task = self._bar.add_task(
        'training', total=config.total_steps, completed=first, figures=''
      )

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
    """Time spent inside (compiling, evaluating, saving) is not training time."""
    began = time.perf_counter()
    yield
    self._idle += time.perf_counter() - began

  def stepped(self, config):
    """A step has been queued, with the batch that the config says (in each of the runs)."""
    self._slots += config.batch_size * config.data.row_length

  def lap(self, step):
    """Returns the figures of timing.jsonl for the steps since the last call, those of one run of
    several.
    """
    now = time.perf_counter()
    seconds = max(now - self._mark - self._idle, 1e-9)
    figures = {
      'seconds': seconds,
      'seconds_per_step': seconds / max(step - self._step, 1),
      'tokens_per_second': self._slots / seconds,
      'waited_seconds': self._waited,
    }
    self._mark, self._idle, self._waited, self._step, self._slots = now, 0.0, 0.0, step, 0
    return figures | ({} if self._replicas is None else {'replicas': self._replicas})

  def rates(self, lap, values, flops):
    """Returns what follows from a lap's figures, its metrics and the FLOPs that its steps
    needed.
    """
    rates = {
      'useful_tokens_per_second': lap['tokens_per_second'] * (1 - values.get('padding', 0)),
      'model_flops_per_second': flops / lap['seconds'],
    }
    return rates | (
      {'utilisation': rates['model_flops_per_second'] / self._peak} if self._peak else {}
    )

  def say(self, text):
    """Shows a line of text."""
    if self._bar:
      self._bar.console.print(text, highlight=False)
    else:
      self._log(text)

  def logged(self, step, lines):
    """Shows the metrics of each run with the figures of its lap: pairs (values, timing)."""
    total, timing = self._config.total_steps, lines[0][1]
    losses = [f'{loss:.4f}' for loss in sorted(values.get('loss', math.nan) for values, _ in lines)]
    figures = f'loss {losses[0]}' + (f' to {losses[-1]}' if len(losses) > 1 else '')
    figures += f'  {sum(each["tokens_per_second"] for _, each in lines):,.0f} tokens/s'
    if 'utilisation' in timing:
      figures += f'  {sum(each["utilisation"] for _, each in lines):.1%} of the peak'
    overflow = max(values.get('overflow', 0) for values, _ in lines)
    if overflow:
      figures += f'  {overflow:.2%} of the predictions did not fit their buffer'
    if self._bar:
      self._bar.update(self._task, completed=step, figures=figures)
    else:
      minutes = (total - step) * timing['seconds_per_step'] / 60
      self._log(f'step {step}/{total}  {figures}  {minutes:.1f} minutes left')

  def evaluated(self, step, results, name=''):
    """Shows an evaluation of a run."""
    text = f'{name}step {step}  held out: ' + ', '.join(
      f'{each} loss {values["loss"]:.4f} accuracy {values["accuracy"]:.3f}'
      if 'loss' in values
      else f'{each}: nothing was predicted'
      for each, values in results.items()
    )
    self.say(text)
