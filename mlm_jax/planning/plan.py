"""A plan: what the run of a config would be on a machine that need not be there."""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax

from mlm_jax import config as config_lib
from mlm_jax.planning import compiled as compiled_lib
from mlm_jax.planning import predicted
from mlm_jax.planning import programs
from mlm_jax.planning import topologies
from mlm_jax.tasks import pretraining
from mlm_jax.training import sharding


@dataclasses.dataclass(frozen=True)
class Step:
  """A program, compiled, and what follows from it.

  Attributes:
    program: what it is.
    compiled: what the compiler says.
    times: by what could bind it.
    useful_flops: over all devices.
    asked: see predicted.asked.
  """

  program: programs.Program
  compiled: compiled_lib.Compiled
  times: predicted.Times
  useful_flops: float
  asked: dict[str, float]

  @property
  def tokens(self) -> int:
    """Positions of a step's rows, over all devices."""
    return self.program.batch_size * self.program.config.data.row_length


@dataclasses.dataclass(frozen=True)
class Plan:
  """What a run would be.

  Attributes:
    config: resolved.
    topology: its machine.
    mesh: {axis: devices}.
    documents: of a row, as they were given.
    steps: training of each stage, then evaluation.
  """

  config: Any
  topology: topologies.Topology
  mesh: dict[str, int]
  documents: float
  steps: tuple[Step, ...]

  @property
  def seconds(self) -> float:
    """The run's time at the least, with its evaluations."""
    return sum(each.times.step * each.program.times for each in self.steps)

  @property
  def device_hours(self) -> float:
    return self.seconds / 3600 * len(self.topology.devices)


def check(config: Any, topology: topologies.Topology) -> jax.sharding.Mesh:
  """Returns the mesh of a resolved config over a topology's devices.

  Raises:
    UserError: what `train` would refuse there before it reads data, or facts that are missing.
  """
  devices = topology.devices
  if config.mesh.devices not in (0, len(devices)):
    raise config_lib.UserError(
      f'config.mesh.devices = {config.mesh.devices}: a plan is for all {len(devices)} devices of '
      f'--topology={topology.name}; name a smaller one, or set it to 0'
    )
  mesh = sharding.make_mesh(config.mesh, devices)
  pretraining.check(config, mesh)
  programs.check(config)
  return mesh


def make(
  config: Any,
  topology: topologies.Topology,
  documents: float = 1.0,
  log: Callable[[str], None] = lambda line: None,
) -> Plan:
  """Compiles all steps of a config for a topology; minutes for a large model.

  Args:
    config: not resolved yet.
    topology: the machine.
    documents: of a row, on average: what attends to what decides about the useful FLOPs.
    log: is told what is being compiled.

  Raises:
    UserError: see `check`; or a step that does not fit (compiled.DoesNotFit).
  """
  config = pretraining.resolve(config)
  mesh = check(config, topology)
  if not 1 <= documents <= config.data.max_segments:
    raise config_lib.UserError(
      f'--documents={documents:g}: must be from 1 to config.data.max_segments = '
      f'{config.data.max_segments}'
    )
  steps = []
  for program in programs.of(config, mesh):
    log(f'compiling {program.name}: {predicted.summary(program)}')
    made = compiled_lib.of(program, mesh, topology.groups, topology.device.memory)
    steps.append(
      Step(
        program,
        made,
        predicted.times(made, topology.device, mesh.devices.size),
        predicted.useful_flops(program, documents),
        predicted.asked(program, mesh),
      )
    )
  return Plan(config, topology, dict(mesh.shape), documents, tuple(steps))
