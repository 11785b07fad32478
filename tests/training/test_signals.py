"""Runs that end with the process that started them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mlm_jax import __main__
from mlm_jax import config as config_lib
from mlm_jax.training import signals
from tests import toys
from tests.sweeps import processes


def test_a_process_asks_itself_to_stop_once_its_parent_is_another_one(monkeypatch):
  monkeypatch.setattr(signals, '_PERIOD', 0.01)
  parents = [os.getppid()]
  monkeypatch.setattr(os, 'getppid', lambda: parents[-1])
  with signals.StopSignal() as stop:
    signals.stop_with(parents[0])
    time.sleep(0.05)
    assert stop.at(1) == ''
    parents.append(1)
    processes.wait_until(lambda: stop.at(1) == 'SIGTERM', 'it is asked to stop')


def test_a_parent_that_is_not_ones_own_is_refused(capsys, tmp_path):
  stranger = os.getppid() + 1
  with pytest.raises(config_lib.UserError, match=f'--stop-with={stranger}: must be the id of the'):
    signals.stop_with(stranger)
  with pytest.raises(SystemExit) as exit:
    __main__.main(
      ['train', '--config=bert_base', f'--workdir={tmp_path / "run"}', f'--stop-with={stranger}']
    )
  assert exit.value.code == 2 and f'--stop-with={stranger}' in capsys.readouterr().err
  assert not (tmp_path / 'run').exists()


_PARENT = """
import os, subprocess, sys, time
subprocess.Popen([sys.executable, '-m', 'mlm_jax', *sys.argv[1:], f'--stop-with={os.getpid()}'])
time.sleep(3600)
"""


@pytest.mark.slow
def test_what_still_prepares_its_data_ends_with_its_parent_too(tmp_path):
  text = toys.write_corpus(tmp_path / 'corpus.txt', documents=60_000)  # takes half a minute
  recipe = tmp_path / 'recipe.py'
  recipe.write_text(
    'from tests import toys\n'
    'def get_config(variant=None):\n'
    f'  return toys.training_config({str(text)!r}, mesh__devices=1)\n'
  )
  workdir = tmp_path / 'sweep' / 'runs' / 'one'
  arguments = ['train', f'--config={recipe}', f'--workdir={workdir}']
  parent = subprocess.Popen([sys.executable, '-c', _PARENT, *arguments])
  processes.wait_until((workdir / 'lock').exists, 'the run holds its folder')
  os.kill(parent.pid, signal.SIGKILL)
  parent.wait()
  began = time.monotonic()
  processes.wait_until(
    lambda: processes.process_of(tmp_path / 'sweep', 'one') is None, 'the run has ended'
  )
  assert time.monotonic() - began < 60 and not (workdir / 'environment.json').exists()
