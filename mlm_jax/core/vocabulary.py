"""What the device knows of a vocabulary: ids, and where words start and end."""

from collections.abc import Iterable
import dataclasses

import numpy as np

from mlm_jax.core import batches
from mlm_jax.core import trees


@trees.dataclass
class Table:
  """A vocabulary as arrays.

  Attributes:
    starts_V: bool, the piece starts a word.
    ends_V: bool, the piece ends a word whatever follows (punctuation, and
      pieces of scripts that are written without spaces).
    closes_V: bool, the piece ends a sentence.
    counts_V: float32, how often each piece occurs in the training rows.
    size: pieces, special ones included.
    mask_id: the id of [MASK].
    special_ids: sorted; never chosen and never drawn as a replacement.
    classes: names of the classes of words that rows are annotated with; () for none.
  """

  starts_V: batches.Array
  ends_V: batches.Array
  closes_V: batches.Array
  counts_V: batches.Array
  # Static: a part of the compiled program, so that shapes and loops can depend on them.
  size: int = dataclasses.field(metadata={'static': True})
  mask_id: int = dataclasses.field(metadata={'static': True})
  special_ids: tuple = dataclasses.field(metadata={'static': True})
  classes: tuple = dataclasses.field(metadata={'static': True}, default=())


def table(
  size: int,
  mask_id: int,
  special_ids: Iterable[int],
  starts_V: np.typing.ArrayLike | None = None,
  ends_V: np.typing.ArrayLike | None = None,
  counts_V: np.typing.ArrayLike | None = None,
  closes_V: np.typing.ArrayLike | None = None,
  classes: Iterable[str] = (),
) -> Table:
  """Returns a Table; without starts every piece is a word, without counts all are equal.

  Raises:
    ValueError: the ids or a column do not fit the vocabulary.
  """
  if not _is_id(size) or size < 1:
    raise ValueError('size must be a number of pieces, at least 1')
  try:
    special_ids = tuple(special_ids)
  except TypeError:
    raise ValueError('special_ids must be a list of ids') from None
  if not special_ids or not all(map(_is_id, (mask_id, *special_ids))):
    raise ValueError('mask_id and special_ids must be ids, and at least one be special')
  mask_id, special_ids = int(mask_id), tuple(sorted({int(each) for each in special_ids}))
  if mask_id not in special_ids:
    raise ValueError(f'mask_id {mask_id} is not among special_ids {special_ids}')
  if special_ids[0] < 0 or special_ids[-1] >= size:
    raise ValueError(f'special_ids {special_ids} do not fit a vocabulary of {size}')

  # NumPy's, not JAX's: making a table uses no device.
  def column(given: np.typing.ArrayLike | None, default: float, dtype: type) -> np.ndarray:
    try:
      values = np.full(size, default, dtype) if given is None else np.asarray(given, dtype)
    except (TypeError, ValueError, OverflowError):
      raise ValueError('a column must be numbers, one for each piece') from None
    if values.shape != (size,):
      raise ValueError(f'a column of shape {values.shape} does not fit a vocabulary of {size}')
    return values

  return Table(
    column(starts_V, True, bool),
    column(ends_V, False, bool),
    column(closes_V, False, bool),
    column(counts_V, 1, np.float32),
    size,
    mask_id,
    special_ids,
    tuple(classes),
  )


def _is_id(value: object) -> bool:
  """Whether a value is a whole number, of Python or NumPy."""
  return isinstance(value, int | np.integer) and not isinstance(value, bool)
