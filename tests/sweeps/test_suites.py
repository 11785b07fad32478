"""Several sweeps of one question: made in turn, each in a folder of its own; stopped together."""

import json
import os
import signal

import pytest

from mlm_jax import config as config_lib
from mlm_jax import sweeps
from mlm_jax.sweeps import suites
from tests.sweeps import experiments
from tests.sweeps.actors import Actor
from tests.sweeps.experiments import NAMES

pytestmark = pytest.mark.usefixtures('quick')


def make(workdir, actor):
  """Makes two sweeps; returns (whether all is done, the lines that were said)."""
  lines, both = [], {'first': experiments.sweep(), 'second': experiments.sweep()}
  plans = suites.plan(both, 'experiments/rate', workdir, experiments.QUIET)
  return suites.run(plans, workdir, actor, lines.append), lines


def test_each_is_made_in_turn_in_a_folder_of_its_own(tmp_path):
  actor = Actor({NAMES[0]: [2, 'done']})
  done, lines = make(tmp_path, actor)
  # A run that fails in the first does not keep the second from being made.
  assert not done and actor.started == 2 * NAMES
  assert [line for line in lines if line.startswith('sweep ')] == ['sweep first', 'sweep second']
  for name in ('first', 'second'):
    assert (tmp_path / name / 'runs' / NAMES[1]).is_dir()
  assert json.loads((tmp_path / 'suite.json').read_text()) == {'sweeps': ['first', 'second']}
  again = Actor()
  assert make(tmp_path, again)[0] and again.started == [NAMES[0]]


def test_a_signal_ends_all_of_them(tmp_path):
  actor = Actor({NAMES[1]: [lambda: os.kill(os.getpid(), signal.SIGTERM)]})
  assert not make(tmp_path, actor)[0]
  assert actor.started == NAMES[:2] and not (tmp_path / 'second' / 'runs').exists()


@pytest.mark.parametrize(
  'body, says',
  (
    ('return {}', 'returned no sweep'),
    ("return {'../a': 3}", "names a sweep '../a': must be letters"),
    ("return {'a': 3}", 'returned 3 as a; it must return a sweeps.Sweep'),
    (
      "return {'a': sweeps.Sweep(base=config.base(), runs=[], question='?')}",
      'a: runs: must be a list',
    ),
  ),
)
def test_what_is_no_list_of_sweeps_is_refused(tmp_path, body, says):
  with pytest.raises(config_lib.UserError, match=says):
    suites.load(experiments.write(tmp_path / 'experiment', body))


def test_where_one_is_asked_for_several_are_refused(tmp_path):
  sweep = "sweeps.Sweep(base=config.base(), runs=[{}], question='?')"
  folder = experiments.write(tmp_path / 'experiment', f"return {{'a': {sweep}, 'b': {sweep}}}")
  with pytest.raises(config_lib.UserError, match='2 sweeps by name, where one is asked for$'):
    sweeps.load(folder)


def test_the_name_of_the_one_that_cannot_be_made_is_said(tmp_path):
  bad = experiments.sweep(baseline='absent')
  with pytest.raises(config_lib.UserError, match='^second: baseline'):
    suites.plan(
      {'first': experiments.sweep(), 'second': bad}, 'x', tmp_path / 'all', experiments.QUIET
    )
  assert not (tmp_path / 'all').exists()
