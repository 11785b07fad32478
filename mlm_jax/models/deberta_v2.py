"""DeBERTa-v2 (github.com/microsoft/DeBERTa): logarithmic distances, shared projections, a
convolution.

Relative positions are projected as contents are, their table is normalised, far distances
share rows, and a convolution of the embeddings joins the first block's output.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp

from mlm_jax.models import deberta
from mlm_jax.models import layers

SIZES = {
  'xlarge': dict(layers=24, width=1536, heads=24, feed_forward=6144),
  'xxlarge': dict(layers=48, width=1536, heads=24, feed_forward=6144),
}
OWN = deberta.OWN | {
  'deberta.buckets': 256,
  'deberta.projections': 'shared',
  'deberta.relative_norm': 'layer_norm',
  'deberta.convolution': 3,
}


def module(config, vocab_size):
  """Returns the Encoder; config is the resolved group `model`."""
  kinds = {
    ('plain', False): deberta.Deberta,
    ('plain', True): Convolved,
    ('enhanced', False): deberta.EnhancedDeberta,
    ('enhanced', True): EnhancedConvolved,
  }
  block = {'shared': SharedBlock, 'own': OwnBlock}[config.deberta.projections]
  architecture = deberta.architecture(config, vocab_size)
  return kinds[config.deberta.decoder, architecture.convolution > 0](architecture, block=block)


class SharedAttention(deberta.DisentangledAttention):
  """Positions are projected as contents are."""

  def setup(self):
    project = lambda: layers.dense(self.config.width, self.config)
    self.query, self.key, self.value = project(), project(), project()

  def of_positions(self, relative_SD):
    return self.key(relative_SD), self.query(relative_SD)


class OwnAttention(SharedAttention):
  """Positions have projections of their own."""

  def setup(self):
    super().setup()
    project = lambda: layers.dense(self.config.width, self.config)
    self.position_key, self.position_query = project(), project()

  def of_positions(self, relative_SD):
    return self.position_key(relative_SD), self.position_query(relative_SD)


class SharedBlock(deberta.Block):
  attention = SharedAttention


class OwnBlock(deberta.Block):
  attention = OwnAttention


class Convolution(nn.Module):
  """A convolution inside each document, and the norm of its sum with the first block's output."""

  config: object

  @nn.compact
  def __call__(self, hidden_BLD, segments_BL, deterministic):
    """Returns (convolved_BLD, scale_D, bias_D); the first two enter every block (see
    deberta.View).
    """
    config, half = self.config, self.config.convolution // 2
    window_BLX = jnp.concatenate(
      [
        _neighbour(hidden_BLD, segments_BL, offset)
        for offset in range(-half, config.convolution - half)
      ],
      axis=-1,
    )
    convolved_BLD = layers.dense(config.width, config, 'kernel')(window_BLX)
    act = {'gelu': layers.gelu, 'tanh': jnp.tanh}[config.convolution_act]
    convolved_BLD = act(layers.Dropout(config.dropout)(convolved_BLD, deterministic))
    return convolved_BLD, *layers.NormParameters(config, name='norm')()


def _neighbour(hidden_BLD, segments_BL, offset):
  """Returns what stands `offset` places further on in the same document, 0 where nothing does."""
  reach, L = abs(offset), segments_BL.shape[1]
  shift = lambda x: jnp.pad(x, ((0, 0), (reach, reach)) + ((0, 0),) * (x.ndim - 2))[
    :, reach + offset :
  ][:, :L]
  same_BL = (shift(segments_BL) == segments_BL) & (segments_BL > 0)
  return jnp.where(same_BL[:, :, None], shift(hidden_BLD), 0)


class Convolved(deberta.Deberta):
  """With a convolution of the embeddings, which joins the first block's output."""

  def setup(self):
    super().setup()
    self.convolution = Convolution(self.config)

  def view(self, hidden_BLD, segments_BL, positions_BL, deterministic):
    view = super().view(hidden_BLD, segments_BL, positions_BL, deterministic)
    return dataclasses.replace(
      view, convolved=self.convolution(hidden_BLD, segments_BL, deterministic)
    )


class EnhancedConvolved(Convolved, deberta.EnhancedDeberta):
  """With both."""
