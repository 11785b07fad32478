"""DeBERTa (arXiv:2006.03654): attention by content and by relative position, kept apart.

The first version's: a table row for each distance, and separate projections for relative
positions, one of them without a bias. What the later versions change is in deberta_v2.py
and deberta_v3.py.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlm_jax import config as config_lib
from mlm_jax.core import trees
from mlm_jax.models import architecture
from mlm_jax.models import attention
from mlm_jax.models import disentangled
from mlm_jax.models import embeddings
from mlm_jax.models import encoder
from mlm_jax.models import layers

SIZES = {
  'base': dict(layers=12, width=768, heads=12, feed_forward=3072),
  'large': dict(layers=24, width=1024, heads=16, feed_forward=4096),
  'xlarge': dict(layers=48, width=1024, heads=16, feed_forward=4096),
}
DEFAULTS: dict[str, Any] = {
  'types': 0,
  'position_offset': 0,
  'norm_epsilon': 1e-7,
  'deberta.buckets': 0,
  'deberta.projections': 'own',
  'deberta.relative_norm': 'none',
  'deberta.convolution': 0,
}
GROUP = 'deberta'
SEQUENCE_HEAD = dict(activation='gelu')
TOKEN_HEAD = 'plain'
PAIR_SEPS = 1


@dataclasses.dataclass(frozen=True)
class Architecture(architecture.Architecture):
  """An encoder's numbers, and those of its relative positions.

  Attributes:
    span: half the rows of the table of relative positions.
    buckets: (number, farthest distance) of its logarithmic rows, or None.
    shared_projections: whether relative positions are projected as contents are.
    relative_norm: whether the table is normalised.
    convolution: tokens of the kernel beside the first layer, 0 for none.
    convolution_act: its activation, of layers.ACTIVATIONS.
  """

  span: int
  buckets: tuple[int, int] | None
  shared_projections: bool
  relative_norm: bool
  convolution: int
  convolution_act: str

  def flops(self, tokens: Any, attended: Any, predicted: Any) -> Any:
    """Returns the FLOPs of one forward pass: two more products a pair than others have.

    The projected table of relative positions serves all rows and is not counted.
    """
    # Scores of contents with positions and of positions with contents, 2 x D each.
    of_positions = self.layers * attended * 4 * self.width
    of_convolution = tokens * 2 * self.convolution * self.width**2
    return super().flops(tokens, attended, predicted) + of_positions + of_convolution


def make_architecture(config: Any, vocab_size: int) -> Architecture:
  """Returns the Architecture of a resolved group `model`.

  Raises:
    UserError: more buckets than distances.
  """
  # Without buckets every distance has a row of its own, and farther ones share the last.
  own = config.deberta
  farthest = own.span or config.max_positions
  if own.buckets and not 4 <= own.buckets <= 2 * farthest - 4:
    raise config_lib.UserError(
      f'config.model.deberta.buckets = {own.buckets}: must be 0, or from 4 to '
      f'{2 * farthest - 4} where distances reach to {farthest}'
    )
  return architecture.make(
    config,
    vocab_size,
    Architecture,
    span=own.buckets or farthest,
    buckets=(own.buckets, farthest) if own.buckets else None,
    shared_projections=own.projections == 'shared',
    relative_norm=own.relative_norm == 'layer_norm',
    convolution=own.convolution,
    convolution_act=own.convolution_act,
  )


def module(config: Any, vocab_size: int) -> 'Deberta':
  """Returns the Encoder; config is the resolved group `model`."""
  kind = {'plain': Deberta, 'enhanced': EnhancedDeberta}[config.deberta.decoder]
  return kind(make_architecture(config, vocab_size))


@trees.dataclass
class Context:
  """What every block is given.

  Attributes:
    visible_B1LL: bool, which positions see each other.
    relative_SD: the table of relative positions.
    convolved: (convolved_BLD, scale_D, bias_D): the output of the convolution beside the first
      layer, and the parameters of the norm behind it; None without a convolution.
  """

  visible_B1LL: jax.Array
  relative_SD: jax.Array
  convolved: tuple[jax.Array, jax.Array, jax.Array] | None


class DisentangledAttention(nn.Module):
  """Attention whose scores are content to content, content to position and position to content.

  Source: arXiv:2006.03654, equation 4. The projections of contents and positions are in `setup`,
  so that the later versions replace nothing else.
  """

  config: Architecture

  def setup(self) -> None:
    project = lambda **settings: layers.dense(self.config.width, self.config, **settings)
    # As published: keys have no bias, and neither have the keys of positions.
    self.query, self.key, self.value = project(), project(use_bias=False), project()
    self.position_key, self.position_query = project(use_bias=False), project()

  def project_positions(self, relative_SD: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns (keys, queries) of the relative positions, both [S, D]."""
    return self.position_key(relative_SD), self.position_query(relative_SD)

  @nn.compact
  def __call__(
    self,
    query_input_BLD: jax.Array,
    hidden_BLD: jax.Array,
    context: Context,
    deterministic: bool,
  ) -> jax.Array:
    """Returns [B, L, D].

    Args:
      query_input_BLD: what the queries are made of.
      hidden_BLD: what keys and values are made of.
      context: of the encoder.
      deterministic: whether nothing is dropped.
    """
    config = self.config
    # Each layer drops other elements of the table that all layers share.
    relative_SD = layers.Dropout(config.dropout)(context.relative_SD, deterministic)
    query_BLHK, key_BLHK, value_BLHK, position_key_SHK, position_query_SHK = (
      attention.split_heads(x, config.heads)
      for x in (
        self.query(query_input_BLD),
        self.key(hidden_BLD),
        self.value(hidden_BLD),
        *self.project_positions(relative_SD),
      )
    )
    # The sum of three scores has three times the variance of one.
    scale = (3 * config.width // config.heads) ** -0.5
    query_BLHK, position_query_SHK = query_BLHK * scale, position_query_SHK * scale
    row_of = functools.partial(
      disentangled.row_of_distance, span=config.span, buckets=config.buckets
    )
    # The second term has a row a query. The third has a row a key, hence the swapped axes, and
    # reads distances from the key's side, hence the other sign.
    scores_BHLL = attention.scores(query_BLHK, key_BLHK)
    scores_BHLL += disentangled.scores(query_BLHK, position_key_SHK, row_of, sign=1)
    scores_BHLL += disentangled.scores(key_BLHK, position_query_SHK, row_of, sign=-1).swapaxes(2, 3)
    mixed_BLD = attention.attend(
      self, config.attention_dropout, scores_BHLL, context.visible_B1LL, value_BLHK, deterministic
    )
    return layers.dense(config.width, config, 'out')(mixed_BLD)


class Block(nn.Module):
  """Attention, then feed-forward; each added to its input, then normalised.

  Where there is a convolution of the embeddings, it is added to the first block's output.
  """

  config: Architecture
  attention = DisentangledAttention

  @nn.compact
  def __call__(
    self,
    hidden_BLD: jax.Array,
    layer: Any,
    context: Context,
    deterministic: bool,
    query_input_BLD: jax.Array | None = None,
  ) -> tuple[jax.Array, jax.Array]:
    """Returns (hidden_BLD, its input); queries come from query_input_BLD where it is given."""
    config, drop = self.config, layers.Dropout(self.config.dropout)
    query_input_BLD = hidden_BLD if query_input_BLD is None else query_input_BLD
    # A class attribute: the second version replaces it by other projections.
    mixed_BLD = self.attention(config, name='attention')(
      query_input_BLD, hidden_BLD, context, deterministic
    )
    # The residual is the queries' input: in the decoder, that is the stream being refined.
    after_BLD = layers.layer_norm(config, 'attention_norm')(
      query_input_BLD + drop(mixed_BLD, deterministic)
    )
    inner_BLD = layers.FeedForward(config, name='feed_forward')(after_BLD)
    after_BLD = layers.layer_norm(config, 'feed_forward_norm')(
      after_BLD + drop(inner_BLD, deterministic)
    )
    if context.convolved:
      # Computed by every block and kept by the first: the blocks must be one program where they
      # are scanned. Unrolled, XLA removes it from the others.
      convolved_BLD, scale_D, bias_D = context.convolved
      joined_BLD = layers.normalise(after_BLD + convolved_BLD, scale_D, bias_D, config)
      after_BLD = jnp.where(layer == 0, joined_BLD, after_BLD)
    self.sow(attention.DETAILS, 'hidden_BLD', after_BLD)
    return after_BLD, hidden_BLD


class Embeddings(nn.Module):
  """Token embeddings, without positions, and type embeddings where there are types; normalised."""

  config: Architecture

  def setup(self) -> None:
    self.token = embeddings.table(self.config.padded_vocab_size, self.config)
    if self.config.types:
      self.type = embeddings.table(self.config.types, self.config)
    self.norm = layers.layer_norm(self.config, name=None)
    self.drop = layers.Dropout(self.config.dropout)

  def __call__(
    self,
    tokens_BL: jax.Array,
    positions_BL: jax.Array,
    types_BL: jax.Array | None,
    deterministic: bool,
  ) -> jax.Array:
    """Returns hidden_BLD; positions_BL is not used."""
    hidden_BLD = self.token(tokens_BL)
    if self.config.types:
      # All of one type where the data has no pairs.
      hidden_BLD += self.type(jnp.zeros_like(tokens_BL) if types_BL is None else types_BL)
    return self.drop(self.norm(hidden_BLD.astype(self.config.dtype)), deterministic)


class RelativePositions(nn.Module):
  """The table of relative positions that all layers share."""

  config: Architecture

  @nn.compact
  def __call__(self) -> jax.Array:
    """Returns table_SD, S = 2 x span."""
    config = self.config
    init = nn.initializers.truncated_normal(config.init_std)
    # Row 0 is that of keys farthest to the right of a query, the last row of those to the left.
    table_SD = self.param('embedding', init, (2 * config.span, config.width), jnp.float32).astype(
      config.dtype
    )
    return layers.layer_norm(config)(table_SD) if config.relative_norm else table_SD


class Deberta(encoder.Encoder):
  """An encoder whose blocks know relative positions only."""

  config: Architecture
  block: Any = Block

  def setup(self) -> None:
    super().setup()
    self.relative = RelativePositions(self.config)

  def make_embeddings(self) -> Embeddings:
    return Embeddings(self.config)

  def context(
    self,
    hidden_BLD: jax.Array,
    segments_BL: jax.Array,
    positions_BL: jax.Array,
    deterministic: bool,
  ) -> Context:
    return Context(attention.same_document(segments_BL), self.relative(), None)


class EnhancedDeberta(Deberta):
  """With the enhanced mask decoder: absolute positions enter before the head.

  The last block runs twice over its own input (arXiv:2006.03654, section 3.2). Its queries come
  first from that input with the positions added, and then from its own output. Only the masked
  head reads the result; fine-tuning works without it.
  """

  def setup(self) -> None:
    super().setup()
    # Absolute positions: these belong to the decoder and no block before it sees them.
    self.position = embeddings.table(self.config.max_positions, self.config)

  def finish(
    self,
    hidden_BLD: jax.Array,
    extras: jax.Array,
    context: Context,
    positions_BL: jax.Array,
    deterministic: bool,
  ) -> tuple[jax.Array, jax.Array]:
    before_BLD = extras[-1]  # the input of the last block
    query_input_BLD = before_BLD + self.position(positions_BL).astype(before_BLD.dtype)
    if self.is_initializing():  # the blocks have no parameters yet
      return hidden_BLD, hidden_BLD
    # The last block with its own parameters, once more outside of the stack: it has no others.
    block, last = self.block(self.config, parent=None), self.config.layers - 1
    variables = {'params': jax.tree.map(lambda x: x[last], self.layers.variables['params'])}
    # Keys and values are the same both times; only the queries have moved on.
    for _ in range(2):
      rngs = {} if deterministic else {'dropout': self.make_rng('dropout')}
      query_input_BLD, _ = block.apply(
        variables, before_BLD, last, context, deterministic, query_input_BLD, rngs=rngs
      )
    return hidden_BLD, query_input_BLD
