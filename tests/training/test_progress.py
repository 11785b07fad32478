"""What a person sees on a terminal: every step, the time left from the first steps on, and why
nothing moves."""

import io
import types

import pytest
import rich.console

from mlm_jax.training import progress as progress_lib
from tests.training import toy


class Clock:
  """Seconds that pass when it is told so."""

  def __init__(self):
    self.now = 0.0

  def perf_counter(self):
    return self.now


@pytest.fixture
def clock(monkeypatch):
  clock = Clock()
  monkeypatch.setattr(progress_lib, 'time', clock)
  return clock


@pytest.fixture
def screen(monkeypatch):
  """What is written to a terminal of 80 columns."""
  written = io.StringIO()
  console = rich.console.Console(file=written, force_terminal=True, width=80)
  monkeypatch.setattr(progress_lib, 'terminal', lambda: console)
  return written


def bar(**settings):
  """Returns the Progress of a run of 100 steps that logs once, and (step) -> what its bar says."""
  settings = {'total_steps': 100, 'log__every': 100, 'checkpoint__every': 100} | settings
  config = toy.config(**{'evaluation__every': 50} | settings)
  made = progress_lib.Progress(types.SimpleNamespace(shown=('loss',)), config, 0, toy.silent)
  assert made._bar is not None
  tasks = made._bar.tasks
  return made, lambda: tasks[0]


def test_the_time_left_is_known_from_the_second_step_on_whatever_is_logged(clock, screen):
  progress, task = bar()
  with progress.paused(progress_lib.COMPILING):
    assert task().description == 'compiling'
    clock.now += 30
  clock.now += 2
  progress.ended(1)
  assert (task().completed, task().fields['left'], task().description) == (1, '', 'training')
  clock.now += 2
  progress.ended(2)
  assert task().completed == 2
  assert (task().fields['left'], task().fields['speed']) == ('0:03:16 left', '2.00 s/step')


def test_the_speed_is_that_of_recent_steps_without_what_interrupts_them(clock, screen):
  progress, task = bar(total_steps=1000)
  for step in range(1, 101):
    clock.now += 4.0 if step <= 40 else 0.1
    progress.ended(step)
    if step == 80:
      with progress.paused(progress_lib.SAVING):
        clock.now += 60
  assert (task().fields['speed'], task().fields['left']) == ('10.0 steps/s', '0:01:30 left')


def test_evaluations_to_come_take_as_long_as_the_last_but_for_the_first_which_compiles(
  clock, screen
):
  progress, task = bar()
  for step in range(1, 11):
    clock.now += 1
    progress.ended(step)
    if step in (5, 8):
      with progress.paused(progress_lib.EVALUATING):
        assert task().description == ('compiling' if step == 5 else 'evaluating')
        clock.now += 20
  # 90 steps of a second; one evaluation of 20 seconds behind each 50.
  assert task().fields['left'] == '0:01:50 left'


def test_a_bar_moves_at_every_step_and_fits_the_terminal(screen, tmp_path):
  seen = []
  update = progress_lib.Progress._update
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(
      progress_lib.Progress,
      '_update',
      lambda self, **fields: (seen.append(fields), update(self, **fields)),
    )
    assert toy.train(toy.config(log__every=6), tmp_path / 'run')
  assert [each['completed'] for each in seen if 'completed' in each] == [1, 2, 3, 4, 5, 6]
  said = [each['description'] for each in seen if 'description' in each]
  assert said[:2] == ['compiling', 'training'] and 'saving' in said
  text = screen.getvalue()
  assert 'compiling' in text and '6/6' in text and 'steps/s' in text and '…' not in text


def test_off_a_terminal_there_are_lines_alone(capsys, tmp_path):
  lines = []
  toy.train(toy.config(), tmp_path / 'run', lines.append)
  assert [line.split()[:2] for line in lines if 'left' in line] == [
    ['step', f'{step}/6'] for step in (2, 4, 6)
  ]
  assert capsys.readouterr() == ('', '')
