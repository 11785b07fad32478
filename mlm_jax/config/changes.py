"""Which settings of a run may differ when it goes on, and when.

What a run has computed must be what its config says, from the first step on. So a setting may
change where it decides nothing that was computed (ANYTIME), where it decides how the run ends and
would not have ended it before (`ending`), or where it is of the learning rate's schedule and the
rates so far stay the same (SCHEDULE; the rates are compared in training/changes.py).
"""

from mlm_jax.config import saved
from mlm_jax.config.keys import Config

# Where and how a run is computed, to float error the same; and how its model is scored in batches.
ANYTIME = (*saved.OPERATIONAL, 'evaluation.batch_size')
# What the rate of a step depends on besides the warm-up and the peak, which are behind most runs.
SCHEDULE = (
  'total_steps',
  'stages',
  'optim.schedule',
  'optim.power',
  'optim.decay_steps',
  'optim.final_lr_ratio',
)
# Schedules of the masking rate that do not follow the share of the steps that are done.
_STEADY = ('constant', 'row')


def why_refused(key: str, new: Config, old: Config) -> str:
  """Returns why a setting that differs cannot change, '' where it may.

  A setting of SCHEDULE may also be refused by the learning rates of the steps that are done.

  Args:
    key: dotted, of a setting that is not of ANYTIME.
    new: the config that the run is to go on with.
    old: the run's.
  """
  if key.startswith('evaluation.') and key != 'evaluation.rows':
    return _ending(key, new, old)
  if key == 'evaluation.rows':
    return 'its scores so far are of these rows, and others could not be compared with them'
  if key not in SCHEDULE:
    return 'its steps so far were computed with it'
  if key == 'stages' and not _only_longer(new, old):
    return 'only the steps of the last stage may change'
  if key == 'total_steps' and 'masking' in old and old.masking.schedule not in _STEADY:
    return (
      f'config.masking.schedule = {old.masking.schedule!r} spreads the masking rate over all steps'
    )
  return ''


def _ending(key: str, new: Config, old: Config) -> str:
  """Returns why a setting that decides when evaluations end a run cannot change, or ''."""
  patience, before = new.evaluation.patience, old.evaluation.patience
  # 0 = evaluations end nothing: then nothing depends on how many there were, or how they are read.
  if not patience or key == 'evaluation.patience' and 0 < before <= patience:
    return ''
  if key == 'evaluation.patience':
    return 'fewer evaluations might have ended it before; it may grow, or be 0'
  return f'config.evaluation.patience = {patience} counts its evaluations; with 0 it may change'


def _only_longer(new: Config, old: Config) -> bool:
  """Whether stages differ in nothing but the number of steps of the last one."""
  ours, theirs = (
    [
      {key: value for key, value in stage.items() if key not in saved.OPERATIONAL}
      for stage in each.stages
    ]
    for each in (new, old)
  )
  if len(ours) != len(theirs):
    return False
  ours[-1]['steps'] = theirs[-1]['steps']
  return ours == theirs
