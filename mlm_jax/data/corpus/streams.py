"""Bytes as streams: iterators of chunks, of which none is large."""

from collections.abc import Iterator
import io
import itertools
from typing import Any

CHUNK = 1 << 18  # bytes read at a time


def chunks(file: Any) -> Iterator[bytes]:
  """Returns an iterator over what is left of a file that can be read."""
  return iter(lambda: file.read(CHUNK), b'')


def peek(chunks: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
  """Returns (the first bytes, about size of them, the chunks from the start again)."""
  head, length = [], 0
  while length < size:
    chunk = next(chunks, None)
    if chunk is None:
      break
    head.append(chunk)
    length += len(chunk)
  return b''.join(head)[:size], itertools.chain(head, chunks)


class Reader(io.RawIOBase):
  """A file made of chunks, for libraries that want to read one."""

  def __init__(self, chunks: Iterator[bytes]):
    self._chunks = chunks
    self._rest = memoryview(b'')

  def readable(self) -> bool:
    return True

  def readinto(self, buffer) -> int:
    while not self._rest:  # an empty chunk is not the end
      chunk = next(self._chunks, None)
      if chunk is None:
        return 0
      self._rest = memoryview(chunk)
    n = min(len(buffer), len(self._rest))
    buffer[:n] = self._rest[:n]
    self._rest = self._rest[n:]  # of a memoryview: nothing is copied
    return n

  def exactly(self, size: int) -> bytes:
    """Returns that many bytes, fewer only at the end."""
    parts = []
    while size and (part := self.read(size)):
      parts.append(part)
      size -= len(part)
    return b''.join(parts)
