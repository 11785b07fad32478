"""What an optional column of the rows is: a value for each token, or for each segment."""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Column:
  """The declaration of a column: all that the writer, the store and the loader need to know.

  Attributes:
    name: in `Batch.columns`, by what it has a value for: tokens (..._BL) or segments (..._BS).
    dtype: of its values; bool is stored as one bit a value.
    setting: of `config.data`; rows have the column where it is not empty. The manifest keeps
      what is counted of the column under this name.
    fill: the value of special tokens and padding, or of unused segments.
    of_documents: (config.data, sources) -> OfDocuments, where the documents give the values.
    of_rows: (config.data, tokenizer, training Rows of each source, folder of the preparation,
      folder for scratch files) -> OfRows, where the finished rows give them.
  """

  name: str
  dtype: type
  setting: str
  fill: int = 0
  of_documents: Callable[..., 'OfDocuments'] | None = None
  of_rows: Callable[..., 'OfRows'] | None = None

  @property
  def file(self) -> str:
    """The name of its file beside those of the rows."""
    return self.name.rpartition('_')[0] + '.npy'  # without the suffix of its shape

  @property
  def is_of_tokens(self) -> bool:
    """Whether it has a value for each token; else it has one for each segment."""
    return self.name.endswith('_BL')

  @property
  def stored_dtype(self) -> np.dtype:
    """The dtype of its file."""
    return np.dtype(np.uint8 if self.dtype is bool else self.dtype)

  def width(self, row_length: int, max_segments: int) -> int:
    """Returns how many values a row has."""
    return row_length if self.is_of_tokens else max_segments

  def stored_width(self, width: int) -> int:
    """Returns how many numbers hold so many values in the file."""
    # Bits are packed row by row, so that rows can be read one by one: each ends with a whole byte.
    return -(-width // 8) if self.dtype is bool else width

  def packed(self, values_RX: np.ndarray) -> np.ndarray:
    """Returns values as its file has them."""
    return np.packbits(values_RX, axis=1) if self.dtype is bool else values_RX


class Stored:
  """A column on disk. Indexed by rows, it gives their values as a batch has them.

  Attributes:
    column: its Column.
    shape: (rows, values of a row).
  """

  def __init__(self, column: Column, array_RK: np.ndarray, width: int):
    self.column, self._array_RK = column, array_RK
    self.shape = len(array_RK), width

  @property
  def dtype(self) -> np.dtype:
    return np.dtype(self.column.dtype)

  @property
  def fill(self) -> int:
    return self.column.fill

  def __getitem__(self, rows: Any) -> np.ndarray:
    values_BK = self._array_RK[rows]
    if self.column.dtype is not bool:
      return values_BK
    # `count` leaves out the bits that fill the last byte.
    return np.unpackbits(values_BK, axis=1, count=self.shape[1]).astype(bool)


class OfDocuments:
  """Gives a column its values document by document, while the sources are read.

  Attributes:
    is_from_source: whether the sources must give the words of each document with it.
  """

  is_from_source = False

  def values(self, text: str, words: Any = None) -> Any:
    """Returns a value for each character of a cleaned document, or one for all of it.

    Args:
      text: the document.
      words: what its source says of it where `is_from_source`, else None.
    """
    raise NotImplementedError

  def settled(self, values: np.ndarray) -> np.ndarray:
    """Returns values as they are stored, once all documents have been read."""
    return values

  def described(self) -> dict:
    """Returns what the manifest says of the column."""
    return {}

  def counted(self, values_RX: np.ndarray) -> dict[str, int]:
    """Returns what the manifest counts in the rows of one source's split; sums of parts."""
    return {}


class OfRows:
  """Gives a column its values for rows that are finished."""

  def values(self, tokens_RL: np.ndarray, starts_RS: np.ndarray) -> tuple[np.ndarray, dict]:
    """Returns (values_RX, what the manifest counts in them; sums of parts)."""
    raise NotImplementedError

  def said(self, counts: Mapping[str, int]) -> str:
    """Returns a line about what was counted in all rows."""
    raise NotImplementedError
