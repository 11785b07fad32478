"""What all encoders share: their numbers, the stack of blocks, and the face of every model.

The post-norm encoder with learned positions, which is BERT's, RoBERTa's and ELECTRA's, is
whole here; the other families replace its parts (see Encoder).
"""

import dataclasses
import functools
from typing import Any
from typing import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlm_jax.models import attention
from mlm_jax.models import embeddings
from mlm_jax.models import heads
from mlm_jax.models import layers


@dataclasses.dataclass(frozen=True)
class Architecture:
  """The numbers of an encoder; `make` of a family fills them in, and adds its own in a subclass."""

  vocab_size: int
  max_positions: int
  position_offset: int
  types: int  # 0: the family has none
  embedding_width: int
  layers: int
  width: int
  heads: int
  feed_forward: int
  norm_epsilon: float
  init_std: float
  dropout: float
  dtype: Any  # of the computation; parameters are float32
  scan_layers: bool
  remat: bool

  @property
  def padded_vocab_size(self):
    return -(-self.vocab_size // 128) * 128

  def pairs(self, positions):
    """Returns how many pairs a token adds, on average over the layers, to those that see each
    other.

    Args:
      positions: array, the token's, counted from 0 inside its document. 1 + 3 + 5 + ... is the
        square of a document's length.
    """
    return 2 * positions + 1

  def flops(self, tokens, attended, predicted):
    """Returns the FLOPs of one forward pass; see models/flops.py."""
    width, embedding = self.width, self.embedding_width
    linear = (
      8 * width**2 + 4 * width * self.feed_forward
    )  # a token: query, key, value, out; in, out
    attention = 4 * width  # a pair: its score, its value's share
    project = 2 * embedding * width if embedding != width else 0
    head = 2 * width * embedding + 2 * embedding * self.vocab_size
    return (
      self.layers * (tokens * linear + attended * attention) + tokens * project + predicted * head
    )


def architecture(config, vocab_size, kind=Architecture, **own):
  """Returns the Architecture that a config (the group `model`, resolved) and a family's own numbers
  describe.
  """
  common = {field.name: config[field.name] for field in dataclasses.fields(Architecture)}
  common |= {'vocab_size': vocab_size, 'embedding_width': config.embedding_width or config.width}
  return kind(**common, **own)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Encoded:
  """What an encoder gives, in the compute dtype.

  Attributes:
    hidden_BLD: the last layer's output.
    decoded_BLD: what the masked head predicts from; `hidden_BLD`, but where the model has a
      decoder of its own.
    layers_NBLD: each layer's output, where details are asked for.
    attention_NBHLL: what each token (second to last axis) attends to, where they are asked for.
  """

  hidden_BLD: jax.Array
  decoded_BLD: jax.Array
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
      128, -inf where there is no token; of a discriminator logits_P.
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
  def __call__(self, hidden_BLD, layer, view, deterministic):
    """Returns (hidden_BLD, None).

    Args:
      hidden_BLD: what the layer before gave.
      layer: int32, the layer's number, counted from 0.
      view: what Encoder.view gave: bool_B1LL, which positions see each other.
      deterministic: whether nothing is dropped.
    """
    drop = layers.Dropout(self.config.dropout)
    mixed_BLD = attention.SelfAttention(self.config, name='attention')(
      hidden_BLD, view, deterministic
    )
    hidden_BLD = layers.layer_norm(self.config, 'attention_norm')(
      hidden_BLD + drop(mixed_BLD, deterministic)
    )
    inner_BLD = layers.FeedForward(self.config, name='feed_forward')(hidden_BLD)
    hidden_BLD = layers.layer_norm(self.config, 'feed_forward_norm')(
      hidden_BLD + drop(inner_BLD, deterministic)
    )
    self.sow(attention.DETAILS, 'hidden_BLD', hidden_BLD)
    return hidden_BLD, None


def stack(block, config):
  """Returns config.layers blocks in a row as one module, whose parameters have a leading axis of
  layers.
  """
  return nn.scan(
    block,
    variable_axes={'params': 0},
    split_rngs={'params': True, 'dropout': True},
    in_axes=(0, nn.broadcast, nn.broadcast),
    length=config.layers,
  )(config)


def run_stack(block, config, stacked, hidden_BLD, view, deterministic, key, details):
  """Returns (hidden_BLD, (what each block gave besides, its details), both with a leading axis of
  layers).

  The layers are scanned or unrolled: then their numbers are no arrays, and what hangs on
  them is decided while tracing.

  Args:
    block: a module class, called as PostNormBlock is.
    config: Architecture.
    stacked: the blocks' parameters, as `stack` makes them.
    hidden_BLD, view, deterministic: what the first block is given.
    key: of the dropout; None where nothing is dropped.
    details: whether the blocks leave what they computed.
  """
  module, N = block(config, parent=None), config.layers
  keys_N = None if deterministic else jax.random.split(key, N)

  def body(layer, hidden_BLD, params, key):
    rngs = {} if key is None else {'dropout': key}
    (hidden_BLD, besides), kept = module.apply(
      {'params': params},
      hidden_BLD,
      layer,
      view,
      deterministic,
      rngs=rngs,
      mutable=[attention.DETAILS] if details else [],
    )
    return hidden_BLD, (besides, kept)

  if config.scan_layers:
    if config.remat:
      body = jax.checkpoint(body, prevent_cse=False)
    return jax.lax.scan(
      lambda hidden_BLD, x: body(x[0], hidden_BLD, *x[1:]),
      hidden_BLD,
      (jnp.arange(N), stacked, keys_N),
    )
  # The gradient of a split is one concatenation; that of N slices would be N sums of whole stacks.
  parts = jax.tree.map(lambda x: [part[0] for part in jax.lax.split(x, (1,) * N)], stacked)
  outputs = []
  for layer in range(N):
    params = jax.tree.map(lambda x, part: part[layer], stacked, parts)
    step = functools.partial(body, layer)
    step = jax.checkpoint(step) if config.remat else step
    hidden_BLD, output = step(hidden_BLD, params, None if keys_N is None else keys_N[layer])
    outputs.append(output)
  return hidden_BLD, jax.tree.map(lambda *each: jnp.stack(each), *outputs)


class Encoder(nn.Module):
  """Embeddings, a stack of blocks, and the tied head.

  A family replaces the parts that differ: `block`, `make_embeddings`, `make_head`, `view` (what
  the blocks need to know of the rows), `finish` (what comes after the last block).
  """

  config: Architecture
  head_kind: Any = None  # class of another head than the family's own
  block = PostNormBlock

  def setup(self):
    self.embeddings = self.make_embeddings()
    if self.config.embedding_width != self.config.width:
      self.project = layers.dense(self.config.width, self.config)
    self.layers = stack(self.block, self.config)
    self.head = self.head_kind(self.config) if self.head_kind else self.make_head()

  def make_embeddings(self):
    return embeddings.Embeddings(self.config)

  def make_head(self):
    return heads.MaskedHead(self.config)

  def view(self, hidden_BLD, segments_BL, positions_BL, deterministic):
    """Returns a pytree that every block is given; computed once for all of them.

    hidden_BLD is what the first block is given.
    """
    return attention.same_document(segments_BL)

  def encode(self, tokens_BL, segments_BL, positions_BL, types_BL, deterministic):
    """Returns (hidden_BLD, decoded_BLD)."""
    hidden_BLD = self.embeddings(tokens_BL.astype(jnp.int32), positions_BL, types_BL, deterministic)
    if self.config.embedding_width != self.config.width:
      hidden_BLD = self.project(hidden_BLD)
    view = self.view(hidden_BLD, segments_BL, positions_BL, deterministic)
    hidden_BLD, besides = self.run_layers(hidden_BLD, view, deterministic)
    return self.finish(hidden_BLD, besides, view, positions_BL, deterministic)

  def run_layers(self, hidden_BLD, view, deterministic):
    """Returns (hidden_BLD, what each block gave besides)."""
    if self.is_initializing():  # this makes the parameters
      return self.layers(hidden_BLD, jnp.arange(self.config.layers), view, deterministic)
    details = self.is_mutable_collection(attention.DETAILS)
    key = None if deterministic else self.make_rng('dropout')
    hidden_BLD, (besides, kept) = run_stack(
      self.block,
      self.config,
      self.layers.variables['params'],
      hidden_BLD,
      view,
      deterministic,
      key,
      details,
    )
    if details:
      self.sow(attention.DETAILS, 'of_layers', kept[attention.DETAILS])
    return hidden_BLD, besides

  def finish(self, hidden_BLD, besides, view, positions_BL, deterministic):
    """Returns (hidden_BLD, decoded_BLD) from what the last block gave, and each block besides."""
    return hidden_BLD, hidden_BLD

  def predict(self, hidden_PD):
    return self.head(hidden_PD, self.embeddings.token.embedding)

  def __call__(self, tokens_BL):
    ones_BL = jnp.ones_like(tokens_BL)
    _, decoded_BLD = self.encode(tokens_BL, ones_BL, ones_BL, None, True)
    return self.predict(decoded_BLD[:, 0])


@functools.cache  # equal models are one, so what is compiled for one serves another
def make(module):
  """Returns the Model of an Encoder."""

  @jax.jit  # traced once, whoever asks for parameters or their shapes again
  def init(key):
    return module.init({'params': key}, jnp.zeros((1, 1), jnp.int32))['params']

  def apply(
    params, tokens_BL, segments_BL, positions_BL, types_BL=None, dropout_key=None, details=False
  ):
    rngs = None if dropout_key is None else {'dropout': dropout_key}
    outputs, kept = module.apply(
      {'params': params},
      tokens_BL,
      segments_BL,
      positions_BL,
      types_BL,
      dropout_key is None,
      rngs=rngs,
      method='encode',
      mutable=[attention.DETAILS] if details else [],
    )
    if not details:
      return Encoded(*outputs)
    (of_layers,) = kept[attention.DETAILS]['of_layers']
    return Encoded(*outputs, of_layers['hidden_BLD'][0], of_layers['attention']['weights_BHLL'][0])

  def head(params, hidden_PD):
    return module.apply({'params': params}, hidden_PD, method='predict')

  return Model(init, apply, head, module.config)
