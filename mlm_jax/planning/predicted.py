"""A step's time by a roofline: the largest of computing, memory and network; and what theory asks.

It is the least that the time can be on such devices, at the rates that their makers publish: no
program reaches all of them, and what this one reaches only a device can say.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from mlm_jax.models import flops as flops_lib
from mlm_jax.planning import compiled as compiled_lib
from mlm_jax.planning import devices as devices_lib
from mlm_jax.planning import programs


@dataclasses.dataclass(frozen=True)
class Times:
  """Seconds that a step takes at the least, by what could bind it.

  Attributes:
    compute: of its FLOPs.
    memory: of the bytes moved.
    network: of what a device sends.
  """

  compute: float
  memory: float
  network: float

  @property
  def step(self) -> float:
    return max(self.compute, self.memory, self.network)

  @property
  def binds(self) -> str:
    """What the step waits for."""
    times = dataclasses.asdict(self)
    return max(times, key=lambda name: times[name])


def times(compiled: compiled_lib.Compiled, device: devices_lib.Device, devices: int) -> Times:
  """Returns the Times of a compiled step on so many devices."""
  fast = sum(each.sent for each in compiled.sent if not each.crosses)
  slow = sum(each.sent for each in compiled.sent if each.crosses)
  # The compiler's count misses what is in loops, that of the products what is computed twice.
  flops = max(compiled.asked_flops / devices, compiled.counted_flops or 0.0)
  return Times(
    flops / device.flops,
    compiled.bytes_moved / device.bandwidth,
    fast / device.links + slow / device.network,
  )


def useful_flops(program: programs.Program, documents: float) -> float:
  """Returns the FLOPs that a step's mathematics needs, see models/flops.py.

  Rows are taken to be full, of so many documents of one length, and as much to be predicted as the
  policy's rate ever asks.
  """
  config, objective = program.config, program.objective
  B, L = program.batch_size, config.data.row_length
  positions_L = np.arange(L) % int(np.ceil(L / documents))
  attended = B * float(np.sum(objective.encoder.architecture.pairs(positions_L)))
  tokens = B * L
  policy = program.policy
  maskable = tokens - 2 * B * documents  # all but [CLS] and [SEP]
  is_all = program.trains and config.objective.predict_all
  predicted = maskable * (1 if is_all else policy.max_rate * policy.max_predict_fraction)
  if program.trains:
    return float(flops_lib.training(objective, tokens, attended, predicted))
  return float(objective.flops(tokens, attended, predicted))


def asked(program: programs.Program, mesh: jax.sharding.Mesh) -> dict[str, float]:
  """Returns {axis: bytes that a device has to send in a step}, as theory has it.

  Over `data` the gradient is summed: twice its size (rings). Over `fsdp` the parameters are
  gathered for the forward and for the backward pass of each micro-batch, and the gradient is
  scattered once (arXiv:1910.02054). Over `tensor` each layer sums two arrays of hidden states on
  its way and two on the way back (arXiv:1909.08053). Numbers have the width of the computation.
  Nothing is said of an evaluation but its gathering.
  """
  config = program.config
  width = np.dtype(jax.numpy.dtype(config.model.dtype)).itemsize
  data, fsdp, tensor = (mesh.shape[name] for name in ('data', 'fsdp', 'tensor'))
  share = lambda n: (n - 1) / n
  # Divided and held as a whole, by their places: only what is divided is gathered.
  whole, divided = 0.0, 0.0
  for x in jax.tree.leaves(program.params):
    size = float(np.prod(x.sharding.shard_shape(x.shape))) * width
    if 'fsdp' in jax.tree.leaves(tuple(x.sharding.spec)):
      divided += size
    else:
      whole += size
  parts = config.grad_accumulation_steps if program.trains else 1
  passes = 2 * parts if program.trains else 1
  found = {}
  if data > 1 and program.trains:
    found['data'] = 2 * share(data) * (whole + divided)
  if fsdp > 1:
    scattered = 1 if program.trains else 0
    # What is not divided over `fsdp` is summed over it, since its devices have other rows.
    found['fsdp'] = share(fsdp) * ((passes + scattered) * divided * fsdp + 2 * scattered * whole)
  if tensor > 1:
    rows = program.batch_size / (data * fsdp)
    hidden = rows * config.data.row_length * config.model.width * width
    found['tensor'] = (
      2 * share(tensor) * hidden * (4 if program.trains else 2) * config.model.layers
    )
  return found


def summary(program: Any) -> str:
  """Returns a program's shapes as a person reads them."""
  config = program.config
  text = f'{program.batch_size} rows of {config.data.row_length}'
  if program.trains and config.grad_accumulation_steps > 1:
    text += f' in {config.grad_accumulation_steps} micro-batches'
  return text
