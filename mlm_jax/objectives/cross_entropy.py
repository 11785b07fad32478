"""Cross-entropy with weights and smoothing, as PyTorch's CrossEntropyLoss has them."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

Sums = tuple[jax.Array, jax.Array]  # of a metric: (sum, weight)


def cross_entropy(
  logits: jax.Array, label: jax.Array, weights: Sequence[float] = (), smoothing: float = 0.0
) -> Sums:
  """Returns (sum of the losses, what it is divided by), float32.

  Args:
    logits: float32 [..., C].
    label: int32 [...]; below 0 where there is none.
    weights: of the labels; () for 1 each.
    smoothing: share of the target that is spread over all labels.
  """
  C = logits.shape[-1]
  weight_C = jnp.array(weights or (1.0,) * C, jnp.float32)
  log_probs, right = jax.nn.log_softmax(logits), jnp.maximum(label, 0)
  loss = -(1 - smoothing) * weight_C[right] * _at(log_probs, right)
  # PyTorch weights each label's part of what is spread by that label's own weight.
  loss -= smoothing * (log_probs * jnp.broadcast_to(weight_C, logits.shape)).sum(-1) / C
  return jnp.where(label >= 0, loss, 0).sum(), weight(label, weights)


def weight(label: jax.Array, weights: Sequence[float] = ()) -> jax.Array:
  """Returns what the sum of the losses is divided by, float32; arguments as `cross_entropy`."""
  of = jnp.array(weights, jnp.float32)[jnp.maximum(label, 0)] if weights else 1.0
  return jnp.where(label >= 0, of, 0).sum(dtype=jnp.float32)


def accuracy(logits: jax.Array, label: jax.Array) -> Sums:
  """Returns (how many are right, how many have a label), float32."""
  has = label >= 0
  right = (logits.argmax(-1) == label) & has
  return right.sum(dtype=jnp.float32), has.sum(dtype=jnp.float32)


def _at(log_probs: jax.Array, label: jax.Array) -> jax.Array:
  return jnp.take_along_axis(log_probs, label[..., None], axis=-1)[..., 0]
