"""Text files as streams: found by a glob, decompressed, taken out of archives.

Nothing here holds a file in memory: each is handed on in chunks of bytes.
"""

import glob
import gzip
import io
import itertools
import lzma
import os
import tarfile
import zlib

import zstandard

from mlm_jax import config

CHUNK = 1 << 18  # bytes read at a time
_DAMAGED = (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error, zstandard.ZstdError,
            tarfile.TarError)


def find(pattern):
  """Returns the sorted paths of the files that a glob matches.

  Raises:
    UserError: none does.
  """
  found = sorted(path for path in glob.glob(os.path.expanduser(pattern), recursive=True)
                 if os.path.isfile(path))
  if not found and os.path.isdir(os.path.expanduser(pattern)):
    raise config.UserError(f'text:{pattern} is a folder; write text:{pattern.rstrip("/")}/*.txt '
                           'or, with its subfolders, /**/*.txt')
  if not found:
    raise config.UserError(f'text:{pattern} matches no file (seen from {os.getcwd()}); '
                           'give the path of a file or a quoted glob')
  return found


def texts(path):
  """Yields (name, chunks of bytes) of a file, or of each file in an archive.

  A .gz, .xz or .zst ending is undone, outside an archive and inside it.

  Raises:
    UserError: the file cannot be read, or is damaged or cut short.
  """
  try:
    with open(path, 'rb') as file:
      name, chunks = _decompressed(path, _chunks(file))
      if not name.endswith('.tar'):
        yield path, _checked(path, chunks)
        return
      with tarfile.open(fileobj=_Reader(chunks), mode='r|', bufsize=CHUNK) as archive:
        for member in archive:
          if member.isfile():
            _, inner = _decompressed(member.name, _chunks(archive.extractfile(member)))
            yield f'{path}:{member.name}', _checked(f'{path}:{member.name}', inner)
  except _DAMAGED as error:
    raise _damaged(path, error) from None
  except OSError as error:
    raise config.UserError(f'cannot read {path}: {error.strerror or error}') from None


def _damaged(name, error):
  return config.UserError(f'{name} is damaged or cut short ({str(error) or type(error).__name__}); '
                          'fetch or pack it again')


def _checked(name, chunks):
  """Yields the chunks; damage is named here, since the consumer holds the loop."""
  try:
    yield from chunks
  except _DAMAGED as error:
    raise _damaged(name, error) from None
  except OSError as error:
    raise config.UserError(f'cannot read {name}: {error.strerror or error}') from None


def _chunks(file):
  return iter(lambda: file.read(CHUNK), b'')


def _decompressed(name, chunks):
  """Returns (the name without its compression's ending, the chunks decompressed)."""
  stem, ending = os.path.splitext(name)
  opened = {'.gz': lambda: _chunks(gzip.open(_Reader(chunks))),
            '.xz': lambda: _chunks(lzma.open(_Reader(chunks))),
            '.zst': lambda: _zstandard(chunks)}
  if ending == '.tgz':
    return f'{stem}.tar', opened['.gz']()
  return (stem, opened[ending]()) if ending in opened else (name, chunks)


def _zstandard(chunks):
  """Yields the contents of zstd frames; the library's own reader misses a cut."""
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

  def readable(self):
    return True

  def readinto(self, buffer):
    while not self._rest:
      chunk = next(self._chunks, None)
      if chunk is None:
        return 0
      self._rest = memoryview(chunk)
    n = min(len(buffer), len(self._rest))
    buffer[:n] = self._rest[:n]
    self._rest = self._rest[n:]
    return n


def peek(chunks, size):
  """Returns (the first bytes, about size of them, the chunks from the start again)."""
  head = []
  while sum(map(len, head)) < size:
    chunk = next(chunks, None)
    if chunk is None:
      break
    head.append(chunk)
  return b''.join(head)[:size], itertools.chain(head, chunks)
