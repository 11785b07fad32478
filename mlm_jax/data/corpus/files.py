"""Text files as streams: found by a glob, decompressed, taken out of archives.

Nothing here holds a file in memory: each is handed on in chunks of bytes.
"""

from collections.abc import Iterator
import glob
import gzip
import hashlib
import io
import itertools
import lzma
import os
import tarfile
from typing import Any
import zlib

import zstandard

from mlm_jax import config

CHUNK = 1 << 18  # bytes read at a time
_ENDS = 1 << 20  # bytes at either end of a file that must be equal for it to be the same
# Archives that are not read: the user is told their names and that they are archives.
_UNREAD = ('.tar', '.tgz', '.txz', '.tbz', '.tbz2', '.tzst', '.zip', '.7z', '.rar', '.bz2')
_DAMAGED = (
  EOFError,
  gzip.BadGzipFile,
  lzma.LZMAError,
  zlib.error,
  zstandard.ZstdError,
  tarfile.TarError,
)


def find(pattern: str, kind: str = 'text') -> list[str]:
  """Returns the sorted paths of the files that a glob, or the exact name of a file, matches.

  `kind` is that of the source, as it is written before the glob.

  Raises:
    UserError: none does.
  """
  found = [path for path in _matches(pattern) if os.path.isfile(path)]
  # A folder is the most common mistake; what to write in its place is known.
  if not found and os.path.isdir(os.path.expanduser(pattern)):
    ending = {'text': 'txt'}.get(kind, kind)
    raise config.UserError(
      f'{kind}:{pattern} is a folder; write {kind}:{pattern.rstrip("/")}/*.{ending} '
      f'or, with its subfolders, /**/*.{ending}'
    )
  if not found:
    raise config.UserError(
      f'{kind}:{pattern} matches no file (seen from {os.getcwd()}); '
      'give the path of a file or a quoted glob'
    )
  return found


def not_files(pattern: str) -> list[str]:
  """Returns the sorted paths that a glob matches and that are neither file nor folder.

  These are links to nothing, pipes, devices.
  """
  return [
    path for path in _matches(pattern) if not os.path.isfile(path) and not os.path.isdir(path)
  ]


def _matches(pattern):
  pattern = os.path.expanduser(pattern)
  if os.path.isfile(pattern):  # its name may have brackets
    return [pattern]
  return sorted(glob.glob(pattern, recursive=True))


def described(path: str) -> tuple[str, int, str]:
  """Returns (path, bytes, sha256 of the first and the last MiB): cheap, and shows most edits."""
  try:
    size = os.path.getsize(path)
    with open(path, 'rb') as file:
      # Of a file shorter than two of them, the parts overlap, which does no harm.
      digest = hashlib.sha256(file.read(_ENDS))
      file.seek(max(0, size - _ENDS))
      digest.update(file.read(_ENDS))
  except OSError as error:
    raise _unreadable(path, error) from None
  return path, size, digest.hexdigest()


def texts(path: str, skipped: Any) -> Iterator[tuple[str, Iterator[bytes]]]:
  """Yields (name, chunks of bytes) of a file, or of each file in an archive.

  A .gz, .xz or .zst ending is undone, outside an archive and inside it; case does not
  matter. Archives inside archives and other kinds of archive are skipped. So are links
  in archives: what they link to is read in its own place.

  Damaged compression stops the preparation, also in one file of an archive: it may be
  half of a good corpus, while what is not text at all is skipped (by the caller).

  Args:
    path: of the file.
    skipped: has lists `archives` and `links`, which take the names of those.

  Raises:
    UserError: the file cannot be read, or is damaged or cut short.
  """
  try:
    with open(path, 'rb') as file:
      name, chunks = _decompressed(path, _chunks(file))
      if name.endswith('.tar'):
        yield from _members(path, chunks, skipped)
      elif name.endswith(_UNREAD):
        skipped.archives.append(path)
      else:
        yield path, _checked(path, chunks)
  # Before OSError, of which gzip's error is a kind.
  except _DAMAGED as error:
    raise _damaged(path, error) from None
  except OSError as error:
    raise _unreadable(path, error) from None


def _members(path, chunks, skipped):
  """Yields (name, chunks of bytes) of the files in a tar archive; arguments as for `texts`."""
  # 'r|' reads the archive once from front to back: a stream that is decompressed cannot seek.
  with tarfile.open(fileobj=_Reader(chunks), mode='r|', bufsize=CHUNK) as archive:
    for member in archive:
      name = f'{path}:{member.name}'
      if member.isdir():
        continue
      if not member.isfile():  # a link, or a device
        skipped.links.append(name)
        continue
      plain, inner = _decompressed(member.name, _chunks(archive.extractfile(member)))
      if plain.endswith(_UNREAD):
        skipped.archives.append(name)
      else:
        yield name, _checked(name, inner)


def _unreadable(name, error):
  return config.UserError(f'cannot read {name}: {error.strerror or error}')


def _damaged(name, error):
  return config.UserError(
    f'{name} is damaged or cut short ({str(error) or type(error).__name__}); fetch or pack it again'
  )


def _checked(name, chunks):
  """Yields the chunks; damage is named here, since the consumer holds the loop."""
  try:
    yield from chunks
  except _DAMAGED as error:
    raise _damaged(name, error) from None
  except OSError as error:
    raise _unreadable(name, error) from None


def _chunks(file):
  return iter(lambda: file.read(CHUNK), b'')


def _decompressed(name, chunks):
  """Returns (name in small letters without its compression's ending, decompressed chunks)."""
  name = name.lower()
  stem, ending = os.path.splitext(name)
  opened = {
    '.gz': lambda: _chunks(gzip.open(_Reader(chunks))),
    # pyrefly: ignore[bad-argument-type] -- lzma needs no more than `read`
    '.xz': lambda: _chunks(lzma.open(_Reader(chunks))),
    '.zst': lambda: _zstandard(chunks),
  }
  if ending == '.tgz':
    return f'{stem}.tar', opened['.gz']()
  return (stem, opened[ending]()) if ending in opened else (name, chunks)


def _zstandard(chunks):
  """Yields the contents of zstd frames; the library's own reader misses a cut."""
  # A file may have several frames, one after another: each needs a decompressor of its own.
  frame = zstandard.ZstdDecompressor().decompressobj()
  begun = False
  for chunk in chunks:
    while chunk:
      begun = True
      yield frame.decompress(chunk)
      chunk = frame.unused_data if frame.eof else b''
      if frame.eof:
        frame, begun = zstandard.ZstdDecompressor().decompressobj(), False
  if begun:
    raise EOFError('the last zstd frame is incomplete')


class _Reader(io.RawIOBase):
  """A file made of chunks, for libraries that want to read one."""

  def __init__(self, chunks):
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


def peek(chunks: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
  """Returns (the first bytes, about size of them, the chunks from the start again)."""
  head = []
  while sum(map(len, head)) < size:
    chunk = next(chunks, None)
    if chunk is None:
      break
    head.append(chunk)
  return b''.join(head)[:size], itertools.chain(head, chunks)
