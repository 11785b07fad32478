"""The encoder that BERT and RoBERTa share, and the face of every model."""

import dataclasses
import functools
from typing import Any, Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlm_jax.models import attention
from mlm_jax.models import embeddings
from mlm_jax.models import heads
from mlm_jax.models import layers


@dataclasses.dataclass(frozen=True)
class Architecture:
  """The numbers of an encoder; `make` of a family fills them in."""
  vocab_size: int
  max_positions: int
  position_offset: int
  types: int          # 0: the family has none
  layers: int
  width: int
  heads: int
  feed_forward: int
  norm_epsilon: float
  init_std: float
  dropout: float
  dtype: Any          # of the computation; parameters are float32
  scan_layers: bool
  remat: bool

  @property
  def padded_vocab_size(self):
    return -(-self.vocab_size // 128) * 128


_DETAILS = 'intermediates'   # the collection in which a module leaves what is asked for


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Encoded:
  """What an encoder gives, in the compute dtype.

  Attributes:
    hidden_BLD: the last layer's output.
    layers_NBLD: each layer's output, where details are asked for.
    attention_NBHLL: what each token (second to last axis) attends to, where they are asked for.
  """
  hidden_BLD: jax.Array
  layers_NBLD: jax.Array | None = None
  attention_NBHLL: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class Model:
  """A model as pure functions.

  Attributes:
    init: (key) -> params, nested dict of float32 arrays.
    apply: (params, tokens_BL, segments_BL, positions_BL, types_BL=None,
      dropout_key=None, details=False) -> Encoded. Tokens attend only inside their own
      segment; without a dropout_key nothing is dropped.
    head: (params, hidden_PD) -> float32 logits_PV, V padded to a multiple of
      128, -inf where there is no token.
    architecture: its numbers.
  """
  init: Callable
  apply: Callable
  head: Callable
  architecture: Architecture


class PostNormBlock(nn.Module):
  """Attention, then feed-forward; each added to its input, then normalised."""
  config: Architecture

  @nn.compact
  def __call__(self, hidden_BLD, visible_B1LL, deterministic):
    drop = layers.Dropout(self.config.dropout)
    mixed_BLD = attention.SelfAttention(self.config, name='attention')(
        hidden_BLD, visible_B1LL, deterministic)
    hidden_BLD = layers.layer_norm(self.config, 'attention_norm')(
        hidden_BLD + drop(mixed_BLD, deterministic))
    inner_BLD = layers.FeedForward(self.config, name='feed_forward')(hidden_BLD)
    hidden_BLD = layers.layer_norm(self.config, 'feed_forward_norm')(
        hidden_BLD + drop(inner_BLD, deterministic))
    self.sow(_DETAILS, 'hidden_BLD', hidden_BLD)
    return hidden_BLD, None


def stack(block, config):
  """Returns config.layers blocks in a row as one module.

  Parameters are stacked along a leading layer axis whether the layers are
  scanned or unrolled, so a checkpoint serves both.
  """
  if config.remat:
    block = nn.remat(block, prevent_cse=False, static_argnums=(3,))
  return nn.scan(
      block, variable_axes={'params': 0, _DETAILS: 0}, split_rngs={'params': True, 'dropout': True},
      in_axes=(nn.broadcast, nn.broadcast), length=config.layers,
      unroll=1 if config.scan_layers else config.layers)(config)


class MaskedLanguageModel(nn.Module):
  """Embeddings, a stack of blocks, and the tied head."""
  config: Architecture
  block: Any = PostNormBlock

  def setup(self):
    self.embeddings = embeddings.Embeddings(self.config)
    self.layers = stack(self.block, self.config)
    self.head = heads.MaskedHead(self.config)

  def encode(self, tokens_BL, segments_BL, positions_BL, types_BL, deterministic):
    hidden_BLD = self.embeddings(tokens_BL.astype(jnp.int32), positions_BL, types_BL, deterministic)
    visible_B1LL = attention.same_document(segments_BL)
    hidden_BLD, _ = self.layers(hidden_BLD, visible_B1LL, deterministic)
    return hidden_BLD

  def predict(self, hidden_PD):
    return self.head(hidden_PD, self.embeddings.token.embedding)

  def __call__(self, tokens_BL):
    ones_BL = jnp.ones_like(tokens_BL)
    hidden_BLD = self.encode(tokens_BL, ones_BL, ones_BL, None, True)
    return self.predict(hidden_BLD[:, 0])


@functools.cache   # equal models are one, so what is compiled for one serves another
def make(architecture):
  """Returns the Model of a post-norm encoder with learned positions."""
  module = MaskedLanguageModel(architecture)

  def init(key):
    return module.init({'params': key}, jnp.zeros((1, 1), jnp.int32))['params']

  def apply(params, tokens_BL, segments_BL, positions_BL, types_BL=None, dropout_key=None, details=False):
    rngs = None if dropout_key is None else {'dropout': dropout_key}
    hidden_BLD, kept = module.apply(
        {'params': params}, tokens_BL, segments_BL, positions_BL, types_BL, dropout_key is None,
        rngs=rngs, method='encode', mutable=[_DETAILS] if details else [])
    if not details:
      return Encoded(hidden_BLD)
    of_layers = kept[_DETAILS]['layers']
    return Encoded(hidden_BLD, of_layers['hidden_BLD'][0], of_layers['attention']['weights_BHLL'][0])

  def head(params, hidden_PD):
    return module.apply({'params': params}, hidden_PD, method='predict')

  return Model(init, apply, head, architecture)
