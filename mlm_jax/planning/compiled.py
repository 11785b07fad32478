"""What the compiler says of a step: whether it fits, its memory, FLOPs, bytes and collectives."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import itertools
import re
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.planning import program_text
from mlm_jax.planning import programs
from mlm_jax.planning import traced
from mlm_jax.training import sharding


@dataclasses.dataclass(frozen=True)
class Sent:
  """Collectives of one kind along the same axes of the mesh, of one step.

  Attributes:
    kind: see program_text.Collective.
    axes: of the mesh, whose devices exchange something; () where they are no axes' devices.
    count: how many a step has.
    bytes: of the arrays, together.
    sent: bytes that a device sends.
    crosses: whether a group spans several slices or nodes.
    largest: the largest of them: (arrays, bytes, what of the model it is for).
  """

  kind: str
  axes: tuple[str, ...]
  count: int
  bytes: int
  sent: float
  crosses: bool
  largest: tuple[str, int, str]


@dataclasses.dataclass(frozen=True)
class Compiled:
  """A step as it is compiled; bytes and FLOPs are of one device where nothing else is said.

  Attributes:
    memory: {kind: bytes}, what is held while a step is computed.
    asked_flops: of the step's matrix products, over all devices, see traced.flops.
    counted_flops: as the compiler counts them, with what is in a loop once; None where it does not.
    bytes_moved: to and from memory; of what is in loops estimated, see `of`.
    is_bytes_known: whether the compiler says so; else they are the least that they can be.
    has_loops: whether it has loops.
    sent: what devices send each other.
    collectives: the same, one by one.
  """

  memory: Mapping[str, int]
  asked_flops: float
  counted_flops: float | None
  bytes_moved: float
  is_bytes_known: bool
  has_loops: bool
  sent: tuple[Sent, ...]
  collectives: tuple[program_text.Collective, ...]


class DoesNotFit(config_lib.UserError):
  """A step that needs more memory than a device has.

  Attributes:
    memory: bytes that it needs, as far as it is known.
  """

  def __init__(self, message: str, memory: float):
    super().__init__(message)
    self.memory = memory


def of(program: programs.Program, mesh: jax.sharding.Mesh, groups: int, memory: int) -> Compiled:
  """Compiles a program.

  What is in a loop the compiler's own count takes once. The bytes are enlarged by the ratio of the
  FLOPs that are asked for to those that it counts, as if all parts moved as much for each FLOP.

  Args:
    program: what to compile.
    mesh: of its devices.
    groups: slices or nodes, that divide the mesh in its order.
    memory: bytes of a device.

  Raises:
    DoesNotFit: as said.
  """
  made = program.step.trace(*program.arguments)
  asked = traced.flops(made.jaxpr)
  try:
    with _without_cache():
      executable = made.lower().compile()
  except jax.errors.JaxRuntimeError as error:
    # Nothing else tells this from other failures.
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    raise _does_not_fit(program, made.jaxpr, mesh, memory, _said(error)) from None
  held = _memory(program, executable.memory_analysis())
  if sum(held.values()) > memory:
    raise _does_not_fit(program, made.jaxpr, mesh, memory, sum(held.values()))
  costs = executable.cost_analysis() or {}
  text = executable.as_text() or ''
  found = program_text.collectives(
    text, mesh.devices.size, groups if mesh.devices.flat[0].platform == 'tpu' else 1
  )
  counted, has_loops = costs.get('flops'), program_text.has_loops(text)
  repeated = max(1.0, asked / mesh.devices.size / counted) if counted and has_loops else 1.0
  # Where nothing is said: arguments are read, results written, temporaries both.
  least = 2 * sum(held.values())
  moved = costs.get('bytes accessed')
  return Compiled(
    held,
    asked,
    counted,
    repeated * moved if moved else least,
    bool(moved),
    has_loops,
    _sent(found, mesh, groups),
    tuple(found),
  )


@contextlib.contextmanager
def _without_cache() -> Iterator[None]:
  """Keeps no programs: one for devices that are not here cannot be read back."""
  name = 'jax_enable_compilation_cache'
  was = getattr(jax.config, name)
  jax.config.update(name, False)
  compilation_cache.reset_cache()  # which else remembers that it was in use
  try:
    yield
  finally:
    jax.config.update(name, was)
    compilation_cache.reset_cache()


def _memory(program: programs.Program, analysis: Any) -> dict[str, int]:
  """Returns {kind: bytes} on a device while a step is computed."""
  state = program.state
  held = {
    'parameters': _bytes(program.params),
    'optimizer': _bytes(state.opt_state) if state is not None else 0,
    'batch': _bytes(program.batch),
  }
  arguments = analysis.argument_size_in_bytes
  # Results that are written over arguments take no place of their own.
  results = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
  return held | {
    # The policy's tables, the key, and what the layout of arrays in tiles adds.
    'policy and padding': max(arguments - sum(held.values()), 0) + max(results, 0),
    'temporaries': analysis.temp_size_in_bytes,
    'program': analysis.generated_code_size_in_bytes,
  }


def _bytes(tree: Any) -> int:
  """Returns the bytes of a tree of shapes on one device."""
  return sum(
    int(np.prod(x.sharding.shard_shape(x.shape))) * x.dtype.itemsize for x in jax.tree.leaves(tree)
  )


def _said(error: Exception) -> float:
  """Returns the bytes that a compiler's message says are needed; 0 where it says nothing."""
  found = re.search(r'(?:\(|Used )([\d.]+)([KMGT])', str(error))
  return float(found[1]) * 2 ** (10 * ' KMGT'.index(found[2])) if found else 0.0


def _does_not_fit(
  program: programs.Program, jaxpr: Any, mesh: jax.sharding.Mesh, memory: int, needed: float
) -> DoesNotFit:
  """Returns the error that says in one line what is large and what would mend it."""
  devices = mesh.devices.size
  arrays = ', '.join(
    f'{name} {bytes / devices / 2**30:.3g} GiB' for name, bytes in traced.largest(jaxpr)
  )
  held = {'parameters': _bytes(program.params)}
  if program.state is not None:
    held['optimizer'] = _bytes(program.state.opt_state)
  kept = ', '.join(f'{name} {bytes / 2**30:.3g} GiB' for name, bytes in held.items())
  need = f'needs {needed / 2**30:.3g} GiB of the' if needed else 'needs more than the'
  return DoesNotFit(
    f'{program.name}: {need} {memory / 2**30:.3g} GiB of a device; on each: {kept}; largest '
    f'arrays, evenly shared out: {arrays}; {_mending(program, mesh, held)}',
    needed,
  )


def _mending(program: programs.Program, mesh: jax.sharding.Mesh, held: Mapping[str, int]) -> str:
  """Returns what would make a step smaller."""
  config, ways = program.config, []
  parts = sharding.row_parts(mesh)
  if program.trains:
    accumulated = config.grad_accumulation_steps
    if program.batch_size % (parts * accumulated * 2) == 0:
      ways.append(f'--config.grad_accumulation_steps={accumulated * 2}')
    if not config.model.remat:
      ways.append('--config.model.remat=True')
    elif mesh.shape['data'] > 1 and sum(held.values()) > 2**28:
      ways.append(f'--config.mesh.fsdp={mesh.shape["fsdp"] * 2}')
  elif program.batch_size % (parts * 2) == 0:
    ways.append(f'--config.evaluation.batch_size={program.batch_size // 2}')
  return 'it would be less with ' + ' or '.join(ways or ['more devices, or fewer rows'])


def _sent(
  found: list[program_text.Collective], mesh: jax.sharding.Mesh, groups: int
) -> tuple[Sent, ...]:
  """Returns collectives by kind and axes, those that send most first."""
  named = _axes(mesh, groups)
  inside = mesh.devices.size // groups
  of_kind: dict[tuple, list[program_text.Collective]] = {}
  for each in found:
    axes = named.get(frozenset(map(frozenset, each.groups)), ())
    # The mesh has the slices one behind the other: the axis `data` is the outermost.
    crosses = any(len({n // inside for n in group}) > 1 for group in each.groups)
    of_kind.setdefault((each.kind, axes, crosses), []).append(each)
  made = []
  for (kind, axes, crosses), those in of_kind.items():
    most = max(those, key=lambda each: each.bytes * each.times)
    made.append(
      Sent(
        kind,
        axes,
        sum(each.times for each in those),
        sum(each.bytes * each.times for each in those),
        sum(each.sent for each in those),
        crosses,
        (', '.join(most.arrays[:3]), most.bytes, most.operation),
      )
    )
  return tuple(sorted(made, key=lambda each: -each.sent))


def _axes(mesh: jax.sharding.Mesh, groups: int) -> dict[frozenset, tuple[str, ...]]:
  """Returns {groups of devices: the axes along which they lie}, also where a slice has a part."""
  data, *inner = mesh.devices.shape
  outer = groups if data % groups == 0 else 1
  shape, names = (outer, data // outer, *inner), (mesh.axis_names[0], *mesh.axis_names)
  numbers = np.arange(mesh.devices.size).reshape(shape)
  large = [n for n, size in enumerate(shape) if size > 1]
  found = {}
  for count in range(1, len(large) + 1):
    for inside in itertools.combinations(large, count):
      outside = [n for n in range(numbers.ndim) if n not in inside]
      size = int(np.prod([shape[n] for n in inside]))
      rows = numbers.transpose([*outside, *inside]).reshape(-1, size)
      those = frozenset(frozenset(map(int, row)) for row in rows)
      found[those] = tuple(dict.fromkeys(names[n] for n in inside))
  return found
