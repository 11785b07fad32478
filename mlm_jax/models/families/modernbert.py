"""ModernBERT (arXiv:2412.13663): pre-norm, rotary positions, GeGLU, mostly local attention.

No layer has a bias. Every third layer sees whole documents, the others a window; the two kinds
rotate queries and keys by different wavelengths. Dropout was on the attention's output alone.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlm_jax.core import trees
from mlm_jax.models import architecture
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
DEFAULTS = dict(types=0, position_offset=0, norm_epsilon=1e-5, attention_dropout=0.0)
GROUP = 'modernbert'
SEQUENCE_HEAD = dict(activation='', has_norm=True)
TOKEN_HEAD = 'as_sequence'
PAIR_SEPS = 1


@dataclasses.dataclass(frozen=True)
class Architecture(architecture.Architecture):
  """An encoder's numbers, and those of its two kinds of layers.

  Attributes:
    reach: positions that a local layer sees to either side.
    global_every: the layers 0, global_every, ... see whole documents.
    global_theta, local_theta: bases of the wavelengths of rotary positions.
    embedding_dropout, mlp_dropout: of the embeddings, and of the gated feed-forward layer.
  """

  reach: int
  global_every: int
  global_theta: float
  local_theta: float
  embedding_dropout: float
  mlp_dropout: float

  def pairs(self, positions: Any) -> Any:
    """Returns how many (query, key) pairs each token adds, on average over the layers."""
    # Layers 0, n, 2n, ...: rounded up.
    global_share = -(-self.layers // self.global_every) / self.layers
    # In a local layer a far token adds as many pairs as one at the window's edge.
    in_reach = positions.clip(max=self.reach)
    return global_share * super().pairs(positions) + (1 - global_share) * super().pairs(in_reach)

  def flops(self, tokens: Any, attended: Any, predicted: Any) -> Any:
    """Returns the FLOPs of one forward pass: a gated feed-forward layer has one product more."""
    return (
      super().flops(tokens, attended, predicted)
      + self.layers * tokens * 2 * self.width * self.feed_forward
    )


def module(config: Any, vocab_size: int) -> 'ModernBert':
  """Returns the Encoder; config is the resolved group `model`."""
  own = config.modernbert
  return ModernBert(
    architecture.make(
      config,
      vocab_size,
      Architecture,
      # The config counts the whole window, as the published one does.
      reach=own.window // 2,
      global_every=own.global_every,
      global_theta=own.global_theta,
      local_theta=own.local_theta,
      embedding_dropout=own.embedding_dropout,
      mlp_dropout=own.mlp_dropout,
    )
  )


@trees.dataclass
class Context:
  """What every block is given.

  Attributes:
    segments_BL: of the rows.
    global_angles, local_angles: (cosine_BLX, sine_BLX) for global and for local layers.
  """

  segments_BL: jax.Array
  global_angles: tuple[jax.Array, jax.Array]
  local_angles: tuple[jax.Array, jax.Array]


class Attention(nn.Module):
  """Multi-head attention to the whole document or to a window, by the layer's number."""

  config: Architecture

  @nn.compact
  def __call__(
    self, hidden_BLD: jax.Array, layer: Any, context: Context, deterministic: bool
  ) -> jax.Array:
    config, K = self.config, self.config.width // self.config.heads
    project = lambda name: attention.split_heads(
      layers.dense(config.width, config, name, use_bias=False)(hidden_BLD), config.heads
    )
    query_BLHK, key_BLHK, value_BLHK = project('query'), project('key'), project('value')
    # A Python bool where the layers are unrolled, an array where they are scanned.
    is_global = layer % config.global_every == 0
    angles = _either(is_global, lambda: context.global_angles, lambda: context.local_angles)
    # Scaling the query instead of the scores touches L x K numbers, not L x L.
    query_BLHK = rotary.rotate(query_BLHK, *angles) * K**-0.5
    key_BLHK = rotary.rotate(key_BLHK, *angles)
    same_B1LL = attention.same_document(context.segments_BL)
    # The window's own weights have another shape, so those that are looked at are computed again
    # over whole rows: slow, and only where they are asked for.
    if self.is_mutable_collection(attention.DETAILS):
      near_11LL = sliding_window.near(hidden_BLD.shape[1], config.reach)[None, None]
      self.sow(
        attention.DETAILS,
        'weights_BHLL',
        attention.softmax(
          attention.scores(query_BLHK, key_BLHK), same_B1LL & (near_11LL | is_global), config.dtype
        ),
      )

    # The key is drawn out here, since a branch of a condition cannot ask the module for it.
    rate = config.attention_dropout
    key = self.make_rng('dropout') if layers.drops(rate, deterministic) else None
    drop = lambda weights: weights if key is None else layers.drop(weights, rate, key)

    def whole() -> jax.Array:
      weights_BHLL = attention.softmax(
        attention.scores(query_BLHK, key_BLHK), same_B1LL, config.dtype
      )
      return attention.weighted_sum(drop(weights_BHLL), value_BLHK)

    def window() -> jax.Array:
      return sliding_window.attend(
        query_BLHK, key_BLHK, value_BLHK, context.segments_BL, config.reach, drop
      )

    # Only one of the two is run: a local layer never makes L x L scores.
    mixed_BLD = _either(is_global, whole, window)
    out_BLD = layers.dense(config.width, config, 'out', use_bias=False)(mixed_BLD)
    return layers.Dropout(config.dropout)(out_BLD, deterministic)


def _either(condition: Any, yes: Callable[[], Any], no: Callable[[], Any]) -> Any:
  """Returns what one of two functions gives.

  Where the layers are unrolled, their numbers are Python ints, and the choice is made while
  tracing; where they are scanned, both are compiled and one is run.
  """
  if isinstance(condition, bool):
    return yes() if condition else no()
  return jax.lax.cond(condition, yes, no)


class GatedFeedForward(nn.Module):
  """GeGLU (arXiv:2002.05202): half of the inner layer, after a GELU, gates the other."""

  config: Architecture

  @nn.compact
  def __call__(self, hidden_BLD: jax.Array, deterministic: bool) -> jax.Array:
    config = self.config
    project = lambda width, name: layers.dense(width, config, name, use_bias=False)
    # Two products here, one of twice the width in the published code: the same numbers.
    inner_BLF = layers.ACTIVATIONS[config.activation](
      project(config.feed_forward, 'in')(hidden_BLD)
    )
    inner_BLF *= project(config.feed_forward, 'gate')(hidden_BLD)
    inner_BLF = layers.Dropout(config.mlp_dropout)(inner_BLF, deterministic)
    return project(config.width, 'out')(inner_BLF)


class Block(nn.Module):
  """Pre-norm attention, then feed-forward; each is added to its input."""

  config: Architecture

  @nn.compact
  def __call__(
    self, hidden_BLD: jax.Array, layer: Any, context: Context, deterministic: bool
  ) -> tuple[jax.Array, None]:
    """Returns (hidden_BLD, None)."""
    normal_BLD = layers.layer_norm(self.config, 'attention_norm', use_bias=False)(hidden_BLD)
    # The first layer's input was normalised by the embeddings. Its own norm exists all the same,
    # since the parameters of all layers are stacked, and is not used.
    normal_BLD = jnp.where(layer == 0, hidden_BLD, normal_BLD)
    hidden_BLD += Attention(self.config, name='attention')(
      normal_BLD, layer, context, deterministic
    )
    normal_BLD = layers.layer_norm(self.config, 'feed_forward_norm', use_bias=False)(hidden_BLD)
    hidden_BLD += GatedFeedForward(self.config, name='feed_forward')(normal_BLD, deterministic)
    self.sow(attention.DETAILS, 'hidden_BLD', hidden_BLD)
    return hidden_BLD, None


class Embeddings(nn.Module):
  """Token embeddings, normalised."""

  config: Architecture

  def setup(self) -> None:
    self.token = embeddings.table(self.config.padded_vocab_size, self.config)
    self.norm = layers.layer_norm(self.config, name=None, use_bias=False)
    self.drop = layers.Dropout(self.config.embedding_dropout)

  def __call__(
    self,
    tokens_BL: jax.Array,
    positions_BL: jax.Array,
    types_BL: jax.Array | None,
    deterministic: bool,
  ) -> jax.Array:
    """Returns hidden_BLD; only the tokens are used."""
    return self.drop(self.norm(self.token(tokens_BL).astype(self.config.dtype)), deterministic)


class ModernBert(encoder.Encoder):
  """An encoder of such blocks, with a norm behind the last one."""

  config: Architecture
  block = Block

  def setup(self) -> None:
    super().setup()
    self.final_norm = layers.layer_norm(self.config, None, use_bias=False)

  def make_embeddings(self) -> Embeddings:
    return Embeddings(self.config)

  def make_head(self) -> heads.MaskedHead:
    return heads.MaskedHead(self.config, use_bias=False)

  def context(
    self,
    hidden_BLD: jax.Array,
    segments_BL: jax.Array,
    positions_BL: jax.Array,
    deterministic: bool,
  ) -> Context:
    K = self.config.width // self.config.heads
    # Computed once for all layers: cosines of L x K / 2 angles, of either kind.
    return Context(
      segments_BL,
      rotary.angles(positions_BL, K, self.config.global_theta),
      rotary.angles(positions_BL, K, self.config.local_theta),
    )

  def finish(
    self,
    hidden_BLD: jax.Array,
    extras: Any,
    context: Context,
    positions_BL: jax.Array,
    deterministic: bool,
  ) -> tuple[jax.Array, jax.Array]:
    # Pre-norm blocks add to a stream that is never normalised; the head needs it to be.
    hidden_BLD = self.final_norm(hidden_BLD)
    return hidden_BLD, hidden_BLD
