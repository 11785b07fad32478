"""What enters the first layer: token, position and type embeddings."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from mlm_jax.models import layers
from mlm_jax.models.architecture import Architecture


def table(rows: int, config: Architecture) -> nn.Embed:
  """Returns a table of `rows` embeddings of config.embedding_width, float32."""
  return nn.Embed(
    rows,
    config.embedding_width,
    param_dtype=jnp.float32,
    embedding_init=nn.initializers.truncated_normal(config.init_std),
  )


class Embeddings(nn.Module):
  """The sum of token, learned position and (where there are types) type embeddings.

  `config.position_offset` is the first row of the position table that is used: RoBERTa
  leaves its first rows to padding (arXiv:1907.11692, in its published code). There padding is
  what has the id `config.uncounted_id`, whatever the tokenizer fills rows with. Where the
  tables are narrower than the layers, the encoder projects the normalised sum (ELECTRA).
  """

  config: Architecture

  def setup(self) -> None:
    config = self.config
    self.token = table(config.padded_vocab_size, config)
    self.position = table(config.max_positions + config.position_offset, config)
    if config.types:
      self.type = table(config.types, config)
    self.norm = layers.layer_norm(config, name=None)
    self.drop = layers.Dropout(config.dropout)

  def __call__(
    self,
    tokens_BL: jax.Array,
    positions_BL: jax.Array,
    types_BL: jax.Array | None,
    deterministic: bool,
  ) -> jax.Array:
    """Returns hidden_BLE, E = config.embedding_width; without types_BL every type is 0."""
    # Gathered in float32, then cast: the gradient is summed in float32 too.
    hidden_BLE = self.token(tokens_BL)
    if self.config.uncounted_id >= 0:
      positions_BL = counted(positions_BL, tokens_BL == self.config.uncounted_id)
    # Positions count from 0 inside each document, so a packed row is several short ones.
    hidden_BLE += self.position(positions_BL + self.config.position_offset)
    if self.config.types:
      types_BL = jnp.zeros_like(tokens_BL) if types_BL is None else types_BL
      hidden_BLE += self.type(types_BL)
    return self.drop(self.norm(hidden_BLE.astype(self.config.dtype)), deterministic)


def counted(positions_BL: jax.Array, is_skipped_BL: jax.Array) -> jax.Array:
  """Returns positions that count, inside each document, only what is not skipped.

  Args:
    positions_BL: counted from 0 inside each document.
    is_skipped_BL: bool, what takes no position: its own is -1.
  """
  before_BL = jnp.cumsum(is_skipped_BL, axis=1) - is_skipped_BL
  # A document begins as many places back as the position says.
  first_BL = jnp.maximum(jnp.arange(positions_BL.shape[1])[None] - positions_BL, 0)
  inside_BL = before_BL - jnp.take_along_axis(before_BL, first_BL, axis=1)
  return jnp.where(is_skipped_BL, -1, positions_BL - inside_BL)
