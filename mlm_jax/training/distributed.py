"""Several processes that train together: how they find each other, agree and end.

Each process runs the same program on the same steps; arrays that lie on all devices
join them. Files are written by the first process alone, into folders that all can see.
"""

import atexit
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import threading
from typing import Any
from typing import NoReturn
from typing import TypeVar

import jax
from jax._src import distributed  # its client has no public name

from mlm_jax import config as config_lib

T = TypeVar('T')

_SILENCE = 60  # seconds without a sign of life after which a process counts as dead
_ARRIVAL = 300  # seconds in which all processes must have come
# Milliseconds that a process waits for the first, a week: it may prepare a large corpus.
_PATIENCE = 7 * 86_400_000
_OURS = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')
_farewell: list[Callable[[], None]] = []  # what keeps the shell of `_watch` silent
_told = itertools.count()  # what the first process has told: the same number in all of them


def start(environment: Mapping[str, str] = os.environ) -> None:
  """Joins the other processes of this job, where its scheduler says that there are any.

  Read are the variables of SLURM (`srun`), Open MPI (`mpirun`) and TPU pods, as JAX
  knows them, or JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID. It must
  come before anything that touches a device.

  Raises:
    UserError: the others cannot be reached, or the variables do not fit each other.
  """
  arguments = job(environment)
  if arguments is None:
    return
  say = lambda text: print(f'mlm-jax: {text}', file=sys.stderr, flush=True)
  address = arguments.get('coordinator_address')
  where = f'the other processes at {address}' if address else 'the other processes'
  # os._exit: this runs in a timer's thread, where an exception would end nothing but that thread.
  never_came = lambda: (say(f'{where} did not come within {_ARRIVAL} seconds'), os._exit(2))
  # JAX would say nothing, and abort in the end; the second timer is 5 seconds ahead of that.
  timers = [
    threading.Timer(_SILENCE / 6, say, [f'waiting for {where}']),
    threading.Timer(_ARRIVAL - 5, never_came),
  ]
  try:
    for timer in timers:
      timer.start()
    jax.distributed.initialize(
      heartbeat_timeout_seconds=_SILENCE, initialization_timeout=_ARRIVAL, **arguments
    )
  except (ValueError, RuntimeError) as error:
    raise config_lib.UserError(
      'cannot join the other processes: ' + config_lib.one_line(error, 300)
    ) from None
  finally:
    for timer in timers:
      timer.cancel()
  _watch()


def _watch() -> None:
  """Starts a shell that says a line if this process ends without a farewell.

  JAX aborts a process from a thread of its own where it is the first to notice that
  another one is gone; nothing in the process can speak then.
  """
  me = f'process {jax.process_index()} of {jax.process_count()}'
  line = (
    f'mlm-jax: {me} has ended abruptly: it was killed, or another process is gone; start all of '
    'them again '
    'to go on from the newest checkpoint'
  )
  # `read` fails when the pipe closes without a line, which it does however this process ends.
  # The trap: signals for a whole group of processes must not end the shell before it has spoken.
  shell = subprocess.Popen(
    ['sh', '-c', f'trap "" INT TERM; read farewell || echo "{line}" >&2'], stdin=subprocess.PIPE
  )

  def farewell() -> None:
    if shell.stdin and not shell.stdin.closed:
      shell.communicate(b'\n')

  _farewell.append(farewell)
  atexit.register(farewell)


def _end(sign: BaseException) -> NoReturn:
  """Ends this process at once, with one line, and without the farewells of the others' threads."""
  print(
    f'mlm-jax: process {jax.process_index()} of {jax.process_count()} ends: another process is '
    'gone '
    f'({" ".join(str(sign).split())[:120]}); start all of them again to go on from the newest '
    'checkpoint',
    file=sys.stderr,
    flush=True,
  )
  for say in _farewell:
    say()
  sys.stdout.flush()
  # A normal exit would wait at JAX's barrier for processes that never come.
  os._exit(1)


def job(environment: Mapping[str, str]) -> dict[str, Any] | None:
  """Returns the arguments of jax.distributed.initialize, or None for a process on its own."""
  given = [name for name in _OURS if environment.get(name)]
  if 'JAX_COORDINATOR_ADDRESS' in given:
    _check_address(environment['JAX_COORDINATOR_ADDRESS'])
  if len(given) == len(_OURS):
    return _placed(environment, *_OURS)
  if given and given != ['JAX_COORDINATOR_ADDRESS']:
    raise config_lib.UserError(f'{", ".join(given)} given; all of {", ".join(_OURS)} are needed')
  if 'SLURM_STEP_NODELIST' in environment:
    name = 'SLURM_STEP_NUM_TASKS' if 'SLURM_STEP_NUM_TASKS' in environment else 'SLURM_NTASKS'
    return _on_gpus(environment) if _whole(environment, name) > 1 else None
  if _whole(environment, 'OMPI_COMM_WORLD_SIZE') > 1:
    if 'OMPI_MCA_orte_hnp_uri' in environment:
      return {}  # JAX reads the address of the first process from it, and the rest too
    if not given:
      raise config_lib.UserError(
        'this Open MPI does not say where its first process is: set '
        'JAX_COORDINATOR_ADDRESS=HOST:PORT too, HOST that of rank 0'
      )
    return _placed(environment, _OURS[0], 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_RANK')
  if ',' in environment.get('TPU_WORKER_HOSTNAMES', '') or environment.get('MEGASCALE_NUM_SLICES'):
    return {}
  return None


def _placed(environment: Mapping[str, str], address: str, count: str, index: str) -> dict[str, Any]:
  """Returns the arguments that variables of these names hold."""
  numbers = _whole(environment, count), _whole(environment, index)
  if numbers[1] >= numbers[0]:
    raise config_lib.UserError(f'{index} = {numbers[1]}: must be below {count} = {numbers[0]}')
  return {
    'coordinator_address': environment[address],
    'num_processes': numbers[0],
    'process_id': numbers[1],
  }


def _whole(environment: Mapping[str, str], name: str) -> int:
  """Returns the whole number that a variable holds, 1 where it is not set."""
  text = environment.get(name, '1')
  if not text.isdecimal():
    raise config_lib.UserError(f'{name} = {text}: must be a whole number')
  return int(text)


def _check_address(address: str) -> None:
  host, _, port = address.rpartition(':')
  if not (host and port.isdecimal() and 0 < int(port) < 1 << 16):
    raise config_lib.UserError(
      f'JAX_COORDINATOR_ADDRESS = {address}: must be HOST:PORT, a port below 65536'
    )


def _on_gpus(environment: Mapping[str, str]) -> dict[str, Any]:
  """Returns which of a node's GPUs are this SLURM task's.

  JAX takes the one with the task's number on the node, which is wrong where a node has
  one task for all its GPUs, and where SLURM shows each task nothing but its own.
  """
  visible = [each for each in environment.get('CUDA_VISIBLE_DEVICES', '').split(',') if each]
  per_node = environment.get(
    'SLURM_STEP_TASKS_PER_NODE', environment.get('SLURM_TASKS_PER_NODE', '')
  )
  tasks = re.match(r'\d+', per_node)
  if len(visible) == 1 or visible and tasks and tasks[0] == '1':
    return {'local_device_ids': list(range(len(visible)))}
  return {}


def is_first() -> bool:
  """Whether this is the process that writes files and speaks; true for one on its own."""
  return jax.process_index() == 0


def on_first(work: Callable[[], T]) -> T | None:
  """Calls `work` on the first process while the others wait; all raise what it raises.

  Returns:
    What `work` returned; None on the others.

  Raises:
    UserError: what `work` raised.
  """
  error, result = '', None
  if is_first():
    try:
      result = work()
    except config_lib.UserError as raised:
      error = str(raised)
  # Told to all, so that no process waits for one that has given up.
  if error := from_first(error):
    raise config_lib.UserError(error)
  return result


def from_first(value: Any) -> Any:
  """Returns the first process's value, of whatever JSON can hold; the others wait for it.

  It goes through the service by which the processes found each other: a collective of
  the devices would give up after seconds.
  """
  if jax.process_count() == 1:
    return value
  client: Any = distributed.global_state.client
  key = f'mlm_jax/{next(_told)}'  # a key can be set once only
  if is_first():
    client.key_value_set(key, json.dumps(value))
  return json.loads(client.blocking_key_value_get(key, _PATIENCE))


def check_equal(what: Any, name: str) -> None:
  """Raises UserError in every process if one of them has another `what`, of what JSON can hold."""
  if jax.process_count() == 1:
    return
  # Each reads what all have said, so all come to the same conclusion and none is left waiting.
  client: Any = distributed.global_state.client
  key = f'mlm_jax/{next(_told)}'
  client.key_value_set(f'{key}/{jax.process_index()}', json.dumps(what))
  told = [
    client.blocking_key_value_get(f'{key}/{index}', _PATIENCE)
    for index in range(jax.process_count())
  ]
  other = next((index for index, each in enumerate(told) if each != told[0]), None)
  if other is not None:
    raise config_lib.UserError(
      f'process {other} was given another {name} than process 0; start all with the same '
      'command, on a file system that all see'
    )


class PeerLost(Exception):
  """Another process is gone; the message says by what that was noticed."""


@contextlib.contextmanager
def together() -> Iterator[None]:
  """Ends this process where another one has died: it could only wait for that one."""
  try:
    yield
  except (PeerLost, jax.errors.JaxRuntimeError) as error:
    # A lack of memory is an error of this process, which is reported as without others.
    if jax.process_count() == 1 or 'RESOURCE_EXHAUSTED' in str(error):
      raise
    _end(error)
