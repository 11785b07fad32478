"""ModernBERT (arXiv:2412.13663): pre-norm without biases, rotary positions, GeGLU, mostly local
attention.

Every third layer sees whole documents, the others a window; the two kinds turn queries and keys
by wavelengths of their own. Dropout is on the attention's output alone.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlm_jax.models import attention
from mlm_jax.models import embeddings
from mlm_jax.models import encoder
from mlm_jax.models import heads
from mlm_jax.models import layers
from mlm_jax.models import rotary
from mlm_jax.models import sliding_window

SIZES = {
  'small': dict(layers=12, width=384, heads=6, feed_forward=576),  # not published: half of base
  'base': dict(layers=22, width=768, heads=12, feed_forward=1152),
  'large': dict(layers=28, width=1024, heads=16, feed_forward=2624),
}
OWN = dict(types=0, position_offset=0, norm_epsilon=1e-5)


@dataclasses.dataclass(frozen=True)
class Architecture(encoder.Architecture):
  """An encoder's numbers, and those of its two kinds of layers.

  Attributes:
    reach: positions that a local layer sees to either side.
    global_every: the layers 0, global_every, ... see whole documents.
    global_theta, local_theta: bases of the wavelengths of rotary positions.
  """

  reach: int
  global_every: int
  global_theta: float
  local_theta: float

  def pairs(self, positions):
    share = -(-self.layers // self.global_every) / self.layers
    in_reach = positions.clip(max=self.reach)
    return share * super().pairs(positions) + (1 - share) * super().pairs(in_reach)

  def flops(self, tokens, attended, predicted):
    """A gated feed-forward layer has a product more than others."""
    return (
      super().flops(tokens, attended, predicted)
      + self.layers * tokens * 2 * self.width * self.feed_forward
    )


def module(config, vocab_size):
  """Returns the Encoder; config is the resolved group `model`."""
  own = config.modernbert
  return ModernBert(
    encoder.architecture(
      config,
      vocab_size,
      Architecture,
      reach=own.window // 2,
      global_every=own.global_every,
      global_theta=own.global_theta,
      local_theta=own.local_theta,
    )
  )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class View:
  """What every block is given: the rows' segments, and (cosine_BLX, sine_BLX) for global and local
  layers.
  """

  segments_BL: jax.Array
  global_turn: Any
  local_turn: Any


class Attention(nn.Module):
  """Multi-head attention to the whole document or to a window, by the layer's number."""

  config: object

  @nn.compact
  def __call__(self, hidden_BLD, layer, view, deterministic):
    config, K = self.config, self.config.width // self.config.heads
    project = lambda name: attention.by_heads(
      layers.dense(config.width, config, name, use_bias=False)(hidden_BLD), config.heads
    )
    query_BLHK, key_BLHK, value_BLHK = project('query'), project('key'), project('value')
    is_global = layer % config.global_every == 0
    turn = _either(is_global, lambda: view.global_turn, lambda: view.local_turn)
    query_BLHK, key_BLHK = rotary.turn(query_BLHK, *turn) * K**-0.5, rotary.turn(key_BLHK, *turn)
    same_B1LL = attention.same_document(view.segments_BL)
    if self.is_mutable_collection(attention.DETAILS):  # what is looked at may be slow
      near_11LL = sliding_window.near(hidden_BLD.shape[1], config.reach)[None, None]
      self.sow(
        attention.DETAILS,
        'weights_BHLL',
        attention.softmax(
          attention.scores(query_BLHK, key_BLHK), same_B1LL & (near_11LL | is_global), config.dtype
        ),
      )

    def whole():
      weights_BHLL = attention.softmax(
        attention.scores(query_BLHK, key_BLHK), same_B1LL, config.dtype
      )
      return attention.mean(weights_BHLL, value_BLHK)

    def window():
      return sliding_window.mix(query_BLHK, key_BLHK, value_BLHK, view.segments_BL, config.reach)

    mixed_BLD = _either(is_global, whole, window)
    out_BLD = layers.dense(config.width, config, 'out', use_bias=False)(mixed_BLD)
    return layers.Dropout(config.dropout)(out_BLD, deterministic)


def _either(condition, yes, no):
  """Returns what one of two functions gives: chosen while tracing where the layers are unrolled."""
  if isinstance(condition, bool):
    return yes() if condition else no()
  return jax.lax.cond(condition, yes, no)


class GatedFeedForward(nn.Module):
  """GeGLU (arXiv:2002.05202): half of the inner layer, after a GELU, gates the other."""

  config: object

  @nn.compact
  def __call__(self, hidden_BLD):
    config = self.config
    project = lambda width, name: layers.dense(width, config, name, use_bias=False)
    inner_BLF = layers.gelu(project(config.feed_forward, 'in')(hidden_BLD))
    inner_BLF *= project(config.feed_forward, 'gate')(hidden_BLD)
    return project(config.width, 'out')(inner_BLF)


class Block(nn.Module):
  """Attention, then feed-forward; each sees its input normalised and is added to it as it was.

  The first layer's input is normalised already: its own attention norm is not used.
  """

  config: Architecture

  @nn.compact
  def __call__(self, hidden_BLD, layer, view, deterministic):
    """Returns (hidden_BLD, None)."""
    normal_BLD = layers.layer_norm(self.config, 'attention_norm', use_bias=False)(hidden_BLD)
    normal_BLD = jnp.where(layer == 0, hidden_BLD, normal_BLD)
    hidden_BLD += Attention(self.config, name='attention')(normal_BLD, layer, view, deterministic)
    normal_BLD = layers.layer_norm(self.config, 'feed_forward_norm', use_bias=False)(hidden_BLD)
    hidden_BLD += GatedFeedForward(self.config, name='feed_forward')(normal_BLD)
    self.sow(attention.DETAILS, 'hidden_BLD', hidden_BLD)
    return hidden_BLD, None


class Embeddings(nn.Module):
  """Token embeddings, normalised."""

  config: object

  def setup(self):
    self.token = embeddings.table(self.config.padded_vocab_size, self.config)
    self.norm = layers.layer_norm(self.config, name=None, use_bias=False)

  def __call__(self, tokens_BL, positions_BL, types_BL, deterministic):
    """Returns [B, L, D]; only the tokens are used."""
    return self.norm(self.token(tokens_BL).astype(self.config.dtype))


class ModernBert(encoder.Encoder):
  """An encoder of such blocks, with a norm behind the last one."""

  block = Block

  def setup(self):
    super().setup()
    self.final_norm = layers.layer_norm(self.config, None, use_bias=False)

  def make_embeddings(self):
    return Embeddings(self.config)

  def make_head(self):
    return heads.MaskedHead(self.config, use_bias=False)

  def view(self, hidden_BLD, segments_BL, positions_BL, deterministic):
    K = self.config.width // self.config.heads
    turns = [
      rotary.angles(positions_BL, K, theta)
      for theta in (self.config.global_theta, self.config.local_theta)
    ]
    return View(segments_BL, *turns)

  def finish(self, hidden_BLD, besides, view, positions_BL, deterministic):
    hidden_BLD = self.final_norm(hidden_BLD)
    return hidden_BLD, hidden_BLD
