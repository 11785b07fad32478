"""Where runs are trained: in processes on this machine, or in tasks of a Ray cluster.

What a run prints is appended to output.log in its folder.
"""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from typing import Any
from typing import Protocol

from mlm_jax import config as config_lib
from mlm_jax.sweeps import layout
from mlm_jax.training import workdir as workdir_lib

_OUTPUT = 'output.log'
_PASSED_ON = ('JAX_', 'XLA_')  # environment variables that change how a run computes
_PAUSE = 0.2  # seconds


class Task(Protocol):
  """A run that was started."""

  @property
  def started(self) -> bool:
    """Whether training has begun; before that the task waits for a place."""
    ...

  def poll(self) -> int | str | None:
    """Returns None before the end, then the exit status, negative for a signal.

    Text, the reason, where there is no exit status because the run could not be trained.
    """

  def stop(self) -> None:
    """Asks the run to save and end."""

  def kill(self) -> None:
    """Ends the run."""


class Launcher(Protocol):
  """Starts runs; `slots` is how many it takes at once."""

  slots: int

  def start(self, folder: pathlib.Path) -> Task:
    """Trains as the config.json in a run's folder says."""
    ...


def output(folder: str | os.PathLike[str]) -> pathlib.Path:
  """Returns the path of the file that a run prints to."""
  return pathlib.Path(folder) / _OUTPUT


def _popen(folder: str | os.PathLike[str], **settings: Any) -> subprocess.Popen[bytes]:
  """Starts to train in a process of its own, whose Ctrl-C is not that of this terminal.

  However this process ends, also by kill -9, that one then saves and ends too.
  """
  config = workdir_lib.read_config(folder)
  # This interpreter, not the `mlm-jax` on the path, which may be of another environment.
  command = [
    sys.executable,
    '-m',
    'mlm_jax',
    'train',
    f'--config={folder}/config.json',
    f'--workdir={folder}',
    f'--stop-with={os.getpid()}',
    # The config is the sweep's own, whose sweep.py named this code.
    *(f'--allow-code={spec}' for spec in config_lib.own_code(config).values()),
  ]
  # In a session of its own: the terminal sends Ctrl-C to this process alone, which then asks the
  # runs to save. Without stdin nothing in a run can wait for a person.
  with open(output(folder), 'ab', opener=config_lib.without_waiting) as log:
    return subprocess.Popen(
      command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **settings
    )


class Local:
  """Runs in processes on this machine, `jobs` at once."""

  def __init__(self, jobs: int = 1):
    self.slots = jobs

  def start(self, folder: pathlib.Path) -> Task:
    """See Launcher."""
    return _Process(_popen(folder))


class _Process:
  """A process of this machine."""

  started = True

  def __init__(self, process: subprocess.Popen[bytes]):
    self._process = process

  def poll(self) -> int | None:
    return self._process.poll()

  def stop(self) -> None:
    self._process.terminate()

  def kill(self) -> None:
    self._process.kill()


class Survivor:
  """A process that is still at work in a run's folder although its sweep was killed.

  It saves and ends within seconds, unless it was started by hand.
  """

  started = True

  def __init__(self, folder: pathlib.Path):
    self._folder, self._is_left = folder, False

  def poll(self) -> str | None:
    """See Task; the exit status is known only to the process that started it."""
    if layout.is_at_work(self._folder) and not self._is_left:
      return None
    return 'the process of an earlier sweep has ended'

  def stop(self) -> None:
    """Leaves it at work: it saves its checkpoints, and the next sweep finds it."""
    self._is_left = True

  kill = stop


class Ray:
  """Runs as tasks of a running Ray cluster, which decides how many are trained at once.

  Every node must see the sweep's folder and the working directory under the same names, and have
  mlm_jax installed.

  Args:
    cpus, gpus: what a run asks for.
    jobs: runs at once at most; None for as many as the cluster allows.

  Raises:
    UserError: Ray is not installed, there is no cluster, or no node of it is large enough.
  """

  def __init__(self, cpus: int = 1, gpus: int = 0, jobs: int | None = None):
    self._ray = _import_ray()
    # All runs may be submitted at once: Ray keeps those waiting that do not fit yet.
    self.slots = jobs or sys.maxsize
    address = os.environ.get('RAY_ADDRESS', 'auto')
    try:
      _knock(address)
      self._ray.init(
        address=address, log_to_driver=False, logging_level='ERROR', ignore_reinit_error=True
      )
    # Ray raises any of these, by version and by what is wrong with the address.
    except (OSError, RuntimeError, ValueError) as error:
      raise config_lib.UserError(
        f'no Ray cluster at {address} ({_first_line(error)}); start one with '
        '`ray start --head`, or say where it is in RAY_ADDRESS'
      ) from None
    # A task that no node can ever hold would wait for ever, without a word.
    asked = {'CPU': cpus, 'GPU': gpus}
    nodes = [node['Resources'] for node in self._ray.nodes() if node['Alive']]
    if not any(
      all(node.get(kind, 0) >= number for kind, number in asked.items()) for node in nodes
    ):
      raise config_lib.UserError(
        f'no node of the Ray cluster has {cpus} CPUs and {gpus} GPUs; lower '
        '--cpus-per-run or --gpus-per-run'
      )
    # No retries by Ray: the runner knows which failures to try again. Runs are spread over the
    # nodes, since several on one would share its memory.
    self._train = self._ray.remote(_train).options(
      num_cpus=cpus, num_gpus=gpus, max_retries=0, scheduling_strategy='SPREAD'
    )

  def start(self, folder: pathlib.Path) -> Task:
    """See Launcher."""
    # The node's own environment remains for all else, such as which devices it may use.
    passed_on = {key: value for key, value in os.environ.items() if key.startswith(_PASSED_ON)}
    return _Task(self._ray, self._train.remote(str(folder), os.getcwd(), passed_on), output(folder))


def _import_ray() -> Any:
  try:
    import ray  # pyrefly: ignore[missing-import]
  except ImportError:
    raise config_lib.UserError("--launcher=ray needs Ray: pip install 'mlm_jax[ray]'") from None
  return ray


def _knock(address: str) -> None:
  """Raises OSError where nothing listens at HOST:PORT; Ray would try for minutes."""
  host, colon, port = address.removeprefix('ray://').rpartition(':')
  if colon:  # else it is a word, such as 'auto'
    socket.create_connection((host.strip('[]'), int(port)), timeout=10).close()


def _first_line(error: BaseException) -> str:
  return str(error).strip().partition('\n')[0]


def _train(folder: str, cwd: str, environment: dict[str, str]) -> int:
  """Trains on the node where it is called; returns the exit status."""
  import ray  # pyrefly: ignore[missing-import]

  with open(output(folder), 'a', opener=config_lib.without_waiting) as log:
    # Also the sign that the task has started: see _Task.started.
    print(f'node {ray.get_runtime_context().get_node_id()}', file=log)
  # In a process of its own: Ray's worker is not to import JAX, and a run may crash it. Where the
  # sweep is killed, Ray ends the worker, and may kill its processes before they have saved.
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

  def __init__(self, ray: Any, reference: Any, log: pathlib.Path):
    self._ray, self._reference, self._log = ray, reference, log
    self._before = self._size()

  @property
  def started(self) -> bool:
    # Ray does not say when a task begins; `_train` first writes the node to the log.
    return self._size() > self._before

  def _size(self) -> int:
    return self._log.stat().st_size if self._log.exists() else 0

  def poll(self) -> int | str | None:
    if not self._ray.wait([self._reference], timeout=0)[0]:
      return None
    try:
      return self._ray.get(self._reference)
    except self._ray.exceptions.TaskCancelledError:
      return -signal.SIGTERM
    # Its worker or its node has died, or does not see the folder.
    except self._ray.exceptions.RayError as error:
      return f'Ray: {str(error).strip().splitlines()[-1][:500]}'

  def stop(self) -> None:
    self._ray.cancel(self._reference)

  def kill(self) -> None:
    self._ray.cancel(self._reference, force=True)
