"""What all encoders share: the stack of blocks, and the interface of every model.

The post-norm encoder with learned positions, which is BERT's, RoBERTa's and ELECTRA's, is
whole here; the other families replace its parts (see Encoder).
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlm_jax.core import trees
from mlm_jax.models import attention
from mlm_jax.models import embeddings
from mlm_jax.models import heads
from mlm_jax.models import layers
from mlm_jax.models.architecture import Architecture


@trees.dataclass
class Encoded:
  """What an encoder gives, in the compute dtype.

  Attributes:
    hidden_BLD: the last layer's output.
    decoded_BLD: what the masked head predicts from; `hidden_BLD`, unless the model has a
      decoder of its own.
    layers_NBLD: each layer's output, where details are asked for.
    attention_NBHLL: attention weights of each token (second to last axis), where details are
      asked for.
  """

  hidden_BLD: jax.Array
  decoded_BLD: jax.Array
  layers_NBLD: jax.Array | None = None
  attention_NBHLL: jax.Array | None = None
  embedded_BLD: jax.Array | None = None


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

  init: Callable[[jax.Array], dict[str, Any]]
  apply: Callable[..., Encoded]
  head: Callable[[dict[str, Any], jax.Array], jax.Array]
  architecture: Architecture


class PostNormBlock(nn.Module):
  """Attention, then feed-forward; each added to its input, then normalised."""

  config: Architecture

  @nn.compact
  def __call__(
    self, hidden_BLD: jax.Array, layer: Any, context: Any, deterministic: bool
  ) -> tuple[jax.Array, Any]:
    """Returns (hidden_BLD, None).

    Args:
      hidden_BLD: output of the layer before.
      layer: int or int32 scalar, the layer's number, counted from 0.
      context: what Encoder.context gave: bool_B1LL, which positions see each other.
      deterministic: whether nothing is dropped.
    """
    drop = layers.Dropout(self.config.dropout)
    mixed_BLD = attention.SelfAttention(self.config, name='attention')(
      hidden_BLD, context, deterministic
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


def stack(block: type[nn.Module], config: Architecture) -> Any:
  """Returns config.layers blocks in a row as one module; its parameters have a leading layer axis.

  Used to make the parameters; `run_stack` applies them.
  """
  return nn.scan(
    block,
    variable_axes={'params': 0},
    split_rngs={'params': True, 'dropout': True},
    # The layer's number differs from block to block; context and deterministic are the same.
    in_axes=(0, nn.broadcast, nn.broadcast),
    length=config.layers,
  )(config)


def run_stack(
  block: type[nn.Module],
  config: Architecture,
  stacked: dict[str, Any],
  hidden_BLD: jax.Array,
  context: Any,
  deterministic: bool,
  key: jax.Array | None,
  details: bool,
) -> tuple[jax.Array, tuple[Any, Any]]:
  """Returns (hidden_BLD, (extras of each block, its details), both with a leading layer axis).

  The layers are scanned or unrolled. Unrolled, their numbers are Python ints, and what depends
  on them is decided while tracing.

  Args:
    block: a module class, called as PostNormBlock is.
    config: of the encoder.
    stacked: the blocks' parameters, as `stack` makes them.
    hidden_BLD, context, deterministic: what the first block is given.
    key: of the dropout; None where nothing is dropped.
    details: whether the blocks leave what they computed.
  """
  # A module by itself (parent=None), applied to parameters that are stacked in either case: a
  # checkpoint fits both ways of running the layers.
  module, N = block(config, parent=None), config.layers
  keys_N = None if deterministic or key is None else jax.random.split(key, N)

  def body(
    layer: Any, hidden_BLD: jax.Array, params: dict[str, Any], key: jax.Array | None
  ) -> tuple[jax.Array, tuple[Any, Any]]:
    (hidden_BLD, extra), kept = module.apply(
      {'params': params},
      hidden_BLD,
      layer,
      context,
      deterministic,
      rngs={} if key is None else {'dropout': key},
      mutable=[attention.DETAILS] if details else [],
    )
    return hidden_BLD, (extra, kept)

  if config.scan_layers:
    # XLA cannot merge the recomputation with the forward pass across a scan, so the barrier
    # against that, which costs time, is not needed here.
    step = jax.checkpoint(body, prevent_cse=False) if config.remat else body
    return jax.lax.scan(
      lambda hidden_BLD, x: step(x[0], hidden_BLD, *x[1:]),
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

  A family replaces the parts that differ: `block`, `make_embeddings`, `make_head`, `context` (what
  the blocks need to know of the rows), `finish` (what comes after the last block).
  """

  config: Architecture
  head_kind: Any = None  # class of another head than the family's own
  block = PostNormBlock

  def setup(self) -> None:
    self.embeddings = self.make_embeddings()
    if self.config.embedding_width != self.config.width:
      # Narrow tables save parameters; the sum is widened once, before the first block (ELECTRA).
      self.project = layers.dense(self.config.width, self.config)
    self.layers = stack(self.block, self.config)
    # A discriminator is the same encoder with another head, so this is its only difference.
    self.head = self.head_kind(self.config) if self.head_kind else self.make_head()

  def make_embeddings(self) -> Any:
    """Returns the module of the input embeddings; its `token` is the table that the head uses."""
    return embeddings.Embeddings(self.config)

  def make_head(self) -> nn.Module:
    """Returns the module of the masked-language-model head."""
    return heads.MaskedHead(self.config)

  def context(
    self,
    hidden_BLD: jax.Array,
    segments_BL: jax.Array,
    positions_BL: jax.Array,
    deterministic: bool,
  ) -> Any:
    """Returns a pytree that every block is given; computed once for all of them.

    hidden_BLD is what the first block is given.
    """
    return attention.same_document(segments_BL)

  def encode(
    self,
    tokens_BL: jax.Array,
    segments_BL: jax.Array,
    positions_BL: jax.Array,
    types_BL: jax.Array | None,
    deterministic: bool,
  ) -> tuple[jax.Array, jax.Array]:
    """Returns (hidden_BLD, decoded_BLD)."""
    # The loader gives uint16 where the vocabulary allows; lookups want int32.
    hidden_BLD = self.embeddings(tokens_BL.astype(jnp.int32), positions_BL, types_BL, deterministic)
    if self.config.embedding_width != self.config.width:
      hidden_BLD = self.project(hidden_BLD)
    self.sow(attention.DETAILS, 'embedded_BLD', hidden_BLD)
    context = self.context(hidden_BLD, segments_BL, positions_BL, deterministic)
    hidden_BLD, extras = self.run_layers(hidden_BLD, context, deterministic)
    return self.finish(hidden_BLD, extras, context, positions_BL, deterministic)

  def run_layers(
    self, hidden_BLD: jax.Array, context: Any, deterministic: bool
  ) -> tuple[jax.Array, Any]:
    """Returns (hidden_BLD, extras of each block, with a leading layer axis)."""
    if self.is_initializing():  # this makes the parameters
      return self.layers(hidden_BLD, jnp.arange(self.config.layers), context, deterministic)
    details = self.is_mutable_collection(attention.DETAILS)
    key = None if deterministic else self.make_rng('dropout')
    # The stack's parameters are read here and applied by run_stack, not by Flax.
    hidden_BLD, (extras, kept) = run_stack(
      self.block,
      self.config,
      self.layers.variables['params'],
      hidden_BLD,
      context,
      deterministic,
      key,
      details,
    )
    if details:
      self.sow(attention.DETAILS, 'of_layers', kept[attention.DETAILS])
    return hidden_BLD, extras

  def finish(
    self,
    hidden_BLD: jax.Array,
    extras: Any,
    context: Any,
    positions_BL: jax.Array,
    deterministic: bool,
  ) -> tuple[jax.Array, jax.Array]:
    """Returns (hidden_BLD, decoded_BLD) from the last block's output and the extras of all."""
    return hidden_BLD, hidden_BLD

  def predict(self, hidden_PD: jax.Array) -> jax.Array:
    """Returns the head's logits; see Model.head."""
    return self.head(hidden_PD, self.embeddings.token.embedding)

  def __call__(self, tokens_BL: jax.Array) -> jax.Array:
    """Touches every part once, so that `init` makes all parameters."""
    ones_BL = jnp.ones_like(tokens_BL)
    _, decoded_BLD = self.encode(tokens_BL, ones_BL, ones_BL, None, True)
    return self.predict(decoded_BLD[:, 0])


@functools.cache  # equal models are one, so what is compiled for one serves another
def make(module: Encoder) -> Model:
  """Returns the Model of an Encoder."""

  @jax.jit  # traced once, whoever asks for parameters or their shapes again
  def init(key: jax.Array) -> Any:
    return module.init({'params': key}, jnp.zeros((1, 1), jnp.int32))['params']

  def apply(
    params: dict[str, Any],
    tokens_BL: jax.Array,
    segments_BL: jax.Array,
    positions_BL: jax.Array,
    types_BL: jax.Array | None = None,
    dropout_key: jax.Array | None = None,
    details: bool = False,
  ) -> Encoded:
    (hidden_BLD, decoded_BLD), kept = module.apply(
      {'params': params},
      tokens_BL,
      segments_BL,
      positions_BL,
      types_BL,
      dropout_key is None,
      rngs=None if dropout_key is None else {'dropout': dropout_key},
      method='encode',
      mutable=[attention.DETAILS] if details else [],
    )
    if not details:
      return Encoded(hidden_BLD, decoded_BLD)
    # Flax keeps a tuple of all that was sown under a name; each is sown once.
    (of_layers,) = kept[attention.DETAILS]['of_layers']
    (layers_NBLD,) = of_layers['hidden_BLD']
    (attention_NBHLL,) = of_layers['attention']['weights_BHLL']
    (embedded_BLD,) = kept[attention.DETAILS]['embedded_BLD']
    return Encoded(hidden_BLD, decoded_BLD, layers_NBLD, attention_NBHLL, embedded_BLD)

  def head(params: dict[str, Any], hidden_PD: jax.Array) -> jax.Array:
    logits: Any = module.apply({'params': params}, hidden_PD, method='predict')
    return logits

  # Jitted by whoever calls them, as part of a larger program.
  return Model(init, apply, head, module.config)
