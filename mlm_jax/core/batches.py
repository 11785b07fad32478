"""The batch that the loader gives, and what the device makes of it."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax.core import trees

Array = Any  # a jax.Array on the devices, a numpy array on the host


@trees.dataclass
class Batch:
  """Rows of packed segments.

  Attributes:
    tokens_BL: uint16 or int32 ids; padding is at the end of a row.
    starts_BS: int32, where each segment starts, ascending; -1 where unused.
    example_B2: uint32 (source, row); with visit_B what a row's draws depend on.
    visit_B: uint32, how often the row has been seen before.
    columns: what else the data says of each token (NAME_BL) or segment (NAME_BS), by name;
      see data/annotations. Three of them have properties here.
  """

  tokens_BL: Array
  starts_BS: Array
  example_B2: Array
  visit_B: Array
  columns: Mapping[str, Array] = dataclasses.field(default_factory=dict)

  @property
  def joins_BL(self) -> Array | None:
    """bool, the token is in one collocation with the token before it; None without."""
    return self.columns.get('joins_BL')

  @property
  def classes_BL(self) -> Array | None:
    """uint8, the class of the token's word; None where the data has no classes.

    Counted from 1 in the order of the vocabulary's `classes`; 0 is none.
    """
    return self.columns.get('classes_BL')

  @property
  def pairs_BS(self) -> Array | None:
    """uint8, what each segment is as a pair of sentences; None where the data has no pairs.

    See data/annotations/sentence_pairs.py.
    """
    return self.columns.get('pairs_BS')


def segments(tokens_BL: Array, starts_BS: Array, pad_id: int) -> jax.Array:
  """Returns segments_BL: 1, 2, ... for a row's documents in turn, 0 for padding."""
  # Padding after the last segment would count as a part of it.
  number_BL = jnp.cumsum(begins(starts_BS, tokens_BL.shape[1]), axis=1, dtype=jnp.int32)
  return jnp.where(tokens_BL == pad_id, 0, number_BL)


def positions(starts_BS: Array, length: int) -> jax.Array:
  """Returns positions_BL, counted from 0 inside each segment."""
  index_1L = jnp.arange(length)[None]
  # The newest start so far is the greatest, since starts ascend along a row.
  start_BL = jax.lax.cummax(jnp.where(begins(starts_BS, length), index_1L, 0), axis=1)
  return index_1L - start_BL


def types(tokens_BL: Array, segments_BL: Array, sep_id: int) -> jax.Array:
  """Returns types_BL: 0 up to a segment's first [SEP], 1 after it."""
  seps_BL = jnp.cumsum(tokens_BL == sep_id, axis=1) - (tokens_BL == sep_id)  # before each token
  first_BL = jnp.concatenate(
    [jnp.ones_like(segments_BL[:, :1], bool), segments_BL[:, 1:] != segments_BL[:, :-1]], 1
  )
  # What the segment's first token has counted, carried along it: the counts never fall.
  at_first_BL = jax.lax.cummax(jnp.where(first_BL, seps_BL, 0), axis=1)
  return (seps_BL > at_first_BL).astype(jnp.int32)


def begins(starts_BS: Array, length: int) -> jax.Array:
  """Returns bool_BL: where a document begins."""
  # A comparison with every position in place of a scatter; an unused -1 equals none of them.
  return (starts_BS[:, :, None] == jnp.arange(length)[None, None]).any(axis=1)


def maskable(tokens_BL: Array, special_ids: Sequence[int]) -> jax.Array:
  """Returns bool_BL: what a policy may choose, everything but special tokens."""
  # The ids are constants of the compiled step, and few: no table of the vocabulary is needed.
  special_BL = jnp.zeros(tokens_BL.shape, bool)
  for each in special_ids:
    special_BL |= tokens_BL == each
  return ~special_BL


def from_rows(
  tokens_BL: np.typing.ArrayLike, row_B: np.typing.ArrayLike | None = None, visit: int = 0
) -> Batch:
  """Returns the Batch of an array of ids from any tokenizer, one document a row.

  Args:
    tokens_BL: integers, padding at the end of a row; what may not be masked, padding too, is named
      by the vocabulary's `special_ids`.
    row_B: the number of each row in its data set, which with `visit` decides its masks; None for
      0, 1, ...
    visit: how often the rows have been seen before, such as the number of the epoch.

  Raises:
    ValueError: an array of another shape, or of other numbers.
  """
  tokens_BL = _integers('tokens_BL', tokens_BL, 2, 2**31)
  rows = len(tokens_BL)
  # Numbers beyond 32 bits would share their masks with others, silently.
  row_B = np.arange(rows) if row_B is None else _integers('row_B', row_B, 1, 2**32)
  if len(row_B) != rows:
    raise ValueError(f'row_B has {len(row_B)} numbers for {rows} rows of tokens')
  visit = int(_integers('visit', visit, 0, 2**32))
  return Batch(
    tokens_BL=tokens_BL.astype(np.int32),
    starts_BS=np.zeros((rows, 1), np.int32),
    example_B2=np.stack([np.zeros(rows), row_B], axis=1).astype(np.uint32),
    visit_B=np.full(rows, visit, np.uint32),
  )


def _integers(name: str, values: np.typing.ArrayLike, axes: int, bound: int) -> np.ndarray:
  """Returns an array of whole numbers from 0 to below a bound, with so many axes."""
  try:
    array = np.asarray(values)
  except ValueError:  # lists of unequal lengths
    raise ValueError(f'{name} is no array: its rows differ in length') from None
  if array.ndim != axes:
    raise ValueError(f'{name} has {array.ndim} axes, not {axes}: its shape is {array.shape}')
  if array.size and not (
    np.issubdtype(array.dtype, np.integer) and 0 <= array.min() and array.max() < bound
  ):
    raise ValueError(f'{name} must be whole numbers from 0 to below {bound}')
  return array
