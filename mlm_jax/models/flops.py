"""Model FLOPs of a step and peak FLOP/s of a device: together the utilisation (MFU).

Model FLOPs are what the mathematics needs, whatever the program does: matrix
products only, a multiply-add is 2. Lookups, norms, activations, the softmax and the
optimizer are not counted; neither is work that the program adds, such as padding,
pairs of tokens that may not see each other, padded columns of the vocabulary, unused
places of the prediction buffer and layers computed again in the backward pass.
"""

from typing import Any
from typing import Protocol

# Dense bfloat16 FLOP/s by jax.Device.device_kind, from the vendors' data sheets. Those of
# NVIDIA quote Hopper with sparsity, twice this. Parts of a device (MIG) are not listed.
_PEAK = {
  'NVIDIA A100-SXM4-40GB': 312e12,
  'NVIDIA A100-SXM4-80GB': 312e12,
  'NVIDIA A100-PCIE-40GB': 312e12,
  'NVIDIA A100 80GB PCIe': 312e12,
  'NVIDIA H100 80GB HBM3': 989.5e12,
  'NVIDIA H100 PCIe': 756.5e12,
  'NVIDIA H200': 989.5e12,
  'TPU v4': 275e12,
  'TPU v5 lite': 197e12,  # v5e
  'TPU v5e': 197e12,
  'TPU v5': 459e12,  # v5p
  'TPU v5p': 459e12,
  'TPU v6 lite': 918e12,  # v6e
  'TPU v6e': 918e12,
}


class HasFlops(Protocol):
  """What has a cost: an Architecture, or an objective."""

  def flops(self, tokens: Any, attended: Any, predicted: Any) -> Any:
    """Returns the FLOPs of one forward pass."""


def training(costs: HasFlops, tokens: Any, attended: Any, predicted: Any) -> Any:
  """Returns the FLOPs of one training step; the counts may be arrays or floats.

  Three times the forward pass: the backward pass has two products for each of its
  products, one for the gradient of either factor.

  Args:
    costs: an Architecture, or an objective.
    tokens: tokens that enter the encoder.
    attended: pairs of tokens that see each other, on average over the layers (Architecture.pairs,
      summed over the tokens).
    predicted: positions that the head scores against the vocabulary.
  """
  # Recomputation (remat) is not counted: it is the program's, not the mathematics'.
  return 3 * costs.flops(tokens, attended, predicted)


def peak(device_kind: str) -> float | None:
  """Returns the dense bfloat16 FLOP/s of a device, or None where it is not known."""
  return _PEAK.get(device_kind)
