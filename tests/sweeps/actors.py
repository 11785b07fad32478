"""A launcher that acts, so that sweeps can be made without training, and what it leaves behind."""

import json

from mlm_jax import sweeps
from mlm_jax.sweeps import launchers
from mlm_jax.training import checkpoint
from mlm_jax.training import workdir as workdir_lib
from tests.sweeps import experiments


class Actor:
  """A launcher whose runs do what a script says.

  Args:
    script: {name: exit statuses of its attempts}; 'done' leaves the last checkpoint, other text
      is why the run could not be made, a pair is a status and what is printed, a function is
      called; what is not in it is done at once.
    slots: runs at once.
  """

  def __init__(self, script=(), slots=1):
    self.slots = slots
    self._script = {name: list(acts) for name, acts in dict(script).items()}
    self.started = []  # names, in their order
    self.running = set()
    self.most_running = 0
    self.signalled = []  # ('stop' or 'kill', name)

  def start(self, folder):
    self.started.append(folder.name)
    self.running.add(folder.name)
    self.most_running = max(self.most_running, len(self.running))
    acts = self._script.get(folder.name) or ['done']
    return Act(self, folder, acts.pop(0))


class Act:
  def __init__(self, actor, folder, act):
    self._actor, self._folder, self._act = actor, folder, act
    self.started = not isinstance(act, str) or act == 'done'
    self._looks = 0

  def poll(self):
    self._looks += 1
    if self._looks < 3:  # it takes a while
      return None
    if callable(self._act):
      self._act = self._act()
    if self._act is None:
      return None
    self._actor.running.discard(self._folder.name)
    if self._act == 'done':
      finish(self._folder)
      return 0
    if not self.started:
      return self._act
    status, text = (
      self._act
      if isinstance(self._act, tuple)
      else (self._act, f'{self._folder.name} says {self._act}\n')
    )
    with open(launchers.output(self._folder), 'a') as log:
      print(text, file=log)
    if status == 3:
      workdir_lib.diverge(self._folder, 4, 'step 4: nothing is finite')
    return status

  def stop(self):
    self._actor.signalled.append(('stop', self._folder.name))
    self._act = 1

  def kill(self):
    self._actor.signalled.append(('kill', self._folder.name))
    self._act = -9


def finish(folder):
  """Leaves what a finished run leaves."""
  config = workdir_lib.read_config(folder)
  last = folder / 'checkpoints' / str(config.total_steps)
  last.mkdir(parents=True)
  (last / checkpoint.MANIFEST).write_text('{"files": {}}')
  outcome = {'step': int(last.name), 'reason': 'all steps'}
  (last.parents[1] / workdir_lib.FINISHED).write_text(json.dumps(outcome))
  (folder / 'environment.json').write_text('[]')


def make(workdir, actor, runs=None, base=None, **settings):
  """Makes the runs of a sweep; returns (whether all are done, the lines that were said)."""
  lines = []
  plan = experiments.plan(workdir, runs, base, **settings)
  return sweeps.run(plan, workdir, actor, lines.append), lines


def statuses(workdir):
  return json.loads((workdir / 'status.json').read_text())
