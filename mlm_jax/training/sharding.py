"""Where arrays live: a mesh of devices, rows divided over it, parameters shared out.

The mesh has three axes. Rows of a batch are divided over `data` and `fsdp`; what the
parameters and the optimizer hold is divided over `fsdp` (arXiv:1910.02054) and, by heads,
feed-forward width and vocabulary, over `tensor` (arXiv:1909.08053). The compiler finds
the communication from where things lie.
"""

from collections.abc import Sequence
import dataclasses
from typing import Any

import jax
from jax.experimental import mesh_utils
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.core import trees

AXES = ('data', 'fsdp', 'tensor')

PyTree = Any

# Ordered (regex over the path, the mesh axis of each dimension); the first match counts.
# Projections into heads or the feed-forward width are cut by columns, those back by rows, so the
# devices of `tensor` need one sum for each pair of them (arXiv:1909.08053, section 3).
# The optimizer's moments lie where their parameters do: their paths end alike.
_RULES = (
  (r'.*(token/embedding|head/table)', ('tensor', 'fsdp')),
  (r'.*(query|key|value|feed_forward/(in|gate))/kernel', (None, 'fsdp', 'tensor')),
  (r'.*(query|key|value|feed_forward/in)/bias', (None, 'tensor')),
  (r'.*(attention|feed_forward)/out/kernel', (None, 'tensor', 'fsdp')),
  (r'.*(head/transform|pairs/(pooler|out)|boundary/(first|second))/kernel', ('fsdp', None)),
  (r'.*(head|boundary)/bias', ('tensor',)),
  (r'.*', ()),
)


def make_mesh(config: Any, devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
  """Returns the mesh of the config's group `mesh`.

  Args:
    config: the group.
    devices: those that there are; None for all that JAX sees.

  Raises:
    UserError: the axes do not make up the devices, or several slices do not divide them.
  """
  devices = jax.devices() if devices is None else devices
  count = config.devices or len(devices)
  there = f'there are {len(devices)} devices ({devices[0].platform})'
  if count > len(devices):
    raise config_lib.UserError(f'config.mesh.devices = {count}: {there}')
  # The devices left out might be all of one process, which would then have no rows to load.
  if count < len(devices) and jax.process_count() > 1:
    raise config_lib.UserError(
      f'config.mesh.devices = {count}: {there}, and several processes use them all; set it to 0'
    )
  # By default, data parallelism takes all the devices that the other two axes leave.
  inner = config.fsdp * config.tensor
  shape = (config.data or max(count // inner, 1), config.fsdp, config.tensor)
  if np.prod(shape) != count:
    raise config_lib.UserError(
      f'config.mesh: data x fsdp x tensor = {" x ".join(map(str, shape))} = {np.prod(shape)} does '
      'not make up '
      f'the {count} devices; '
      + (
        f'set config.mesh.devices = {np.prod(shape)} to use fewer'
        if np.prod(shape) < count
        else there
      )
    )
  return _mesh(devices[:count], shape)


def largest_mesh(batch_size: int, most: int = 0) -> jax.sharding.Mesh:
  """Returns the mesh over the most of this process's devices, up to `most` (0: all), for a batch.

  Their number divides the batch.
  """
  devices = jax.local_devices()[: most or None]
  count = max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)
  return _mesh(devices[:count], (count, 1, 1))


def _mesh(devices: Sequence[jax.Device], shape: tuple[int, ...]) -> jax.sharding.Mesh:
  # Auto: the compiler divides what lies between; the code says only where arrays begin and end.
  types = (jax.sharding.AxisType.Auto,) * 3
  slices = len({getattr(each, 'slice_index', None) for each in devices})
  if slices == 1:
    return jax.make_mesh(shape, AXES, types, devices=devices)
  # Between slices of TPUs the network is slow, and the gradient is the least that can cross it.
  if shape[0] % slices:
    raise config_lib.UserError(
      f'config.mesh.data = {shape[0]}: must be a multiple of the {slices} slices, which share the '
      'rows and not the model'
    )
  inner, outer = (shape[0] // slices, *shape[1:]), (slices, 1, 1)
  placed = mesh_utils.create_hybrid_device_mesh(inner, outer, devices)
  return jax.sharding.Mesh(placed, AXES, axis_types=types)


def row_parts(mesh: jax.sharding.Mesh) -> int:
  """Returns the number of parts that the rows of a batch are divided into."""
  return mesh.shape['data'] * mesh.shape['fsdp']


def check_divides(key: str, batch_size: int, parts: int, why: str) -> None:
  """Raises UserError unless `parts` divides the batch."""
  if batch_size % parts:
    raise config_lib.UserError(
      f'config.{key} = {batch_size}: must be a multiple of {parts} ({why})'
    )


def check_model(mesh: jax.sharding.Mesh, model: Any) -> None:
  """Raises UserError where the model, by the config's group `model`, cannot be shared out."""
  # What _RULES divide; the head size need not be divisible, since whole heads are shared out.
  for axis, name in (('tensor', 'heads'), ('tensor', 'feed_forward'), ('fsdp', 'width')):
    if model[name] % mesh.shape[axis]:
      raise config_lib.UserError(
        f'config.mesh.{axis} = {mesh.shape[axis]}: must divide config.model.{name} = {model[name]}'
      )
  if 128 % mesh.shape['tensor']:
    raise config_lib.UserError(
      f'config.mesh.tensor = {mesh.shape["tensor"]}: must divide 128, to whose '
      'multiples the vocabulary is padded'
    )


def replicated(mesh: jax.sharding.Mesh) -> NamedSharding:
  """Returns the sharding of what every device holds as a whole."""
  return NamedSharding(mesh, PartitionSpec())


def by_rows(mesh: jax.sharding.Mesh) -> NamedSharding:
  """Returns the sharding of arrays whose first axis is the batch."""
  return NamedSharding(mesh, PartitionSpec(('data', 'fsdp')))


def by_rules(mesh: jax.sharding.Mesh, tree: PyTree) -> PyTree:
  """Returns where each leaf of a tree of parameters, or of what is made of them, lies."""
  axes = trees.match(_RULES, tree)
  return jax.tree.map(lambda _, names: NamedSharding(mesh, PartitionSpec(*names)), tree, axes)


def local_rows(mesh: jax.sharding.Mesh, batch_size: int) -> np.ndarray:
  """Returns the numbers of the rows of a batch that lie on this process's devices, ascending."""
  # Devices along `tensor` hold the same rows: each row is loaded once.
  places = by_rows(mesh).addressable_devices_indices_map((batch_size,)).values()
  return np.unique(np.concatenate([np.arange(batch_size)[place] for place in places]))


def put(batch: PyTree, mesh: jax.sharding.Mesh, batch_size: int) -> PyTree:
  """Returns the global batch on the devices, from the rows that `local_rows` names."""
  rows = local_rows(mesh, batch_size)

  # `index` asks for rows by their number in the global batch; `local` has this process's alone.
  def global_array(local: np.ndarray) -> jax.Array:
    def part(index: Any) -> np.ndarray:
      begin = np.searchsorted(rows, index[0].start or 0)
      return local[begin:][: batch_size // row_parts(mesh)]

    return jax.make_array_from_callback((batch_size, *local.shape[1:]), by_rows(mesh), part)

  return jax.tree.map(global_array, batch)


@dataclasses.dataclass(frozen=True)
class Placement:
  """Where batches of so many rows go on a mesh.

  Attributes:
    mesh: the devices.
    batch_size: rows of a whole batch.
  """

  mesh: jax.sharding.Mesh
  batch_size: int

  @property
  def parts(self) -> int:
    """In how many parts the rows are divided."""
    return row_parts(self.mesh)

  @property
  def local_rows(self) -> np.ndarray:
    """The numbers of the rows that lie on this process's devices."""
    return local_rows(self.mesh, self.batch_size)

  @property
  def whole(self) -> NamedSharding:
    """The sharding of what every device holds as a whole."""
    return replicated(self.mesh)

  def put(self, batch: PyTree) -> PyTree:
    """Returns the global batch on the devices, from this process's rows of it."""
    return put(batch, self.mesh, self.batch_size)


def split_rows(tree: PyTree, parts: int) -> PyTree:
  """Returns the tree with [B, ...] as [parts, B / parts, ...], no row changing device.

  Part m takes rows m, m + parts, ...: a contiguous cut would put whole parts on
  single devices.
  """
  return jax.tree.map(
    lambda x: x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1), tree
  )


def join_rows(tree: PyTree) -> PyTree:
  """Returns what `split_rows` was given, from what it returned."""
  return jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1, *x.shape[2:]), tree)
