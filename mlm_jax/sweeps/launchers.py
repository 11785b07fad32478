"""Where runs are made: in processes on this machine, or in tasks of a Ray cluster.

A launcher has `slots`, how many runs it takes at once, and `start(folder)`, which trains what the
config.json in a run's folder says. What that returns has
  started: whether the run has begun; it may still wait for a place.
  poll(): None before the end, then the exit status, negative for a signal; or text where there is
    none, since the run could not be made.
  stop(): asks it to save and end. kill(): ends it.
What a run prints is appended to output.log in its folder. A Survivor looks like a started run too.
"""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

from mlm_jax import config as config_lib
from mlm_jax.sweeps import layout as folder_lib

_OUTPUT = 'output.log'
_PASSED_ON = ('JAX_', 'XLA_')  # what the environment says about how a run computes
_PAUSE = 0.2  # seconds


def output(folder):
  """Returns the path of what a run prints."""
  return pathlib.Path(folder) / _OUTPUT


def _popen(folder, **settings):
  """Starts to train in a process of its own; a terminal's Ctrl-C does not reach it."""
  command = [
    sys.executable,
    '-m',
    'mlm_jax',
    'train',
    f'--config={folder}/config.json',
    f'--workdir={folder}',
  ]
  with open(output(folder), 'ab') as log:
    return subprocess.Popen(
      command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **settings
    )


class Local:
  """Runs in processes on this machine, `jobs` at once."""

  def __init__(self, jobs=1):
    self.slots = jobs

  def start(self, folder):
    return _Process(_popen(folder))


class _Process:
  started = True

  def __init__(self, process):
    self._process = process

  def poll(self):
    return self._process.poll()

  def stop(self):
    self._process.terminate()

  def kill(self):
    self._process.kill()


class Survivor:
  """A process that nobody here has started: its sweep was killed, it still trains in the run's
  folder.
  """

  started = True

  def __init__(self, folder):
    self._folder, self._is_left = folder, False

  def poll(self):
    if folder_lib.is_at_work(self._folder) and not self._is_left:
      return None
    return 'the process of an earlier sweep has ended'

  def stop(self):
    self._is_left = True  # it saves what it does, and the next sweep finds it

  kill = stop


class Ray:
  """Runs as tasks of a running Ray cluster, which says how many there are at once.

  Every node must see the work directory, and the folder that the sweep is started in, under
  the same names, and have mlm_jax installed.

  Args:
    cpus, gpus: what a run asks for.
    jobs: runs at once at most; None for as many as the cluster takes.

  Raises:
    UserError: Ray is not installed, there is no cluster, or no node of it is large enough.
  """

  def __init__(self, cpus=1, gpus=0, jobs=None):
    self._ray = _import_ray()
    self.slots = jobs or sys.maxsize
    address = os.environ.get('RAY_ADDRESS', 'auto')
    try:
      _knock(address)
      self._ray.init(
        address=address, log_to_driver=False, logging_level='ERROR', ignore_reinit_error=True
      )
    except (OSError, RuntimeError, ValueError) as error:
      raise config_lib.UserError(
        f'no Ray cluster at {address} ({_first_line(error)}); start one with '
        '`ray start --head`, or say where it is in RAY_ADDRESS'
      ) from None
    asked = {'CPU': cpus, 'GPU': gpus}
    nodes = [node['Resources'] for node in self._ray.nodes() if node['Alive']]
    if not any(
      all(node.get(kind, 0) >= number for kind, number in asked.items()) for node in nodes
    ):
      raise config_lib.UserError(
        f'no node of the Ray cluster has {cpus} CPUs and {gpus} GPUs; lower '
        '--cpus-per-run or --gpus-per-run'
      )
    # The sweep itself starts again what has failed.
    self._train = self._ray.remote(_train).options(
      num_cpus=cpus, num_gpus=gpus, max_retries=0, scheduling_strategy='SPREAD'
    )

  def start(self, folder):
    passed_on = {key: value for key, value in os.environ.items() if key.startswith(_PASSED_ON)}
    return _Task(self._ray, self._train.remote(str(folder), os.getcwd(), passed_on), output(folder))


def _import_ray():
  try:
    import ray
  except ImportError:
    raise config_lib.UserError("--launcher=ray needs Ray: pip install 'mlm_jax[ray]'") from None
  return ray


def _knock(address):
  """Raises OSError where nobody listens at HOST:PORT; Ray would try for minutes."""
  host, colon, port = address.removeprefix('ray://').rpartition(':')
  if colon:
    socket.create_connection((host.strip('[]'), int(port)), timeout=10).close()


def _first_line(error):
  return str(error).strip().partition('\n')[0]


def _train(folder, cwd, environment):
  """Trains on whichever node it is called; returns the exit status."""
  import ray

  with open(output(folder), 'a') as log:
    print(f'node {ray.get_runtime_context().get_node_id()}', file=log)
  process = _popen(folder, cwd=cwd, env={**os.environ, **environment})
  try:
    while process.poll() is None:
      time.sleep(_PAUSE)
  finally:  # also where the task is cancelled: the run saves and ends
    if process.poll() is None:
      process.terminate()
      process.wait()
  return process.returncode


class _Task:
  """A task of Ray that trains."""

  def __init__(self, ray, reference, log):
    self._ray, self._reference, self._log = ray, reference, log
    self._before = self._size()

  @property
  def started(self):
    return self._size() > self._before

  def _size(self):
    return self._log.stat().st_size if self._log.exists() else 0

  def poll(self):
    if not self._ray.wait([self._reference], timeout=0)[0]:
      return None
    try:
      return self._ray.get(self._reference)
    except self._ray.exceptions.TaskCancelledError:
      return -signal.SIGTERM
    except (
      self._ray.exceptions.RayError
    ) as error:  # its worker or its node died, or sees no such folder
      return f'Ray: {str(error).strip().splitlines()[-1][:500]}'

  def stop(self):
    self._ray.cancel(self._reference)

  def kill(self):
    self._ray.cancel(self._reference, force=True)
