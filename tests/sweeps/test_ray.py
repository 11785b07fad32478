"""Ray: the same runs on a real cluster of two nodes, started on this machine."""

import importlib.util
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pytest

from mlm_jax import config as config_lib
from mlm_jax.sweeps import launchers
from mlm_jax.training import checkpoint
from tests.sweeps import processes
from tests.sweeps.experiments import NAMES

needs_ray = pytest.mark.skipif(
  importlib.util.find_spec('ray') is None, reason="Ray is not installed: pip install 'mlm_jax[ray]'"
)


def start_node(folder, *flags):
  """Starts a node of one CPU; it ends with its process."""
  command = [
    sys.executable,
    '-m',
    'ray.scripts.scripts',
    'start',
    '--num-cpus=1',
    '--object-store-memory=80000000',
    '--disable-usage-stats',
    '--block',
    *flags,
  ]
  with open(folder / f'node{len(list(folder.glob("node*")))}.log', 'w') as log:
    return subprocess.Popen(
      command, stdout=log, stderr=log, env={**os.environ, **processes.compilation_cache()}
    )


@pytest.fixture(scope='module')
def cluster():
  """The address of a cluster of two nodes."""
  # Ray puts sockets below it, whose names may not be long.
  folder = pathlib.Path(tempfile.mkdtemp(prefix='ray'))
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  address = f'127.0.0.1:{port}'
  nodes = [
    start_node(
      folder, '--head', f'--port={port}', '--include-dashboard=false', f'--temp-dir={folder}/head'
    )
  ]
  try:
    _wait_until_said(folder / 'node0.log', 'Ray runtime started')
    nodes.append(start_node(folder, f'--address={address}'))
    _wait_until_said(folder / 'node1.log', 'Ray runtime started')
    yield address
  finally:
    for node in reversed(nodes):
      node.terminate()
      node.wait(60)
    shutil.rmtree(folder, ignore_errors=True)


def _wait_until_said(log, text):
  for _ in range(600):
    if text in log.read_text():
      return
    time.sleep(0.2)
  raise AssertionError(log.read_text())


@pytest.fixture
def at(cluster, monkeypatch):
  monkeypatch.setenv('RAY_ADDRESS', cluster)


@pytest.mark.slow
@needs_ray
def test_runs_on_two_nodes_have_the_bytes_of_runs_here_also_when_they_are_stopped(
  tmp_path, experiment, at
):
  here, there = tmp_path / 'here', tmp_path / 'there'
  local = processes.sweep_command(experiment, here)
  out, _ = local.communicate(timeout=600)
  assert local.returncode == 0, out
  first = processes.sweep_command(experiment, there, '--launcher=ray')
  processes.wait_for_step(there, NAMES[0], 40)
  os.kill(processes.process_of(there, NAMES[0]), signal.SIGKILL)
  processes.wait_for_step(there, NAMES[2], 40)
  first.send_signal(signal.SIGTERM)
  out, _ = first.communicate(timeout=600)
  assert first.returncode == 1 and 'killed by signal 9' in out and 'stopped by SIGTERM' in out, out
  assert all(processes.process_of(there, name) is None for name in NAMES)
  assert 0 < max(checkpoint.steps(there / 'runs' / NAMES[2] / 'checkpoints')) < 400
  again = processes.sweep_command(experiment, there, '--launcher=ray')
  out, _ = again.communicate(timeout=600)
  assert again.returncode == 0, out
  processes.assert_equal_sweeps(here, there)
  said = ''.join((there / 'runs' / name / 'output.log').read_text() for name in NAMES)
  assert len(set(re.findall(r'^node (\w+)$', said, re.MULTILINE))) == 2


@pytest.mark.slow
@needs_ray
def test_the_run_of_a_killed_sweep_ends_on_its_node_too(tmp_path, at):
  """Ray may kill it with the worker that started it, before it can save itself."""
  workdir = tmp_path / 'sweep'
  experiment = processes.write_experiment(tmp_path, [0.15], 1, steps=100_000)
  sweep = processes.sweep_command(experiment, workdir, '--launcher=ray')
  processes.wait_for_step(workdir, NAMES[0], 20)
  sweep.kill()
  sweep.communicate(timeout=60)
  ended = lambda: processes.process_of(workdir, NAMES[0]) is None
  processes.wait_until(ended, 'the run has ended')


@pytest.mark.slow
@needs_ray
def test_a_run_that_no_node_can_take_is_refused(tmp_path, experiment, at):
  asked = processes.sweep_command(
    experiment, tmp_path / 'sweep', '--launcher=ray', '--cpus-per-run=2'
  )
  out, _ = asked.communicate(timeout=300)
  assert (
    asked.returncode == 2
    and 'no node of the Ray cluster has 2 CPUs and 0 GPUs' in out.splitlines()[-1]
  )


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize('address', ('127.0.0.1:1', 'ray://127.0.0.1:1', '127.0.0.1:x'))
def test_a_missing_cluster_is_one_line(tmp_path, experiment, monkeypatch, address):
  monkeypatch.setenv('RAY_ADDRESS', address)
  asked = processes.sweep_command(experiment, tmp_path / 'sweep', '--launcher=ray')
  out, _ = asked.communicate(timeout=60)
  assert asked.returncode == 2 and f'no Ray cluster at {address}' in out.splitlines()[-1], out
  assert not (tmp_path / 'sweep').exists()


def test_without_ray_the_command_that_brings_it_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, 'ray', None)
  with pytest.raises(config_lib.UserError, match=r"needs Ray: pip install 'mlm_jax\[ray\]'"):
    launchers.Ray()
