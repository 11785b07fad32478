"""Where arrays live: a mesh over the devices, batches divided, the rest copied."""

import jax
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec

from mlm_jax import config as config_lib


def make_mesh(config):
  """Returns the mesh of the config's group `mesh`: the axis 'data' over devices."""
  devices = jax.devices()
  wanted = config.data or len(devices)
  if wanted > len(devices):
    raise config_lib.UserError(
        f'config.mesh.data = {wanted}: there are {len(devices)} devices ({devices[0].platform})')
  return jax.sharding.Mesh(np.array(devices[:wanted]), ('data',))


def largest_mesh(batch_size):
  """Returns the mesh over as many devices as there are and divide the batch."""
  devices = jax.devices()
  count = max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)
  return jax.sharding.Mesh(np.array(devices[:count]), ('data',))


def check_divides(key, batch_size, parts, why):
  """Raises UserError unless `parts` divides the batch."""
  if batch_size % parts:
    raise config_lib.UserError(f'config.{key} = {batch_size}: must be a multiple of {parts} ({why})')


def replicated(mesh):
  return NamedSharding(mesh, PartitionSpec())


def by_rows(mesh):
  """The sharding of arrays whose first axis is the batch."""
  return NamedSharding(mesh, PartitionSpec('data'))


def put(batch, mesh):
  """Returns the global batch on the devices, from this process's rows of it."""
  return jax.tree.map(
      lambda rows: jax.make_array_from_process_local_data(by_rows(mesh), rows), batch)


def split_rows(tree, parts):
  """Returns the tree with [B, ...] as [parts, B / parts, ...], no row changing device.

  Part m takes rows m, m + parts, ...: a contiguous cut would put whole parts on
  single devices.
  """
  return jax.tree.map(
      lambda x: x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1), tree)
