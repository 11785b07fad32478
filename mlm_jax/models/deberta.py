"""DeBERTa (arXiv:2006.03654): attention by content and by relative position, kept apart.

The first version's: a table row for each distance, and projections of its own for relative
positions, one of them without a bias. What the later versions change stands in deberta_v2.py
and deberta_v3.py.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlm_jax import config as config_lib
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
OWN = {
  'types': 0,
  'position_offset': 0,
  'norm_epsilon': 1e-7,
  'deberta.buckets': 0,
  'deberta.projections': 'own',
  'deberta.relative_norm': 'none',
  'deberta.convolution': 0,
}


@dataclasses.dataclass(frozen=True)
class Architecture(encoder.Architecture):
  """An encoder's numbers, and those of its relative positions.

  Attributes:
    span: half the rows of the table of relative positions.
    buckets: (number, farthest distance) of its logarithmic rows, or None.
    shared_projections: whether relative positions are projected as contents are.
    relative_norm: whether the table is normalised.
    convolution, convolution_act: tokens of the kernel beside the first layer, 0 for none, and
      the function behind it.
  """

  span: int
  buckets: tuple | None
  shared_projections: bool
  relative_norm: bool
  convolution: int
  convolution_act: str

  def flops(self, tokens, attended, predicted):
    """Two more products a pair than others; the projected table serves all rows and is not
    counted.
    """
    of_positions = self.layers * attended * 4 * self.width
    of_convolution = tokens * 2 * self.convolution * self.width**2
    return super().flops(tokens, attended, predicted) + of_positions + of_convolution


def architecture(config, vocab_size):
  """Returns the Architecture of a resolved group `model`."""
  own = config.deberta
  farthest = own.span or config.max_positions
  if own.buckets and not 4 <= own.buckets <= 2 * farthest - 4:
    raise config_lib.UserError(
      f'config.model.deberta.buckets = {own.buckets}: must be 0, or from 4 to '
      f'{2 * farthest - 4} where distances reach to {farthest}'
    )
  return encoder.architecture(
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


def module(config, vocab_size):
  """Returns the Encoder; config is the resolved group `model`."""
  kind = {'plain': Deberta, 'enhanced': EnhancedDeberta}[config.deberta.decoder]
  return kind(architecture(config, vocab_size))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class View:
  """What every block is given.

  Attributes:
    visible_B1LL: bool, which positions see each other.
    relative_SD: the table of relative positions.
    convolved: (what the convolution beside the first layer gave, scale and bias of the norm
      behind it), or None.
  """

  visible_B1LL: jax.Array
  relative_SD: jax.Array
  convolved: Any


class DisentangledAttention(nn.Module):
  """Attention whose scores are content to content, content to position and position to content.

  Source: arXiv:2006.03654, equation 4. What projects contents and positions stands in `setup`.
  """

  config: object

  def setup(self):
    project = lambda **settings: layers.dense(self.config.width, self.config, **settings)
    self.query, self.key, self.value = project(), project(use_bias=False), project()
    self.position_key, self.position_query = project(use_bias=False), project()

  def of_positions(self, relative_SD):
    """Returns [S, D] twice: keys and queries of the relative positions."""
    return self.position_key(relative_SD), self.position_query(relative_SD)

  @nn.compact
  def __call__(self, asking_BLD, hidden_BLD, view, deterministic):
    """Returns [B, L, D].

    Args:
      asking_BLD: what the queries are made of.
      hidden_BLD: what keys and values are made of.
      view: View.
      deterministic: whether nothing is dropped.
    """
    config = self.config
    relative_SD = layers.Dropout(config.dropout)(view.relative_SD, deterministic)
    query_BLHK, key_BLHK, value_BLHK, position_key_SHK, position_query_SHK = (
      attention.by_heads(x, config.heads)
      for x in (
        self.query(asking_BLD),
        self.key(hidden_BLD),
        self.value(hidden_BLD),
        *self.of_positions(relative_SD),
      )
    )
    # The sum of three scores has three times the variance of one.
    scale = (3 * config.width // config.heads) ** -0.5
    query_BLHK, position_query_SHK = query_BLHK * scale, position_query_SHK * scale
    row_of = functools.partial(
      disentangled.row_of_distance, span=config.span, buckets=config.buckets
    )
    scores_BHLL = attention.scores(query_BLHK, key_BLHK)
    scores_BHLL += disentangled.scores(query_BLHK, position_key_SHK, row_of, sign=1)
    scores_BHLL += disentangled.scores(key_BLHK, position_query_SHK, row_of, sign=-1).swapaxes(2, 3)
    mixed_BLD = attention.mix(self, scores_BHLL, view.visible_B1LL, value_BLHK, deterministic)
    return layers.dense(config.width, config, 'out')(mixed_BLD)


class Block(nn.Module):
  """Attention, then feed-forward; each added to its input, then normalised.

  The first block's output is joined by the convolution of its input, where there is one.
  """

  config: Architecture
  attention = DisentangledAttention

  @nn.compact
  def __call__(self, hidden_BLD, layer, view, deterministic, asking_BLD=None):
    """Returns (hidden_BLD, its input); asking_BLD asks in place of hidden_BLD where it is given."""
    config, drop = self.config, layers.Dropout(self.config.dropout)
    asking_BLD = hidden_BLD if asking_BLD is None else asking_BLD
    mixed_BLD = self.attention(config, name='attention')(
      asking_BLD, hidden_BLD, view, deterministic
    )
    after_BLD = layers.layer_norm(config, 'attention_norm')(
      asking_BLD + drop(mixed_BLD, deterministic)
    )
    inner_BLD = layers.FeedForward(config, name='feed_forward')(after_BLD)
    after_BLD = layers.layer_norm(config, 'feed_forward_norm')(
      after_BLD + drop(inner_BLD, deterministic)
    )
    if view.convolved:
      convolved_BLD, scale_D, bias_D = view.convolved
      joined_BLD = layers.normalise(after_BLD + convolved_BLD, scale_D, bias_D, config)
      after_BLD = jnp.where(layer == 0, joined_BLD, after_BLD)
    self.sow(attention.DETAILS, 'hidden_BLD', after_BLD)
    return after_BLD, hidden_BLD


class Embeddings(nn.Module):
  """Token embeddings, without positions, and type embeddings where there are types; normalised."""

  config: object

  def setup(self):
    self.token = embeddings.table(self.config.padded_vocab_size, self.config)
    if self.config.types:
      self.type = embeddings.table(self.config.types, self.config)
    self.norm = layers.layer_norm(self.config, name=None)
    self.drop = layers.Dropout(self.config.dropout)

  def __call__(self, tokens_BL, positions_BL, types_BL, deterministic):
    """Returns [B, L, D]; positions_BL is not used."""
    hidden_BLD = self.token(tokens_BL)
    if self.config.types:
      hidden_BLD += self.type(jnp.zeros_like(tokens_BL) if types_BL is None else types_BL)
    return self.drop(self.norm(hidden_BLD.astype(self.config.dtype)), deterministic)


class RelativePositions(nn.Module):
  """The table of relative positions that all layers share."""

  config: object

  @nn.compact
  def __call__(self):
    """Returns [2 x span, D]."""
    config = self.config
    init = nn.initializers.truncated_normal(config.init_std)
    table_SD = self.param('embedding', init, (2 * config.span, config.width), jnp.float32).astype(
      config.dtype
    )
    return layers.layer_norm(config)(table_SD) if config.relative_norm else table_SD


class Deberta(encoder.Encoder):
  """An encoder whose blocks know relative positions only."""

  block: Any = Block

  def setup(self):
    super().setup()
    self.relative = RelativePositions(self.config)

  def make_embeddings(self):
    return Embeddings(self.config)

  def view(self, hidden_BLD, segments_BL, positions_BL, deterministic):
    return View(attention.same_document(segments_BL), self.relative(), None)


class EnhancedDeberta(Deberta):
  """With the enhanced mask decoder (arXiv:2006.03654, section 3.2): absolute positions enter before
  the head.

  The last block runs twice over what it was given, asked first by that with the positions added
  and then by its own answer. Fine-tuning goes without it.
  """

  def setup(self):
    super().setup()
    self.position = embeddings.table(self.config.max_positions, self.config)

  def finish(self, hidden_BLD, besides, view, positions_BL, deterministic):
    before_BLD = besides[-1]
    asking_BLD = before_BLD + self.position(positions_BL).astype(before_BLD.dtype)
    if self.is_initializing():  # the blocks have no parameters yet
      return hidden_BLD, hidden_BLD
    block, last = self.block(self.config, parent=None), self.config.layers - 1
    variables = {'params': jax.tree.map(lambda x: x[last], self.layers.variables['params'])}
    for _ in range(2):
      rngs = {} if deterministic else {'dropout': self.make_rng('dropout')}
      asking_BLD, _ = block.apply(
        variables, before_BLD, last, view, deterministic, asking_BLD, rngs=rngs
      )
    return hidden_BLD, asking_BLD
