"""Rows of single texts through a model, in batches whose shapes recur."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.core import batches
from mlm_jax.core import trees
from mlm_jax.models import Encoded
from mlm_jax.models import pooling

ROWS = 32  # texts computed together; the last batch is filled up


@dataclasses.dataclass(frozen=True)
class Reader:
  """A model that reads rows of one text each.

  Attributes:
    model, params: models.Model and its parameters.
    pad_id: the padding token.
    row_length: of the longest row.
    name: of the model, for errors.
  """

  model: Any
  params: Any
  pad_id: int
  row_length: int
  name: str

  def log_probabilities(
    self, rows: Iterable[tuple[np.ndarray, int]], size: int
  ) -> Iterator[np.ndarray]:
    """Yields float32 [n, size], batch after batch: log p at a place of each of the rows.

    Args:
      rows: pairs (ids of a row, place in it).
      size: of the vocabulary.

    Raises:
      UserError: the parameters are not numbers.
    """
    for batch in _batched(rows):
      tokens_BL, starts_BS, _ = self._arrays([ids for ids, _ in batch])
      places_B = np.zeros(ROWS, np.int32)
      places_B[: len(batch)] = [place for _, place in batch]
      log_BV = _log_probabilities(
        (self.model, self.pad_id), self.params, tokens_BL, starts_BS, places_B
      )
      # Without the rows that fill a batch up, and the columns that pad the vocabulary.
      yield self.numbers(np.asarray(log_BV)[: len(batch), :size])

  def hidden(self, rows: Iterable[np.ndarray], layers: tuple[int, ...]) -> Iterator[np.ndarray]:
    """Yields float32 [layers, tokens, D] of each row; `layers` as for `_states`."""
    for batch in _batched(rows):
      tokens_BL, starts_BS, _ = self._arrays(batch)
      static = self.model, self.pad_id
      hidden_KBLD = np.asarray(_hidden(static, layers, self.params, tokens_BL, starts_BS))
      yield from (self.numbers(hidden_KBLD[:, b, : len(ids)]) for b, ids in enumerate(batch))

  def pooled(
    self,
    rows: Sequence[np.ndarray],
    layers: tuple[int, ...],
    modes: tuple[str, ...],
    firsts: Sequence[int],
  ) -> np.ndarray:
    """Returns float32 [layers, n, modes x D] of rows; see pooling.pool.

    Args:
      rows: ids of each row.
      layers: as for `_states`.
      modes: of pooling.MODES.
      firsts: the first token of each row that counts; the last one always does.
    """
    # Rows of about one length together, so that there is little padding.
    order_N = np.argsort([len(row) for row in rows], kind='stable')
    parts = []
    for batch in _batched((rows[n], firsts[n]) for n in order_N):
      tokens_BL, starts_BS, lengths_B = self._arrays([row for row, _ in batch])
      first_B = np.zeros(ROWS, np.int32)
      first_B[: len(batch)] = [min(first, len(row) - 1) for row, first in batch]
      pooled_KBD = _pooled(
        (self.model, self.pad_id, layers, modes),
        *(self.params, tokens_BL, starts_BS, lengths_B, first_B),
      )
      parts.append(self.numbers(np.asarray(pooled_KBD)[:, : len(batch)]))
    # The zeros give no rows a result of the right width too.
    width = len(modes) * self.model.architecture.width
    pooled_KND = np.concatenate([np.zeros((len(layers), 0, width), np.float32), *parts], axis=1)
    return pooled_KND[:, np.argsort(order_N)]

  def _arrays(self, rows: Sequence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns (tokens_BL, starts_BS, lengths_B); B and L are rounded up so that shapes recur."""
    lengths_B = np.zeros(ROWS, np.int32)
    lengths_B[: len(rows)] = [len(row) for row in rows]
    longest = int(lengths_B.max())
    length = max(min(-(-longest // 32) * 32, self.row_length), longest)
    tokens_BL = np.full((ROWS, length), self.pad_id, np.int32)
    for b, row in enumerate(rows):
      tokens_BL[b, : len(row)] = row
    return tokens_BL, np.zeros((ROWS, 1), np.int32), lengths_B  # one text a row, from its beginning

  def numbers(self, found: np.ndarray) -> np.ndarray:
    """Returns what was computed; UserError where it is not numbers."""
    if not np.isfinite(found).all():
      leaves = trees.paths(self.params).items()
      bad = next((path for path, x in leaves if not bool(jnp.isfinite(x).all())), '')
      why = f'its parameter {bad} is not finite' if bad else 'its numbers overflow'
      raise config_lib.UserError(f'{self.name} gives no numbers: {why}; open another checkpoint')
    return found


def _batched(rows: Iterable[Any]) -> Iterator[list[Any]]:
  rows = iter(rows)
  while batch := list(itertools.islice(rows, ROWS)):
    yield batch


def encode(
  static: Any, params: Any, tokens_BL: jax.Array, starts_BS: jax.Array, details: bool = False
) -> Encoded:
  """Returns the Encoded rows; static is (model, pad_id), what a program is compiled for."""
  model, pad_id = static
  segments_BL = batches.segments(tokens_BL, starts_BS, pad_id)
  positions_BL = batches.positions(starts_BS, tokens_BL.shape[1])
  return model.apply(params, tokens_BL, segments_BL, positions_BL, details=details)


def _states(
  static: Any, layers: tuple[int, ...], params: Any, tokens_BL: jax.Array, starts_BS: jax.Array
) -> jax.Array:
  """Returns hidden_KBLD of layers, by the numbers that `transformers` gives them.

  0 is what the first block is given, N what the model ends with, norms behind the last block
  included.
  """
  N = static[0].architecture.layers
  encoded: Any = encode(static, params, tokens_BL, starts_BS, details=set(layers) != {N})
  inner = {layer: encoded.layers_NBLD[layer - 1] for layer in layers if 0 < layer < N}
  states = {**inner, 0: encoded.embedded_BLD, N: encoded.hidden_BLD}
  return jnp.stack([states[layer] for layer in layers]).astype(jnp.float32)


_hidden = jax.jit(_states, static_argnums=(0, 1))


@functools.partial(jax.jit, static_argnums=0)
def _pooled(
  static: Any,
  params: Any,
  tokens_BL: jax.Array,
  starts_BS: jax.Array,
  lengths_B: jax.Array,
  first_B: jax.Array,
) -> jax.Array:
  model, pad_id, layers, modes = static
  hidden_KBLD = _states((model, pad_id), layers, params, tokens_BL, starts_BS)
  return jnp.stack([pooling.pool(modes, each, lengths_B, first_B) for each in hidden_KBLD])


@functools.partial(jax.jit, static_argnums=0)
def _log_probabilities(
  static: Any, params: Any, tokens_BL: jax.Array, starts_BS: jax.Array, places_B: jax.Array
) -> jax.Array:
  # One position a row, taken before the head: [B, L, V] would not fit.
  decoded_BLD = encode(static, params, tokens_BL, starts_BS).decoded_BLD
  decoded_BD = jnp.take_along_axis(decoded_BLD, places_B[:, None, None], axis=1)[:, 0]
  return jax.nn.log_softmax(static[0].head(params, decoded_BD), axis=1)
