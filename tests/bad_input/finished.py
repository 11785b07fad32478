"""A finished sweep of two arms, made of one run that is trained once a session."""

import shutil

from mlm_jax import sweeps
from mlm_jax.sweeps import launchers
from mlm_jax.sweeps import runner
from mlm_jax.training import workdir as workdir_lib
from tests import shared_runs
from tests.bad_input import hostile

_EXPERIMENT = """
from mlm_jax import sweeps
from tests import toys

def get_sweep():
  base = toys.training_config({text!r}, data__row_length=32, mesh__devices=1, seed=3)
  runs = sweeps.param('masking.unit', ['token', 'word'])
  return sweeps.Sweep(question='Do words help?', base=base, runs=runs)
"""


def sweep(tmp_path_factory):
  """Returns a folder with the experiment and, as `work`, the sweep, scored and reported."""
  run = shared_runs.from_the_command_line(tmp_path_factory)
  text = str(shared_runs.corpus(tmp_path_factory))

  def make(folder):
    experiment, work = folder / 'experiment', folder / 'work'
    experiment.mkdir()
    (experiment / 'sweep.py').write_text(_EXPERIMENT.format(text=text))
    shutil.copytree(run / 'data', work / 'data')
    plan = sweeps.plan(sweeps.load(experiment), experiment, work, shared_runs.QUIET)
    for each in plan.runs:
      place = work / 'runs' / each.name
      # What the run was before its end is of no use to a finished one.
      shutil.copytree(run, place, ignore=shutil.ignore_patterns('data', '2', '4'))
      workdir_lib.write_config(place, each.config)
    assert hostile.call(['sweep', str(experiment), f'--workdir={work}']) == 0
    assert hostile.call(['report', str(work)]) == 0

  return shared_runs.once(tmp_path_factory, 'finished_sweep', make)


class _Refused:
  """A run that was started and ended with the status of wrong input."""

  started = True

  def poll(self):
    return 2

  def stop(self):
    pass

  kill = stop


def refuse_runs(monkeypatch):
  """Lets a sweep start runs, none of which trains: what each would do to its folder is tried with
  `train`.
  """

  def start(self, folder):
    with open(launchers.output(folder), 'a') as log:
      log.write('refused\n')
    return _Refused()

  monkeypatch.setattr(launchers.Local, 'start', start)
  monkeypatch.setattr(runner, '_PAUSE', 0.0)
