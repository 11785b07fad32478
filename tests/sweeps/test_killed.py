"""Real sweeps that are killed and stopped: what they end with, and what a resumed one finds."""

import os
import re
import signal
import time

import pytest

from mlm_jax.training import checkpoint
from mlm_jax.training import workdir as workdir_lib
from tests.sweeps import processes
from tests.sweeps.experiments import NAMES


@pytest.mark.slow
def test_a_sweep_that_is_killed_and_stopped_ends_with_the_bytes_of_an_unbroken_one(
  tmp_path, experiment
):
  whole, broken = tmp_path / 'whole', tmp_path / 'broken'
  unbroken = processes.sweep_command(experiment, whole, '--jobs=2')
  out, _ = unbroken.communicate(timeout=600)
  assert unbroken.returncode == 0, out
  sweep = processes.sweep_command(experiment, broken, '--jobs=2')
  processes.wait_for_step(broken, NAMES[0], 60)
  os.kill(processes.process_of(broken, NAMES[0]), signal.SIGKILL)
  processes.wait_for_step(broken, NAMES[2], 60)  # a place has become free, so one run is done
  sweep.send_signal(signal.SIGINT)
  out, _ = sweep.communicate(timeout=600)
  assert sweep.returncode == 1 and 'killed by signal 9' in out and 'stopped by SIGINT' in out, out
  assert all(processes.process_of(broken, name) is None for name in NAMES)
  assert max(checkpoint.steps(broken / 'runs' / NAMES[2] / 'checkpoints')) < 400
  again = processes.sweep_command(experiment, broken)
  out, _ = again.communicate(timeout=600)
  assert again.returncode == 0 and '4 of 4 runs are done' in out, out
  processes.assert_equal_sweeps(whole, broken)
  assert (whole / 'runs' / NAMES[0] / 'scores.json').exists()


@pytest.mark.slow
def test_the_run_of_a_killed_sweep_saves_and_ends_and_the_next_sweep_resumes_it(tmp_path):
  steps = 1500  # longer than a second, after which the run learns that it is alone
  experiment = processes.write_experiment(tmp_path, [0.15], 1, steps)
  whole, broken = tmp_path / 'whole', tmp_path / 'broken'
  unbroken = processes.sweep_command(experiment, whole)
  out, _ = unbroken.communicate(timeout=600)
  assert unbroken.returncode == 0, out
  sweep = processes.sweep_command(experiment, broken)
  processes.wait_for_step(broken, NAMES[0], 20)
  orphan = processes.process_of(broken, NAMES[0])
  sweep.kill()
  sweep.communicate(timeout=60)
  killed = time.monotonic()
  again = processes.sweep_command(experiment, broken)  # at once, while the run may still save
  processes.wait_until(
    lambda: processes.process_of(broken, NAMES[0]) != orphan, 'the orphan has ended'
  )
  assert time.monotonic() - killed < 30
  out, _ = again.communicate(timeout=600)
  assert again.returncode == 0 and '1 of 1 runs are done' in out and 'failed' not in out, out
  place = broken / 'runs' / NAMES[0]
  (stopped,) = re.findall(
    r'stopped by SIGTERM at step (\d+), which is saved', (place / 'output.log').read_text()
  )
  assert int(stopped) < steps and len(workdir_lib.read_environment(place)) == 2
  processes.assert_equal_sweeps(whole, broken, NAMES[:1], steps)
