"""The small parts of an encoder."""

from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlm_jax.models.architecture import Architecture


class Dense(nn.Dense):
  """A linear layer that sees the rows of its input as one long list.

  With two leading axes, the product that makes the kernel's gradient sums over both, and XLA
  on a CPU copies its operands transposed for it: a seventh of a feed-forward layer's time.
  """

  def __call__(self, inputs: jax.Array) -> jax.Array:
    # A row is all that a linear layer needs to see.
    flat_NX = inputs.reshape(-1, inputs.shape[-1])
    return super().__call__(flat_NX).reshape(*inputs.shape[:-1], self.features)


def dense(
  features: int, config: Architecture, name: str | None = None, use_bias: bool = True
) -> Dense:
  """Returns a linear layer with float32 parameters that computes in config.dtype."""
  return Dense(
    features,
    use_bias=use_bias,
    dtype=config.dtype,
    param_dtype=jnp.float32,
    name=name,
    kernel_init=nn.initializers.truncated_normal(config.init_std),
  )


def at_least_float32(dtype: Any) -> Any:
  """Returns the dtype for what must not be computed in less than float32."""
  return jnp.promote_types(dtype, jnp.float32)


def gelu(x: jax.Array) -> jax.Array:
  """Returns x times the normal distribution function of x (arXiv:1606.08415), by erf, not tanh.

  On a CPU a third of the time of jax.nn.gelu, whose erfc keeps all digits far below 0, where
  the result is next to 0. Computed in float32, since 1 + erf keeps few there.
  """
  wide = x.astype(at_least_float32(x.dtype))
  return (0.5 * wide * (1 + jax.lax.erf(wide * 0.5**0.5))).astype(x.dtype)


def gelu_tanh(x: jax.Array) -> jax.Array:
  """Returns GELU's approximation by tanh (arXiv:1606.08415), computed in float32 at least."""
  return jax.nn.gelu(x.astype(at_least_float32(x.dtype)), approximate=True).astype(x.dtype)


# By the names that config.model.activation takes.
ACTIVATIONS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
  'gelu': gelu,
  'gelu_tanh': gelu_tanh,
  'relu': jax.nn.relu,
  'silu': jax.nn.silu,
  'tanh': jnp.tanh,
}


def layer_norm(
  config: Architecture, name: str | None = 'norm', use_bias: bool = True
) -> nn.LayerNorm:
  """Returns a layer norm; its statistics are float32 at least, whatever the compute dtype."""
  return nn.LayerNorm(
    epsilon=config.norm_epsilon,
    use_bias=use_bias,
    dtype=config.dtype,
    param_dtype=jnp.float32,
    name=name,
  )


class NormParameters(nn.Module):
  """Scale and bias of a layer norm that is applied elsewhere, by `normalise`."""

  config: Architecture

  @nn.compact
  def __call__(self) -> tuple[jax.Array, jax.Array]:
    shape = (self.config.width,)
    return (
      self.param('scale', nn.initializers.ones, shape, jnp.float32),
      self.param('bias', nn.initializers.zeros, shape, jnp.float32),
    )


def normalise(
  x: jax.Array, scale_D: jax.Array, bias_D: jax.Array, config: Architecture
) -> jax.Array:
  """Returns what a layer norm with these parameters gives."""
  # parent=None: a module of its own, so that it may be called inside another without a name there.
  norm = nn.LayerNorm(
    epsilon=config.norm_epsilon, dtype=config.dtype, param_dtype=jnp.float32, parent=None
  )
  normal: Any = norm.apply({'params': {'scale': scale_D, 'bias': bias_D}}, x)
  return normal


def drop(x: jax.Array, rate: float, key: jax.Array) -> jax.Array:
  """Returns x with elements dropped, whose draws cost 8 bits an element instead of 32.

  The rate is therefore a multiple of 1/256: .1 becomes 26/256 = .1016, and the
  kept elements are scaled by the inverse of the share that is in fact kept.
  """
  kept_of_256 = _kept_of_256(rate)
  if kept_of_256 == 0:
    return jnp.zeros_like(x)
  # Four draws share a word along the last axis, so that no draw crosses rows.
  *lead, last = x.shape
  words = jax.random.bits(key, (*lead, -(-last // 4)), jnp.uint32)
  draws = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(*lead, -1)[..., :last]
  # Kept with probability kept_of_256 / 256, exactly: a draw is uniform over 0 ... 255.
  return jnp.where(draws < kept_of_256, x * jnp.asarray(256 / kept_of_256, x.dtype), 0)


def _kept_of_256(rate: float) -> int:
  return round(256 * (1 - rate))


def drops(rate: float, deterministic: bool) -> bool:
  """Whether anything is dropped: a rate may round to 0."""
  return not deterministic and _kept_of_256(rate) < 256


class Dropout(nn.Module):
  """Dropout by `drop`, with a key of the module's own."""

  rate: float

  @nn.compact
  def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
    return drop(x, self.rate, self.make_rng('dropout')) if drops(self.rate, deterministic) else x


class FeedForward(nn.Module):
  """Two linear layers around an activation."""

  config: Architecture

  @nn.compact
  def __call__(self, hidden_BLD: jax.Array) -> jax.Array:
    # The widest arrays that grow with the tokens alone.
    inner_BLF = dense(self.config.feed_forward, self.config, 'in')(hidden_BLD)
    inner_BLF = ACTIVATIONS[self.config.activation](inner_BLF)
    return dense(self.config.width, self.config, 'out')(inner_BLF)
