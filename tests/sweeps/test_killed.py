"""Real sweeps that are killed and stopped: what they end with, and what a resumed one finds."""

import os
import signal

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


@pytest.mark.slow
def test_a_sweep_resumed_after_it_was_killed_waits_for_the_run_that_outlived_it(tmp_path):
  experiment, workdir = processes.write_experiment(tmp_path, [0.15], 1), tmp_path / 'sweep'
  sweep = processes.sweep_command(experiment, workdir)
  processes.wait_for_step(workdir, NAMES[0], 20)
  sweep.kill()
  sweep.communicate(timeout=60)
  assert (
    processes.process_of(workdir, NAMES[0])
    and not (workdir / 'runs' / NAMES[0] / 'checkpoints' / '400').exists()
  )
  again = processes.sweep_command(experiment, workdir)
  out, _ = again.communicate(timeout=600)
  assert again.returncode == 0 and '1 of 1 runs are done' in out and 'failed' not in out, out
  assert f'{NAMES[0]}: a process that outlived its sweep is still at work there' in out
  assert (
    len(workdir_lib.read_environment(workdir / 'runs' / NAMES[0])) == 1
  )  # nobody else trained there
