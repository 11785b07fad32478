"""Small modules in place of wandb and Trackio: they take what those document, and record it.

test_real.py compares their signatures with those of the libraries, where these are installed.
"""

import importlib.machinery
import sys
import types

from mlm_jax.training import trackers


def install(monkeypatch, name, module):
  """Puts a module where an import of this name finds it."""
  module.__spec__ = importlib.machinery.ModuleSpec(name, None, origin='here')
  monkeypatch.setitem(sys.modules, name, module)
  return module


def show(config, workdir, say, status=0, logs=(('metrics', 1, {'loss': 0.5}),)):
  """Has a config's trackers show lines of logs as if a run in a folder wrote them."""
  workdir.mkdir(parents=True, exist_ok=True)
  with trackers.Trackers(trackers.describe(workdir, config, 0), say) as shown:
    for log in logs:
      shown.write(*log)
    shown.end(status)


class Wandb(types.ModuleType):
  """wandb, as of version 0.31.

  Attributes:
    runs: that were begun, in their order.
    mode, has_key: what the user has set up.
  """

  def __init__(self, mode='online', has_key=True):
    super().__init__('wandb')
    self.mode, self.has_key, self.runs = mode, has_key, []

  def setup(self):
    return types.SimpleNamespace(settings=types.SimpleNamespace(mode=self.mode))

  def login(self, prompt=True, verify=True):
    assert self.has_key or not prompt, 'it asks on the terminal'
    return self.has_key

  def Settings(self, *, silent=False, console='auto', finish_timeout=0.0):
    return {'silent': silent, 'console': console, 'finish_timeout': finish_timeout}

  def init(
    self,
    project=None,
    dir=None,
    id=None,
    name=None,
    config=None,
    allow_val_change=None,
    group=None,
    reinit=None,
    resume=None,
    settings=None,
  ):
    self.runs.append(WandbRun(dict(locals())))
    return self.runs[-1]


class WandbRun:
  url = 'https://wandb.example/run'

  def __init__(self, given):
    self.given, self.lines, self.defined, self.exit_code = given, [], [], None

  def define_metric(self, name, step_metric=None):
    self.defined.append((name, step_metric))

  def log(self, data, step=None, commit=None):
    assert self.exit_code is None
    self.lines.append(data)

  def finish(self, exit_code=None):
    self.exit_code = exit_code


class Trackio(types.ModuleType):
  """trackio, as of version 0.43; attributes as above."""

  def __init__(self):
    super().__init__('trackio')
    self.runs = []

  def init(self, project, name=None, group=None, config=None, resume='never', embed=True):
    self.runs.append(TrackioRun(dict(locals())))
    return self.runs[-1]


class TrackioRun:
  def __init__(self, given):
    self.given, self.lines, self.is_finished = given, [], False

  def log(self, metrics, step=None):
    assert not self.is_finished
    self.lines.append({'step': step, **metrics})

  def finish(self):
    self.is_finished = True
