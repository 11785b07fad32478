"""Weights & Biases. Of its own settings, WANDB_MODE, WANDB_ENTITY and the like hold as ever.

What it keeps on disk lies in the run's folder. A run that goes on is the same run there.
"""

from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.training.trackers import interface
from mlm_jax.training.trackers import sent

_SECONDS = 20  # that what has not been uploaded at the end may take; it stays on disk


def start(run: interface.Run) -> interface.Tracker:
  """See interface."""
  import wandb  # pyrefly: ignore[missing-import]

  return _Wandb(wandb, run)


class _Wandb:
  """A run of wandb."""

  def __init__(self, wandb: Any, run: interface.Run):
    self._sent = sent.Sent(run.workdir, 'wandb')
    # It would ask for a key on the terminal, in the midst of training.
    is_online = wandb.setup().settings.mode not in ('offline', 'dryrun', 'disabled')
    if is_online and not wandb.login(prompt=False, verify=False):
      raise config_lib.UserError('it has no key: `wandb login`, or WANDB_MODE=offline')
    self._run = wandb.init(
      project=run.config.log.project,
      dir=str(run.workdir),
      id=self._sent.id,
      resume='allow',
      name=run.name,
      group=run.group,
      config=run.config.to_dict(),
      allow_val_change=True,  # of the config of a run that goes on
      reinit='create_new',  # the runs of a population are in one process
      # Silent, and without a copy of what is printed: the terminal has a bar.
      settings=wandb.Settings(silent=True, console='off', finish_timeout=_SECONDS),
    )
    # Not its own count of steps: that never goes back, and a line of an earlier step may be late.
    self._run.define_metric('step')
    self._run.define_metric('*', step_metric='step')
    self.says = f'wandb shows {run.name} at {self._run.url}' if is_online else ''

  def write(self, log: str, step: int, scalars: dict[str, float]) -> None:
    """See interface.Tracker."""
    if not self._sent.has(log, step):
      self._run.log({'step': step, **{f'{log}/{key}': value for key, value in scalars.items()}})
      self._sent.add(log, step)

  def finish(self, status: int) -> None:
    """See interface.Tracker."""
    self._run.finish(exit_code=status)
