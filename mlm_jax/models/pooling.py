"""From the vectors of a text's tokens to one vector of it, as sentence-transformers has it."""

from collections.abc import Sequence
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray
# What can be made of the tokens' vectors; those of several modes are put side by side.
MODES = ('cls', 'max', 'mean', 'mean_sqrt_len_tokens', 'weightedmean', 'lasttoken')
# By their names in PyTorch.
ACTIVATIONS = {
  'Identity': lambda x: x,
  'Tanh': jnp.tanh,
  'ReLU': jax.nn.relu,
  'GELU': lambda x: jax.nn.gelu(x, approximate=False),
  'SiLU': jax.nn.silu,
  'Sigmoid': jax.nn.sigmoid,
}
_LEAST = 1e-12  # a vector of zeros stays one


@dataclasses.dataclass(frozen=True)
class Normalize:
  """Gives a vector the length 1."""

  def __call__(self, x_ND: jax.Array) -> jax.Array:
    return x_ND / jnp.maximum(jnp.linalg.norm(x_ND, axis=-1, keepdims=True), _LEAST)


@dataclasses.dataclass(frozen=True)
class LayerNorm:
  """Mean 0 and variance 1 over a vector's numbers, then a scale and a bias for each.

  Attributes:
    scale, bias: float32 [D].
  """

  scale: Array
  bias: Array

  def __call__(self, x_ND: jax.Array) -> jax.Array:
    centred_ND = x_ND - x_ND.mean(-1, keepdims=True)
    variance_N1 = jnp.square(centred_ND).mean(-1, keepdims=True)
    return centred_ND / jnp.sqrt(variance_N1 + 1e-5) * self.scale[None] + self.bias[None]


@dataclasses.dataclass(frozen=True)
class Dense:
  """A linear map and an activation.

  Attributes:
    kernel: float32 [in, out].
    bias: float32 [out]; None for none.
    activation: of ACTIVATIONS.
    is_residual: whether the input is added to the result.
    residual: float32 [in, out], through which it is added; None where the widths are equal.
  """

  kernel: Array
  bias: Array | None
  activation: str
  is_residual: bool = False
  residual: Array | None = None

  def __call__(self, x_ND: jax.Array) -> jax.Array:
    y_ND = x_ND @ self.kernel
    y_ND = ACTIVATIONS[self.activation](y_ND if self.bias is None else y_ND + self.bias[None])
    if not self.is_residual:
      return y_ND
    return y_ND + (x_ND if self.residual is None else x_ND @ self.residual)


Module = Normalize | LayerNorm | Dense


def pool(
  modes: Sequence[str], hidden_BLD: jax.Array, lengths_B: jax.Array, first_B: jax.Array
) -> jax.Array:
  """Returns float32 [B, modes x D]; the tokens of a row, [CLS] and [SEP] among them, count alike.

  Source: sentence_transformers, Pooling.

  Args:
    modes: of MODES, in the order of the result.
    hidden_BLD: of rows that begin with their text and end in padding.
    lengths_B: tokens of each row, padding left out.
    first_B: the first token that counts; those before it, such as a prompt's, do not.
  """
  hidden_BLD = hidden_BLD.astype(jnp.float32)
  index_L = jnp.arange(hidden_BLD.shape[1])[None]
  inside_BL1 = ((index_L >= first_B[:, None]) & (index_L < lengths_B[:, None]))[:, :, None]
  at = lambda index_B: jnp.take_along_axis(hidden_BLD, index_B[:, None, None], axis=1)[:, 0]
  sum_BD, number_B1 = (hidden_BLD * inside_BL1).sum(1), jnp.maximum(inside_BL1.sum(1), 1)
  # Positions count from the row's first token, wherever the counted ones begin.
  weights_BL1 = inside_BL1 * (index_L + 1)[:, :, None]
  pooled = {
    'cls': lambda: at(first_B),
    'max': lambda: jnp.where(inside_BL1, hidden_BLD, -jnp.inf).max(1),
    'mean': lambda: sum_BD / number_B1,
    'mean_sqrt_len_tokens': lambda: sum_BD / jnp.sqrt(number_B1),
    'weightedmean': lambda: (hidden_BLD * weights_BL1).sum(1) / jnp.maximum(weights_BL1.sum(1), 1),
    'lasttoken': lambda: at(lengths_B - 1),
  }
  return jnp.concatenate([pooled[mode]() for mode in modes], axis=1)


SEGMENT_MODES = ('cls', 'mean')


def pool_segments(
  mode: str, hidden_BLD: jax.Array, segments_BL: jax.Array, starts_BS: jax.Array
) -> jax.Array:
  """Returns [B, S, D]: a vector of each segment of packed rows, of unused ones whatever is first.

  Args:
    mode: 'cls' for a segment's first token, 'mean' for the mean of its tokens, [CLS] and [SEP]
      among them.
    hidden_BLD: of packed rows.
    segments_BL: 1, 2, ... for a row's segments in turn, 0 for padding.
    starts_BS: where each segment starts, -1 where unused.
  """
  if mode == 'cls':
    return jnp.take_along_axis(hidden_BLD, jnp.maximum(starts_BS, 0)[:, :, None], axis=1)
  number_1S1 = jnp.arange(1, starts_BS.shape[1] + 1)[None, :, None]
  is_in_BSL = segments_BL[:, None] == number_1S1
  # A product in place of a scatter: its gradient is a product too.
  sum_BSD = jnp.einsum('bsl,bld->bsd', is_in_BSL.astype(hidden_BLD.dtype), hidden_BLD)
  return sum_BSD / jnp.maximum(is_in_BSL.sum(-1, keepdims=True), 1)
