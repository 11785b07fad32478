"""Files as streams of bytes: decompressed, and taken out of archives.

What a file is tells its beginning, not its name: corpora come as archives in compression that no
name mentions (OpenWebText), and as the reverse. Nothing here holds a file in memory: each is
handed on in chunks, however much it grows. An archive in zip format that is inside another file is
copied to disk first, since its index is at its end.
"""

import bz2
from collections.abc import Iterator
import contextlib
import gzip
import io
import itertools
import lzma
import re
import shutil
import tarfile
import tempfile
from typing import Any
from typing import BinaryIO
import zipfile
import zlib

from backports import zstd

from mlm_jax import config
from mlm_jax.data.corpus import clean

CHUNK = 1 << 18  # bytes read at a time
HEAD = 1 << 16  # bytes by which a file is judged to be text or not
_DEEPEST = 8  # archives and compressions inside each other; some files contain themselves
_LONGEST_WINDOW = 31  # log2 of the bytes that zstd may look back, as `zstd --long=31` writes
_BLOCK = tarfile.BLOCKSIZE
# What compressed files begin with. Text does not: each has a byte that text lacks, or needs 10.
_COMPRESSED = {
  rb'\x1f\x8b\x08': gzip.open,
  rb'\xfd7zXZ\x00|\x5d\x00\x00': lzma.open,
  rb'BZh[1-9](1AY&SY|\x17rE8P\x90)': bz2.open,
  # A frame, or one to be skipped.
  rb'\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18': lambda file: zstd.open(
    file, options={zstd.DecompressionParameter.window_log_max: _LONGEST_WINDOW}
  ),
}
_ZIP = rb'PK(\x03\x04|\x05\x06|\x07\x08)'
# Archives and compressions that are not read.
_UNREAD = {
  rb"7z\xbc\xaf'\x1c": '7z',
  rb'Rar!\x1a\x07': 'RAR',
  rb'MSCF\x00{4}': 'CAB',
  rb'\x04"M\x18': 'LZ4',
  rb'\x1f\x9d': 'compress (.Z)',
  rb'LZIP\x01': 'lzip',
  rb'\xff\x06\x00\x00sNaPpY': 'Snappy',
  rb'\x89LZO\x00': 'lzop',
}
_ENDINGS = re.compile(r'(\.(gz|xz|lzma|bz2|zst|zstd))+$', re.IGNORECASE)
# Names of what is no text: one of these that looks like nothing known is damaged.
_PACKED = re.compile(
  r'\.(tar|t[gx]z|tbz2?|tzst|zip|7z|rar|gz|xz|lzma|bz2|zst|zstd|parquet|arrow)$', re.IGNORECASE
)
_DAMAGED = (
  EOFError,
  gzip.BadGzipFile,
  lzma.LZMAError,
  tarfile.TarError,
  zipfile.BadZipFile,
  zlib.error,
  zstd.ZstdError,
)


def texts(path: str, skipped: Any) -> Iterator[tuple[str, Iterator[bytes]]]:
  """Yields (name, chunks of bytes) of a file, or of each file in an archive.

  Compression is undone (gzip, xz, lzma, bzip2, Zstandard) and archives are opened (tar, zip), in
  whatever order they contain each other. A name is the path, and after colons those in archives.
  Links in archives are skipped: what they link to is
  read in its own place. Of an empty file there are no chunks.

  Damage stops the preparation, also in one file of an archive: it may be half of a good corpus,
  while what is not text at all is skipped (by the caller).

  Args:
    path: of the file.
    skipped: its list `links` takes the names of links.

  Raises:
    UserError: the file cannot be read, is damaged or cut short, or is of a kind that is not read.
  """
  with _named(path), open(path, 'rb') as file:
    yield from _unpacked(path, iter(lambda: file.read(CHUNK), b''), skipped, 0, file)


def _unpacked(
  name: str, chunks: Iterator[bytes], skipped: Any, depth: int, file: BinaryIO | None = None
) -> Iterator[tuple[str, Iterator[bytes]]]:
  """Yields as `texts` does what is in a stream; `file` is one that it can be read from again."""
  if depth > _DEEPEST:
    raise config.UserError(
      f'{name}: more than {_DEEPEST} archives and compressions inside each other; unpack it'
    )
  head, chunks = peek(chunks, _BLOCK)
  if kind := _first(_UNREAD, head):
    raise config.UserError(f'{name} is a file of the kind {kind}, which is not read; unpack it')
  if opener := _first(_COMPRESSED, head):
    yield from _unpacked(name, _chunks(opener(_Reader(chunks))), skipped, depth + 1)
  elif _is_tar(head):
    yield from _in_tar(name, chunks, skipped, depth)
  elif re.match(_ZIP, head):
    with contextlib.nullcontext(file) if file else on_disk(chunks) as seekable:
      yield from _in_zip(name, seekable, skipped, depth)
  elif _PACKED.search(name) and not _is_column_file(head) and not clean.is_text(head):
    raise _damaged(name, 'it does not begin as its name says')
  elif not head and not depth and _PACKED.search(name):
    raise _damaged(name, 'it is empty')
  else:
    yield name, _checked(name, chunks)


def _first(kinds: dict[bytes, Any], head: bytes) -> Any:
  """Returns the value of the first pattern that the head of a file matches, None of none."""
  return next((value for pattern, value in kinds.items() if re.match(pattern, head)), None)


def bare(name: str) -> str:
  """Returns a name without the endings that say a compression."""
  return _ENDINGS.sub('', name)


def beginning(path: str) -> bytes:
  """Returns the first bytes of a file; UserError where it cannot be read."""
  with _named(path), open(path, 'rb') as file:
    return file.read(_BLOCK)


def _is_column_file(head: bytes) -> bool:
  return head.startswith((b'PAR1', b'ARROW1', b'\xff\xff\xff\xff'))


def _is_tar(head: bytes) -> bool:
  """Whether a file begins with the header of a member, whose checksum is right."""
  try:
    tarfile.TarInfo.frombuf(head[:_BLOCK], 'utf-8', 'surrogateescape')
  except tarfile.HeaderError:
    return False
  return True


def _in_tar(
  name: str, chunks: Iterator[bytes], skipped: Any, depth: int
) -> Iterator[tuple[str, Iterator[bytes]]]:
  # 'r|' reads the archive once from front to back: a stream that is decompressed cannot seek.
  with tarfile.open(fileobj=_Reader(chunks), mode='r|', bufsize=CHUNK) as archive:
    for member in archive:
      inner = f'{name}:{member.name}'
      file = archive.extractfile(member) if member.isfile() else None
      if file is not None:
        with _named(inner):
          yield from _unpacked(inner, _chunks(file), skipped, depth + 1)
      elif not member.isdir():  # a link, or a device
        skipped.links.append(inner)


def _in_zip(
  name: str, file: BinaryIO, skipped: Any, depth: int
) -> Iterator[tuple[str, Iterator[bytes]]]:
  with zipfile.ZipFile(file) as archive:
    for member in archive.infolist():
      inner = f'{name}:{member.filename}'
      if member.is_dir():
        continue
      if member.external_attr >> 28 == 0xA:  # Unix's S_IFLNK in the upper half
        skipped.links.append(inner)
        continue
      try:
        opened = archive.open(member)
      # It wants a password (RuntimeError), or a compression that Python lacks.
      except (NotImplementedError, RuntimeError) as error:
        raise config.UserError(
          f'{inner} cannot be read ({config.one_line(error)}); unpack it'
        ) from None
      with opened, _named(inner):
        yield from _unpacked(inner, _chunks(opened), skipped, depth + 1)


@contextlib.contextmanager
def on_disk(chunks: Iterator[bytes]) -> Iterator[Any]:
  """Yields a temporary file with the contents of a stream, for what cannot be read as one."""
  with tempfile.NamedTemporaryFile(prefix='mlm_jax-') as file:
    shutil.copyfileobj(_Reader(chunks), file, CHUNK)
    file.flush()
    yield file


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
  """What is damaged or cannot be read is named."""
  try:
    yield
  # Before OSError, of which gzip's error is a kind.
  except _DAMAGED as error:
    raise _damaged(name, str(error) or type(error).__name__) from None
  except OSError as error:
    raise config.UserError(f'cannot read {name}: {error.strerror or error}') from None


def _damaged(name: str, why: str) -> config.UserError:
  why = config.one_line(why)
  return config.UserError(f'{name} is damaged or cut short ({why}); fetch or pack it again')


def _checked(name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
  """Yields the chunks; damage is named here, since the consumer holds the loop."""
  with _named(name):
    yield from chunks


def _chunks(file: Any) -> Iterator[bytes]:
  return iter(lambda: file.read(CHUNK), b'')


class _Reader(io.RawIOBase):
  """A file made of chunks, for libraries that want to read one."""

  def __init__(self, chunks: Iterator[bytes]):
    self._chunks = chunks
    self._rest = memoryview(b'')

  def readable(self) -> bool:
    return True

  def readinto(self, buffer: Any) -> int:
    while not self._rest:  # an empty chunk is not the end
      chunk = next(self._chunks, None)
      if chunk is None:
        return 0
      self._rest = memoryview(chunk)
    n = min(len(buffer), len(self._rest))
    buffer[:n] = self._rest[:n]
    self._rest = self._rest[n:]  # of a memoryview: nothing is copied
    return n


def peek(chunks: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
  """Returns (the first bytes, about size of them, the chunks from the start again)."""
  head: list[bytes] = []
  while sum(map(len, head)) < size:
    chunk = next(chunks, None)
    if chunk is None:
      break
    head.append(chunk)
  return b''.join(head)[:size], itertools.chain(head, chunks)
