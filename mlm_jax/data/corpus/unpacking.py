"""From one file to the texts in it: whatever it is packed in is told by its bytes and undone.

Compression and archives may hold one another in any order. Nothing here holds a file in
memory: each text is handed on in chunks of bytes.
"""

from collections.abc import Iterator
import contextlib
from typing import Any

from mlm_jax import config
from mlm_jax.data.corpus import archives
from mlm_jax.data.corpus import clean
from mlm_jax.data.corpus import compression
from mlm_jax.data.corpus import files
from mlm_jax.data.corpus import streams
from mlm_jax.data.corpus.formats import arrow

_HEAD = 1 << 16  # bytes by which it is judged what a file is
_DEEPEST = 16  # packings inside one another: there are archives that hold themselves
_DAMAGED = compression.DAMAGED + archives.DAMAGED


def texts(path: str, skipped: Any, alone: bool = False) -> Iterator[tuple[str, Iterator[bytes]]]:
  """Yields (name, chunks of bytes) of a file, or of each file in an archive.

  What is a table (Parquet, Arrow) is given as it is; all else is text.

  Damaged compression stops the preparation, also in one file of an archive: it may be
  half of a good corpus. So do archives and compression of kinds that are not read; inside an
  archive they are skipped, as are links: what they link to is read in its own place. What is
  mostly not text is skipped, but refused where it was asked for by name.

  Args:
    path: of the file.
    skipped: has lists `files`, `archives` and `links`, which take the names of those.
    alone: whether the user named this very file.

  Raises:
    UserError: the file cannot be read, is damaged or cut short, or is of a kind that is not read.
  """
  try:
    with open(path, 'rb') as file:
      yield from _contents(path, path.lower(), _checked(path, streams.chunks(file)), skipped, file)
  except archives.Unread as error:
    raise config.UserError(
      f'{path} is {error}, which is not read; unpack it, or leave it out'
    ) from None
  except _Binary as error:
    if alone:
      raise config.UserError(f'{path} is {error}; give a file of text') from None
    skipped.files.append(path)
  except OSError as error:
    raise files.unreadable(path, error) from None


class _Binary(Exception):
  """No text; the message says what it is."""


def _contents(name, ending, chunks, skipped, file=None, depth=0):
  """Yields (name, chunks of bytes) of what a stream holds.

  Args:
    name: of the stream, for messages.
    ending: its name in small letters, without the endings of what was undone.
    chunks: of bytes.
    skipped: as for `texts`.
    file: that can seek and holds the same, or None.
    depth: how many packings were undone.
  """
  if depth > _DEEPEST:
    raise config.UserError(f'{name} is packed more than {_DEEPEST} times over; unpack it')
  head, chunks = streams.peek(chunks, _HEAD)
  opened = compression.opener(head)
  if opened:
    inner = _checked(name, opened(chunks))
    yield from _contents(name, compression.stem(ending), inner, skipped, depth=depth + 1)
  elif archives.is_zip(head) or ending.endswith('.zip'):
    if file:
      file.seek(0)
    yield from _members(name, archives.zip_(chunks, file), skipped, depth)
  elif archives.is_tar(head) or ending.endswith('.tar'):
    yield from _members(name, archives.tar(chunks), skipped, depth)
  else:
    _check_kind(name, ending, head)
    yield name, chunks


def _members(name, members, skipped, depth):
  """Yields (name, chunks of bytes) of what the members of an archive hold."""
  for member, chunks in _checked(name, members):
    shown = f'{name}:{_printable(member)}'
    if chunks is None:
      skipped.links.append(shown)
      continue
    try:
      yield from _contents(shown, member.lower(), _checked(shown, chunks), skipped, depth=depth + 1)
    except archives.Unread:
      skipped.archives.append(shown)
    except _Binary:
      skipped.files.append(shown)


def _check_kind(name, ending, head):
  """Raises what is fitting where a stream is neither packed in a way that is read nor text."""
  if ending.endswith(compression.ENDINGS + archives.ENDINGS):
    raise _damaged(name, 'its first bytes are not what its name says')
  packed = archives.packed(head)
  if packed:
    raise archives.Unread(packed)
  if arrow.reader(ending, head):
    return
  binary = archives.binary(head) or ('' if clean.is_text(head) else 'mostly not text')
  if binary:
    raise _Binary(binary)


def _printable(name):
  return config.one_line(name.encode('utf-8', 'backslashreplace').decode())


def _damaged(name, why):
  return config.UserError(f'{name} is damaged or cut short ({why}); fetch or pack it again')


def _checked(name, parts):
  """Yields the parts; damage is named here, since the consumer holds the loop."""
  try:
    yield from parts
  except _DAMAGED as error:
    raise _damaged(name, config.one_line(error) or type(error).__name__) from None
  except OSError as error:
    if error.errno is None:  # bz2 says damage so
      raise _damaged(name, config.one_line(error)) from None
    raise files.unreadable(name, error) from None


@contextlib.contextmanager
def spooled(name: str, chunks: Iterator[bytes]) -> Iterator[str]:
  """Gives the path of a temporary file with these chunks, for what must seek."""
  try:
    with archives.spooled(chunks) as file:
      file.flush()
      yield file.name
  except OSError as error:
    raise files.unreadable(name, error) from None
