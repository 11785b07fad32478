"""Compressed streams, known by their first bytes: gzip, bzip2, xz, lzma and zstd.

What comes out is cut into pieces of bounded size, whatever the ratio: a bomb takes time, not
memory. Streams that follow one another in a file are one text. A stream without its end, and
bytes after the last one that begin none, are damage.
"""

import bz2
from collections.abc import Callable
from collections.abc import Iterator
import gzip
import lzma
import os
import re
from typing import Any
import zlib

import zstandard

from mlm_jax.data.corpus import streams

ENDINGS = ('.gz', '.gzip', '.bz2', '.xz', '.lzma', '.zst', '.zstd')
# What a library raises for damage, or this file.
DAMAGED = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, zstandard.ZstdError)
_WINDOW = 1 << 31  # bytes: the largest that zstd writes (--long=31)
_ZSTD = b'\x28\xb5\x2f\xfd'
_SKIPPABLE = re.compile(rb'[\x50-\x5f]\x2a\x4d\x18')  # zstd: a frame that holds no content


def opener(head: bytes) -> Callable[[Iterator[bytes]], Iterator[bytes]] | None:
  """Returns the function that decompresses chunks which begin so, or None."""
  for magic, opened in _MAGIC.items():
    if re.match(magic, head, re.DOTALL):
      return opened
  return None


def stem(name: str) -> str:
  """Returns a name without the endings of compression."""
  while os.path.splitext(name)[1].lower() in ENDINGS:
    name = os.path.splitext(name)[0]
  return name


def _gzip(chunks):
  return streams.chunks(gzip.open(streams.Reader(chunks)))


def _each(make: Callable[[], Any]):
  """Returns the function that decompresses streams with objects as bz2 and lzma have them."""

  def decompressed(chunks):
    stream = None
    for data in chunks:
      while data or (stream and not stream.needs_input):
        if not stream:
          data = data.lstrip(b'\0')  # xz may fill up with zeros
          if not data:
            break
          stream = make()
        yield stream.decompress(data, streams.CHUNK)
        data = b''
        if stream.eof:
          data, stream = stream.unused_data, None
    if stream:
      raise EOFError('its end is missing')

  return decompressed


def _zstd(chunks):
  """Yields the contents of zstd frames, a block (128 KiB at most) after another.

  The library's own reader does not say that a frame was cut, and its `decompressobj` gives
  all that its input decompresses to at once: so it gets one block at a time.

  Source: RFC 8878, section 3.1.1.
  """
  reader = streams.Reader(chunks)
  while head := reader.exactly(4):
    if _SKIPPABLE.fullmatch(head):
      left = int.from_bytes(_exactly(reader, 4), 'little')
      while left:
        left -= len(_exactly(reader, min(left, streams.CHUNK)))
      continue
    if head != _ZSTD:
      raise EOFError('a zstd frame is missing or incomplete')
    head += _exactly(reader, 1)
    head += _exactly(reader, _header_size(head[4]) - len(head))
    frame = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
    yield frame.decompress(head)
    last = False
    while not last:
      block = _exactly(reader, 3)
      number = int.from_bytes(block, 'little')
      last, kind, size = number & 1, number >> 1 & 3, number >> 3
      # A block of one byte repeated holds that byte alone.
      yield frame.decompress(block + _exactly(reader, 1 if kind == 1 else size))
    if head[4] & 4:  # a checksum
      yield frame.decompress(_exactly(reader, 4))


def _header_size(descriptor):
  """Returns the bytes of a frame's header, its magic number among them, by its fifth byte."""
  single = descriptor >> 5 & 1
  content = (single, 2, 4, 8)[descriptor >> 6]
  return 5 + (not single) + (0, 1, 2, 4)[descriptor & 3] + content


def _exactly(reader, size):
  data = reader.exactly(size)
  if len(data) < size:
    raise EOFError('the last zstd frame is incomplete')
  return data


_MAGIC = {
  rb'\x1f\x8b\x08': _gzip,
  rb'BZh[1-9](\x31\x41\x59\x26\x53\x59|\x17\x72\x45\x38\x50\x90)': _each(bz2.BZ2Decompressor),
  rb'\xfd7zXZ\x00': _each(lzma.LZMADecompressor),
  rb'\x5d\x00\x00.{2}(\xff{8}|.{5}\x00{3})': _each(lzma.LZMADecompressor),  # sizes below 2 ** 40
  re.escape(_ZSTD): _zstd,
  _SKIPPABLE.pattern: _zstd,
}
