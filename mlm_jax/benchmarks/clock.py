"""Timing tasks against each other on machines with other load.

Wall time on shared cores is off by a factor of two from one second to the next.
So the tasks that are compared take turns, the processor time of all threads is
measured as well as wall time, and they are compared turn by turn: the ratio is the
result, and the single speeds only say what this machine could do at that time.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import importlib.metadata
import importlib.util
import math
import resource
import sys
import time
from typing import Any

import numpy as np

Timer = Callable[[Any, int], tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Times:
  """Seconds that one call of a task took, turn by turn.

  Attributes:
    wall_R: elapsed seconds of each repetition.
    processor_R: processor seconds of this process, over all its threads.
  """

  wall_R: np.ndarray
  processor_R: np.ndarray


def take_turns(
  tasks: Mapping[str, Any], repetitions: int = 9, turn: float = 0.1, timer: Timer | None = None
) -> dict[str, Times]:
  """Returns {name: Times}.

  Args:
    tasks: {name: function without arguments that returns when its work is done}.
    repetitions: turns that each task gets.
    turn: seconds a turn lasts at least; fast tasks are called several times in it.
    timer: (task, calls) -> (wall, processor) seconds a call, where tasks are not functions
      of this process.
  """
  timer = timer or time_calls
  # Fixed before the first turn, so that every turn of a task does the same work.
  calls = {name: _calls_for(task, turn, timer) for name, task in tasks.items()}
  seen: dict[str, list[tuple[float, float]]] = {name: [] for name in tasks}
  # In turn, not one after another: a slow minute hits all tasks alike.
  for _ in range(repetitions):
    for name, task in tasks.items():
      seen[name].append(timer(task, calls[name]))
  return {name: Times(*np.array(pairs).T) for name, pairs in seen.items()}


def _calls_for(task: Any, turn: float, timer: Timer) -> int:
  timer(task, 1)  # compiles, and warms the caches
  wall, _ = timer(task, 1)
  return max(1, math.ceil(turn / max(wall, 1e-9)))


def time_calls(task: Callable[[], Any], calls: int) -> tuple[float, float]:
  """Returns (wall, processor) seconds a call, the latter over all threads of this process."""
  wall, processor = time.perf_counter(), time.process_time()
  for _ in range(calls):
    task()
  return (time.perf_counter() - wall) / calls, (time.process_time() - processor) / calls


def measured(
  times: Mapping[str, Times], amount: float, unit: str, reference: str | None = None
) -> dict[str, dict[str, float]]:
  """Returns {name: {what: number}}: speeds by wall and processor time, and ratios.

  Args:
    times: {name: Times} from take_turns.
    amount: how much one call processes.
    unit: its name, such as 'Mtok'.
    reference: the name that the others are compared with; None for no ratios.
  """
  found = {}
  for name, each in times.items():
    found[name] = {
      f'{unit}/s': float(amount / np.median(each.wall_R)),
      f'{unit}/processor-s': float(amount / np.median(each.processor_R)),
    }
    if reference:
      theirs = times[reference]
      found[name]['ratio by wall'] = ratio(theirs.wall_R, each.wall_R)
      found[name]['ratio by processor'] = ratio(theirs.processor_R, each.processor_R)
  return found


def table(found: Mapping[str, Mapping[str, float]]) -> list[str]:
  """Returns the lines of a table of what `measured` found."""
  width = max(map(len, found))
  heads = list(next(iter(found.values())))
  lines = [' ' * width + ''.join(f'{head:>20}' for head in heads)]
  for name, numbers in found.items():
    cells = [f'{value:.3g}x' if 'ratio' in of else f'{value:.4g}' for of, value in numbers.items()]
    lines.append(f'{name:<{width}}' + ''.join(f'{cell:>20}' for cell in cells))
  return lines


def ratio(reference_R: np.ndarray, ours_R: np.ndarray) -> float:
  """Returns how many times faster ours is: the median over pairs of neighbouring turns."""
  return float(np.median(reference_R / ours_R))


def peak_memory() -> float:
  """Returns the most memory this process has had, in MB of 10^6 bytes."""
  # macOS reports bytes, Linux kibibytes.
  unit = 1 if sys.platform == 'darwin' else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def versions() -> dict[str, str]:
  """Returns {package: version} of jax and of the peers that are installed."""
  return {
    name: importlib.metadata.version(name)
    for name in ('jax', 'torch', 'transformers', 'keras-hub')
    if importlib.util.find_spec(name.replace('-', '_'))
  }
