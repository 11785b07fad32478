"""What reports of sweeps say otherwise where the runs are fine-tuned: scores and their units."""

from mlm_jax.report import statistics
from mlm_jax.report.sweep_results import Sweep

BUDGETS = {
  'epochs': 'as many passes over the training examples',
  'steps': 'the same number of steps',
}
FINALS_NOTE = (
  'Means over the runs that are done, with the 95 % interval of each mean (Student, not '
  'simultaneous). Test scores are of the checkpoint that the validation examples have chosen, and '
  'are taken once; validation scores are of that checkpoint too, and are too good, since they have '
  'chosen it.'
)


def scores(sweep: Sweep) -> list[str]:
  """Returns the names of the scores of a sweep's runs, its own metric first, those on test next."""
  known = dict.fromkeys(
    name
    for prefix in ('test_', 'validation_')
    for run in sweep.runs
    for name in run.values
    if name.startswith(prefix)
  )
  return [sweep.metric, *(name for name in known if name != sweep.metric)]


def unit(sweep: Sweep) -> str:
  """Returns what differences are counted in."""
  words = sweep.metric.replace('_', ' ')
  return f'nats of {words}' if sweep.score == 'loss' else f'{words} (0.010 is one point)'


def means(sweep: Sweep) -> list[str]:
  """Returns lines of text: the mean of each score over the runs that are done, its interval."""
  done = [run for run in sweep.runs if run.state == 'done']
  found = {
    name: statistics.estimate([run.values.get(name) for run in done]) for name in scores(sweep)
  }
  width = max(map(len, found))
  lines = [
    f'{name:<{width}}  {each.mean:.4f}'
    + ('' if each.low is None else f' [{each.low:.4f}, {each.high:.4f}]')
    for name, each in found.items()
    if each.mean is not None
  ]
  return [f'mean over {len(done)} of {len(sweep.runs)} seeds, 95 % interval (Student):', *lines]
