"""What the pages of a Parquet column say of their sizes, before any of them is unpacked.

Source: the Thrift definition of Parquet's PageHeader, in Thrift's compact protocol.
"""

from collections.abc import Iterator
from typing import Any
from typing import BinaryIO

DICTIONARY = 2  # the kind of a page that holds the values that others name by number
_KIND, _SIZE, _PACKED = 1, 2, 3  # numbers of fields
_HEADS = (1 << 9, 1 << 16, 1 << 24)  # bytes that a header may have, the fewest first
# Types of fields.
_FLAGS, _BYTE, _NUMBERS, _DOUBLE, _BYTES, _LISTS, _STRUCT = (1, 2), 3, (4, 5, 6), 7, 8, (9, 10), 12


def sizes(file: BinaryIO, chunk: Any) -> Iterator[tuple[int, int]]:
  """Yields (kind, bytes when unpacked) of the pages of a column's chunk in a row group.

  It ends early at what is no header: a damaged file is refused when it is read.

  Args:
    file: opened.
    chunk: pyarrow's metadata of it.
  """
  begin = chunk.data_page_offset
  if chunk.has_dictionary_page:
    begin = min(begin, chunk.dictionary_page_offset)
  place, end = begin, begin + chunk.total_compressed_size
  while place < end:
    header = _header(file, place)
    if header is None:
      return
    fields, length = header
    yield fields[_KIND], fields[_SIZE]
    place += length + fields[_PACKED]


def _header(file: BinaryIO, place: int) -> tuple[dict[int, int], int] | None:
  """Returns ({number of a field: its number}, bytes of the header), None where there is none."""
  for size in _HEADS:
    file.seek(place)
    reader = _Reader(file.read(size))
    try:
      fields = reader.struct()
    except IndexError:  # it goes on
      continue
    except ValueError:
      return None
    # Sizes that are negative would lead back, and never to an end.
    is_whole = all(fields.get(number, -1) >= 0 for number in (_KIND, _SIZE, _PACKED))
    return (fields, reader.place) if is_whole else None
  return None


class _Reader:
  """Reads the fields of a struct; IndexError at the end of what it is given."""

  def __init__(self, content: bytes):
    self._content, self.place = content, 0

  def struct(self, depth: int = 0) -> dict[int, int]:
    """Returns {number of a field: its number} of a struct's numbers; all else is passed over."""
    if depth > 8:  # a header has three
      raise ValueError('too deep')
    fields, number = {}, 0
    while head := self._byte():
      number = number + (head >> 4) if head >> 4 else self._number()
      value = self._value(head & 15, depth)
      if value is not None:
        fields[number] = value
    return fields

  def _value(self, kind: int, depth: int) -> int | None:
    if kind in _NUMBERS:
      return self._number()
    if kind in (_BYTE, _DOUBLE):
      self.place += 1 if kind == _BYTE else 8
    elif kind == _BYTES:
      length = self._digits()
      self.place += length
    elif kind == _STRUCT:
      self.struct(depth + 1)
    elif kind in _LISTS:
      head = self._byte()
      for _ in range(head >> 4 if head >> 4 < 15 else self._digits()):
        self._value(head & 15, depth + 1)
    elif kind not in _FLAGS:
      raise ValueError(f'no such type: {kind}')
    return None

  def _byte(self) -> int:
    self.place += 1
    return self._content[self.place - 1]

  def _digits(self) -> int:
    """Returns a number of digits of 7 bits, the lowest first; each but the last has a high bit."""
    value = shift = 0
    while True:
      byte = self._byte()
      value |= (byte & 127) << shift
      shift += 7
      if byte < 128:
        return value
      if shift > 63:
        raise ValueError('too long')

  def _number(self) -> int:
    digits = self._digits()
    return digits >> 1 ^ -(digits & 1)  # its last bit is the sign
