"""DeBERTa-v2 (github.com/microsoft/DeBERTa): the first version with three changes.

Relative positions are projected as contents are and their table is normalised; far distances
share rows of the table; a convolution of the embeddings is added to the first block's output.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlm_jax.models import layers
from mlm_jax.models.families import deberta

SIZES = {
  'xlarge': dict(layers=24, width=1536, heads=24, feed_forward=6144),
  'xxlarge': dict(layers=48, width=1536, heads=24, feed_forward=6144),
}
DEFAULTS = deberta.DEFAULTS | {
  'deberta.buckets': 256,
  'deberta.projections': 'shared',
  'deberta.relative_norm': 'layer_norm',
  'deberta.convolution': 3,
}
GROUP = 'deberta'
SEQUENCE_HEAD = dict(activation='gelu')
TOKEN_HEAD = 'plain'
PAIR_SEPS = 1


def module(config: Any, vocab_size: int) -> deberta.Deberta:
  """Returns the Encoder; config is the resolved group `model`."""
  # A convolution and the decoder are independent choices, and each changes the module class.
  kinds = {
    ('plain', False): deberta.Deberta,
    ('plain', True): Convolved,
    ('enhanced', False): deberta.EnhancedDeberta,
    ('enhanced', True): EnhancedConvolved,
  }
  block = {'shared': SharedBlock, 'own': OwnBlock}[config.deberta.projections]
  numbers = deberta.make_architecture(config, vocab_size)
  return kinds[config.deberta.decoder, numbers.convolution > 0](numbers, block=block)


class SharedAttention(deberta.DisentangledAttention):
  """Positions are projected as contents are."""

  def setup(self) -> None:
    project = lambda: layers.dense(self.config.width, self.config)
    self.query, self.key, self.value = project(), project(), project()

  def project_positions(self, relative_SD: jax.Array) -> tuple[jax.Array, jax.Array]:
    return self.key(relative_SD), self.query(relative_SD)


class OwnAttention(SharedAttention):
  """Positions have projections of their own, with biases."""

  def setup(self) -> None:
    super().setup()
    project = lambda: layers.dense(self.config.width, self.config)
    self.position_key, self.position_query = project(), project()

  def project_positions(self, relative_SD: jax.Array) -> tuple[jax.Array, jax.Array]:
    return self.position_key(relative_SD), self.position_query(relative_SD)


class SharedBlock(deberta.Block):
  """A block with SharedAttention."""

  attention = SharedAttention


class OwnBlock(deberta.Block):
  """A block with OwnAttention."""

  attention = OwnAttention


class Convolution(nn.Module):
  """A convolution inside each document, and the norm of its sum with the first block's output."""

  config: deberta.Architecture

  @nn.compact
  def __call__(
    self, hidden_BLD: jax.Array, segments_BL: jax.Array, deterministic: bool
  ) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns (convolved_BLD, scale_D, bias_D); see deberta.Context."""
    config, half = self.config, self.config.convolution // 2
    # As one product with the neighbours side by side: a convolution proper would mix documents
    # that share a row.
    window_BLX = jnp.concatenate(
      [
        _neighbour(hidden_BLD, segments_BL, offset)
        for offset in range(-half, config.convolution - half)
      ],
      axis=-1,
    )
    convolved_BLD = layers.dense(config.width, config, 'kernel')(window_BLX)
    # gelu in published checkpoints, tanh where a config.json does not say.
    act = layers.ACTIVATIONS[config.convolution_act]
    convolved_BLD = act(layers.Dropout(config.dropout)(convolved_BLD, deterministic))
    # The norm itself is applied in the first block, after the sum.
    return convolved_BLD, *layers.NormParameters(config, name='norm')()


def _neighbour(hidden_BLD: jax.Array, segments_BL: jax.Array, offset: int) -> jax.Array:
  """Returns the rows `offset` places further on in the same document, 0 where there is none."""
  # Padded on both sides and cut: no wrap-around from one end of a row to the other.
  reach, L = abs(offset), segments_BL.shape[1]
  shift = lambda x: jnp.pad(x, ((0, 0), (reach, reach)) + ((0, 0),) * (x.ndim - 2))[
    :, reach + offset :
  ][:, :L]
  # Shifted segment numbers show where the neighbour is of another document, or padding.
  same_BL = (shift(segments_BL) == segments_BL) & (segments_BL > 0)
  return jnp.where(same_BL[:, :, None], shift(hidden_BLD), 0)


class Convolved(deberta.Deberta):
  """With a convolution of the embeddings, which is added to the first block's output."""

  def setup(self) -> None:
    super().setup()
    self.convolution = Convolution(self.config)

  def context(
    self,
    hidden_BLD: jax.Array,
    segments_BL: jax.Array,
    positions_BL: jax.Array,
    deterministic: bool,
  ) -> deberta.Context:
    context = super().context(hidden_BLD, segments_BL, positions_BL, deterministic)
    return dataclasses.replace(
      context, convolved=self.convolution(hidden_BLD, segments_BL, deterministic)
    )


class EnhancedConvolved(Convolved, deberta.EnhancedDeberta):
  """With both the convolution and the enhanced mask decoder."""
