"""The devices of a machine by name, such as tpu:v5e:16x16, from the compiler's own description."""

from collections.abc import Sequence
import dataclasses
import importlib.util
import math
import os
import re

import jax
from jax.experimental import topologies

from mlm_jax import config as config_lib
from mlm_jax.planning import devices as devices_lib

_FORM = re.compile(r'((?:tpu|gpu):\w+):([0-9]{1,5}(?:x[0-9]{1,5}){0,2})(?::([0-9]{1,5}))?')
_MOST_GPUS = 8  # of a node

# What the library asks of its surroundings where there is no TPU; two processes may use it.
_TPU_ENVIRONMENT = {
  'TPU_SKIP_MDS_QUERY': '1',
  'TPU_ACCELERATOR_TYPE': 'v5litepod-8',
  'TPU_WORKER_HOSTNAMES': 'localhost',
  'ALLOW_MULTIPLE_LIBTPU_LOAD': 'true',
}


@dataclasses.dataclass(frozen=True)
class Topology:
  """Devices that programs can be compiled for.

  Attributes:
    name: as it was given.
    kind: its key in devices.DEVICES.
    devices: descriptions of them, in JAX's order.
    groups: slices of TPUs, or nodes of GPUs; devices of one are joined by fast links.
  """

  name: str
  kind: str
  devices: Sequence[jax.Device]
  groups: int

  @property
  def device(self) -> devices_lib.Device:
    """What is published of one device."""
    return devices_lib.DEVICES[self.kind]


def find(name: str) -> Topology:
  """Returns the Topology of a name: tpu:KIND:SHAPE[:SLICES] or gpu:KIND:DEVICES[:NODES].

  Raises:
    UserError: there is none of this name, what describes it is not installed, or that refuses it.
  """
  parts = _FORM.fullmatch(name)
  if parts is None or parts[1] not in devices_lib.DEVICES:
    raise config_lib.UserError(f'--topology={name}: there is none; there are {known()}')
  kind, shape, groups = parts[1], parts[2], int(parts[3] or 1)
  count = math.prod(map(int, shape.split('x')))
  if not (1 <= count * groups <= 2**16):
    raise config_lib.UserError(
      f'--topology={name}: has {count * groups} devices; 1 to 65,536 can be'
    )
  if kind.startswith('tpu'):
    described = _tpu(name, kind, shape, groups)
  else:
    described = _gpu(name, kind, shape, groups)
  return Topology(name, kind, described, groups)


def known() -> str:
  """Returns the names that there are, as a person reads them."""
  tpus, gpus = (
    ', '.join(each for each in devices_lib.DEVICES if each.startswith(platform))
    for platform in ('tpu', 'gpu')
  )
  return (
    f'{tpus} with :SHAPE[:SLICES], as tpu:v5e:4x4, and {gpus} with :DEVICES[:NODES], as gpu:h100:8'
  )


def _tpu(name: str, kind: str, shape: str, groups: int) -> Sequence[jax.Device]:
  if importlib.util.find_spec('libtpu') is None:
    raise _not_installed(name, 'TPUs', 'tpu')
  for key, value in _TPU_ENVIRONMENT.items():
    os.environ.setdefault(key, value)
  settings: dict[str, object] = {'num_slices': groups} if groups > 1 else {}
  # A host has four chips, but for the one that is a machine alone.
  if math.prod(map(int, shape.split('x'))) == 1:
    settings['chips_per_host_bounds'] = (1, 1, 1)
  return _described(
    name, platform='tpu', topology_name=f'{kind.removeprefix("tpu:")}:{shape}', **settings
  )


def _gpu(name: str, kind: str, shape: str, groups: int) -> Sequence[jax.Device]:
  if 'x' in shape or not 1 <= int(shape) <= _MOST_GPUS:
    raise config_lib.UserError(
      f'--topology={name}: must say 1 to {_MOST_GPUS} devices of a node, and with a further number '
      f'how many nodes, as {kind}:8:4'
    )
  plugins = ('jax_cuda13_plugin', 'jax_cuda12_plugin')
  if not any(map(importlib.util.find_spec, plugins)):
    raise _not_installed(name, 'GPUs', 'cuda')
  return _described(
    name,
    platform='cuda',
    topology_name=kind,
    # Slices, hosts of each, devices of each.
    topology=f'{groups}x1x{shape}',
    target_config=_target(kind),
  )


def _not_installed(name: str, what: str, extra: str) -> config_lib.UserError:
  return config_lib.UserError(
    f"--topology={name}: the compiler for {what} is not installed: pip install 'mlm_jax[{extra}]'"
  )


def _described(name: str, **settings: object) -> Sequence[jax.Device]:
  try:
    return topologies.get_topology_desc(**settings).devices  # pyrefly: ignore[bad-argument-type]
  # The libraries have no common class for what they refuse.
  except Exception as error:
    raise config_lib.UserError(
      f'--topology={name}: the library that is installed cannot describe it '
      f'({config_lib.one_line(error)})'
    ) from None


def _target(kind: str) -> str:
  """Returns what the compiler asks about a GPU, a GpuTargetConfigProto as text."""
  device = devices_lib.DEVICES[kind]
  is_hopper = kind != 'gpu:a100'
  cores, shared, optin, cache, clock, capability = (
    (132, 233472, 232448, 52428800, 1.98, 9)
    if is_hopper
    else (108, 167936, 166912, 41943040, 1.41, 8)
  )
  return f"""
    gpu_device_info {{
      threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
      shared_memory_per_block: 49152 shared_memory_per_core: {shared}
      shared_memory_per_block_optin: {optin} registers_per_core_limit: 65536
      registers_per_block_limit: 65536 core_count: {cores} fpus_per_core: {128 if is_hopper else 64}
      block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
      memory_bandwidth: {device.bandwidth:.0f} l2_cache_size: {cache} clock_rate_ghz: {clock}
      device_memory_size: {device.memory}
      cuda_compute_capability {{ major: {capability} minor: 0 }}
    }}
    platform_name: "CUDA"
    dnn_version_info {{ major: 9 minor: 8 patch: 0 }}
    device_description_str: "{device.kind}"
  """
