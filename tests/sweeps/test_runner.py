"""The runner: what is done is left alone, what crashes is tried again, what fails stops nothing
else.
"""

import collections
import contextlib
import os
import shutil
import signal

import pytest

from mlm_jax import config as config_lib
from mlm_jax import sweeps
from mlm_jax.sweeps import launchers
from mlm_jax.sweeps import scoring
from mlm_jax.training import workdir as workdir_lib
from tests.sweeps.actors import Act
from tests.sweeps.actors import Actor
from tests.sweeps.actors import finish
from tests.sweeps.actors import make
from tests.sweeps.actors import statuses
from tests.sweeps.experiments import NAMES

pytestmark = pytest.mark.usefixtures('quick')


def test_every_run_is_made_once_in_order(tmp_path):
  actor = Actor()
  done, lines = make(tmp_path, actor)
  assert done and actor.started == NAMES and lines[-1] == '4 of 4 runs are done'
  assert statuses(tmp_path) == {
    name: {'state': 'done', 'attempts': 1, 'error': None} for name in NAMES
  }


@pytest.mark.parametrize('slots', (1, 3))
def test_as_many_runs_as_there_are_slots_are_made_at_once(tmp_path, slots):
  actor = Actor(slots=slots)
  assert make(tmp_path, actor)[0] and actor.most_running == slots


def test_what_is_done_is_not_made_again(tmp_path):
  make(tmp_path, Actor({NAMES[1]: [2]}))
  again = Actor()
  assert make(tmp_path, again)[0] and again.started == [NAMES[1]]
  third = Actor()
  assert make(tmp_path, third)[0] and third.started == []


def test_a_crashed_run_is_tried_again_twice_at_most_and_the_others_continue(tmp_path):
  actor = Actor({NAMES[0]: [1, -9, 'done'], NAMES[2]: [1, 1, -11, 'done']})
  done, lines = make(tmp_path, actor)
  assert not done
  assert collections.Counter(actor.started) == {NAMES[0]: 3, NAMES[1]: 1, NAMES[2]: 3, NAMES[3]: 1}
  said = statuses(tmp_path)
  assert said[NAMES[0]] == {'state': 'done', 'attempts': 3, 'error': None}
  assert said[NAMES[2]] == {
    'state': 'failed',
    'attempts': 3,
    'error': 'killed by signal 11 (Segmentation fault)',
  }
  assert lines[-1] == '3 of 4 runs are done'
  assert f'see {tmp_path}/runs/{NAMES[2]}/output.log' in lines[-2]


@pytest.mark.parametrize('scored', (True, False))
def test_runs_are_scored_once_none_trains_any_more(tmp_path, monkeypatch, scored):
  actor, seen = Actor({NAMES[0]: [2]}, slots=2), []

  def score(plan, workdir, log):
    seen.append((list(actor.started), set(actor.running)))
    return scored

  monkeypatch.setattr(scoring, 'score', score)
  assert not make(tmp_path, actor)[0] and seen == [(NAMES, set())]  # one of them has failed
  assert make(tmp_path, actor)[0] == scored and len(seen) == 2
  stopped = Actor({'rate=0.5_seed=0': [lambda: os.kill(os.getpid(), signal.SIGINT)]})
  rates = sweeps.param('masking.rate', [0.15, 0.5])
  assert not make(tmp_path, stopped, rates)[0] and len(seen) == 2


def test_a_run_that_never_begins_is_not_tried_for_ever(tmp_path):
  actor = Actor({NAMES[0]: ['no such folder'] * 9})
  assert not make(tmp_path, actor)[0] and actor.started.count(NAMES[0]) == 3
  assert statuses(tmp_path)[NAMES[0]] == {
    'state': 'failed',
    'attempts': 3,
    'error': 'no such folder',
  }


def test_a_sweep_that_cannot_continue_stops_its_runs(tmp_path, monkeypatch):
  actor = Actor(slots=2)

  def fail(*unused):
    raise ZeroDivisionError

  monkeypatch.setattr(Act, 'poll', fail)
  with pytest.raises(ZeroDivisionError):
    make(tmp_path, actor)
  assert actor.signalled == [('stop', NAMES[0]), ('stop', NAMES[1])]


def test_wrong_input_is_not_tried_again_and_its_line_is_shown(tmp_path):
  actor = Actor({NAMES[0]: [2]})
  done, lines = make(tmp_path, actor)
  assert not done and actor.started == NAMES
  assert statuses(tmp_path)[NAMES[0]]['error'] == f'exit status 2: {NAMES[0]} says 2'
  assert any(f'{NAMES[0]} failed: exit status 2: {NAMES[0]} says 2' in line for line in lines)


def test_a_run_that_diverges_is_not_tried_again_and_called_so(tmp_path):
  actor = Actor({NAMES[0]: [3]})
  done, lines = make(tmp_path, actor)
  assert not done and actor.started == NAMES
  why = 'step 4: nothing is finite'
  assert statuses(tmp_path)[NAMES[0]] == {'state': 'diverged', 'attempts': 1, 'error': why}
  assert any(f'{NAMES[0]} diverged: {why}' in line for line in lines)
  # Its folder says it, also where the sweep was killed before it could.
  (tmp_path / 'status.json').unlink()
  again = Actor()
  done, lines = make(tmp_path, again)
  assert not done and again.started == []
  assert any(f'{NAMES[0]} diverged: {why}' in line for line in lines)
  assert lines[-1] == f'{len(NAMES) - 1} of {len(NAMES)} runs are done'
  shutil.rmtree(tmp_path / 'runs' / NAMES[0])
  assert make(tmp_path, again)[0] and again.started == NAMES[:1]


def test_the_reason_of_a_failure_is_what_its_own_attempt_printed(tmp_path):
  place = tmp_path / 'runs' / NAMES[0]
  place.mkdir(parents=True)
  launchers.output(place).write_text('the words of an earlier one\n')
  assert not make(tmp_path, Actor({NAMES[0]: [(2, '')]}))[0]
  assert statuses(tmp_path)[NAMES[0]]['error'] == 'exit status 2: it printed nothing'


def hold(place):
  """Holds a run's folder as the process that trains there does; returns what lets go of it."""
  held = contextlib.ExitStack()
  held.enter_context(workdir_lib.locked(place))
  (place / 'config.json').touch()  # else nothing of the folder would be left
  return held.close


@pytest.mark.parametrize('is_finished', (True, False))
def test_a_process_that_outlived_its_sweep_is_waited_for_and_not_started_beside(
  tmp_path, is_finished
):
  place = tmp_path / 'runs' / NAMES[0]
  let_go = hold(place)

  def end():
    assert NAMES[0] not in actor.started and actor.most_running == 1  # it keeps its place
    if is_finished:
      finish(place)
    let_go()
    return 'done'

  actor = Actor({NAMES[1]: [end]}, slots=2)
  done, lines = make(tmp_path, actor)
  assert done and actor.started.count(NAMES[0]) == (0 if is_finished else 1)
  assert sum('outlived its sweep' in line for line in lines) == 1
  assert not any('failed' in line for line in lines)


def test_a_signal_does_not_wait_for_a_process_that_outlived_its_sweep(tmp_path):
  let_go = hold(tmp_path / 'runs' / NAMES[0])
  actor = Actor({NAMES[1]: [lambda: os.kill(os.getpid(), signal.SIGINT)]}, slots=2)
  done, lines = make(tmp_path, actor)
  let_go()
  assert not done and 'stopped by SIGINT' in lines[-1]
  assert statuses(tmp_path)[NAMES[0]] == {'state': 'waiting', 'attempts': 0, 'error': None}


def test_a_folder_that_is_held_is_not_wrong_input(tmp_path):
  let_go = hold(tmp_path / 'runs' / NAMES[0])
  with (
    pytest.raises(config_lib.UserError) as error,
    workdir_lib.locked(tmp_path / 'runs' / NAMES[0]),
  ):
    pass
  let_go()  # between the look at the lock and the start of the run somebody held it
  printed = f'mlm-jax train: {error.value}\nstep 8, says the other'
  done, lines = make(tmp_path, Actor({NAMES[0]: [(2, printed)]}))
  assert done and statuses(tmp_path)[NAMES[0]]['attempts'] == 2


def test_a_run_is_done_when_its_last_step_is_saved_whatever_its_exit_status_is(tmp_path):
  done, _ = make(tmp_path, Actor({NAMES[0]: [0, 'done']}))
  assert done and statuses(tmp_path)[NAMES[0]]['attempts'] == 2


@pytest.mark.parametrize('number', (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
def test_a_signal_stops_what_runs_and_the_same_call_resumes(tmp_path, number):
  actor = Actor({NAMES[1]: [lambda: os.kill(os.getpid(), number)]}, slots=2)
  before = signal.getsignal(number)
  done, lines = make(tmp_path, actor)
  assert not done and signal.getsignal(number) is before
  assert (
    ('stop', NAMES[1]) in actor.signalled and not actor.running and NAMES[3] not in actor.started
  )
  assert f'stopped by {signal.Signals(number).name}, the same command resumes them' in lines[-1]
  assert statuses(tmp_path)[NAMES[1]] == {'state': 'waiting', 'attempts': 1, 'error': None}
  again = Actor()
  assert make(tmp_path, again)[0] and NAMES[0] not in again.started


def test_a_second_interrupt_does_not_wait(tmp_path):
  def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

  class Stubborn(Act):
    def stop(self):
      interrupt()

  actor = Actor({NAMES[0]: [interrupt]})
  start = actor.start
  actor.start = lambda folder: Stubborn(actor, folder, start(folder)._act)
  assert not make(tmp_path, actor)[0]
  assert actor.signalled == [('kill', NAMES[0])]
