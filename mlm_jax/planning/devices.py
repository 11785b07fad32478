"""What makers publish of a device: one table, with its sources.

All are rates that no program reaches: a time that is made of them is the least that it can be.
"""

import dataclasses

from mlm_jax.models import flops

_GIB = 2**30
_TPU = 'https://cloud.google.com/tpu/docs/'


@dataclasses.dataclass(frozen=True)
class Device:
  """An accelerator; rates are of one device.

  Attributes:
    kind: as JAX names it (jax.Device.device_kind); its FLOP/s are those of models/flops.py.
    memory: bytes.
    bandwidth: bytes/s to and from its memory.
    links: bytes/s that it sends to the others of its slice or node, over all its links: half of
      what is published for both directions.
    network: bytes/s that it sends to other slices or nodes: its part of a host's adapters.
    source: where the numbers are from.
  """

  kind: str
  memory: int
  bandwidth: float
  links: float
  network: float
  source: str

  @property
  def flops(self) -> float:
    """Dense bfloat16 FLOP/s."""
    peak = flops.peak(self.kind)
    assert peak is not None, f'models/flops.py has no {self.kind}'
    return peak


DEVICES = {
  'tpu:v5e': Device('TPU v5 lite', 16 * _GIB, 819e9, 200e9, 25e9 / 8, _TPU + 'v5e'),
  'tpu:v5p': Device('TPU v5', 95 * _GIB, 2765e9, 600e9, 50e9 / 8, _TPU + 'v5p'),
  'tpu:v6e': Device('TPU v6 lite', 32 * _GIB, 1638e9, 400e9, 100e9 / 8, _TPU + 'v6e'),
  # Of adapters one of 200 Gbit/s a device (A100) or of 400 (Hopper), as in NVIDIA's own DGX.
  'gpu:a100': Device(
    'NVIDIA A100-SXM4-80GB',
    80 * 10**9,
    2039e9,
    300e9,
    200e9 / 8,
    'https://www.nvidia.com/en-us/data-center/a100/, 80 GB SXM; DGX A100 data sheet',
  ),
  'gpu:h100': Device(
    'NVIDIA H100 80GB HBM3',
    80 * 10**9,
    3350e9,
    450e9,
    400e9 / 8,
    'https://www.nvidia.com/en-us/data-center/h100/, SXM; DGX H100 data sheet',
  ),
  'gpu:h200': Device(
    'NVIDIA H200',
    141 * 10**9,
    4800e9,
    450e9,
    400e9 / 8,
    'https://www.nvidia.com/en-us/data-center/h200/, SXM; DGX H200 data sheet',
  ),
}
