"""Experiments and plans that tests here share."""

from mlm_jax import sweeps
from tests import toys

QUIET = lambda line: None
# Of the runs of `sweep`, where it is not given others.
NAMES = ['rate=0.15_seed=0', 'rate=0.15_seed=1', 'rate=0.3_seed=0', 'rate=0.3_seed=1']


def sweep(runs=None, base=None, **settings):
  """Returns a Sweep over two rates and two seeds, or over other runs."""
  runs = (
    sweeps.product(sweeps.param('masking.rate', [0.15, 0.3]), sweeps.seeds(2))
    if runs is None
    else runs
  )
  return sweeps.Sweep(
    base=toys.config() if base is None else base,
    runs=runs,
    **{'question': 'Does the rate matter?', **settings},
  )


def plan(workdir, runs=None, base=None, **settings):
  """Returns the Plan of such a sweep."""
  return sweeps.plan(sweep(runs, base, **settings), 'experiments/rate', workdir, QUIET)


def write(folder, body):
  """Writes an experiment whose get_sweep has a body of lines; returns its folder."""
  folder.mkdir(exist_ok=True)
  lines = '\n'.join('  ' + line for line in body.splitlines())
  (folder / 'sweep.py').write_text(
    'from mlm_jax import config\nfrom mlm_jax import sweeps\n'
    f'from tests import toys\n\ndef get_sweep():\n{lines}\n'
  )
  return folder
