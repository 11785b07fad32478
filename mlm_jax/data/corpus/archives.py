"""Archives, known by their bytes: tar of any dialect, and zip; and kinds that are not read."""

from collections.abc import Iterator
import contextlib
import errno
import re
import shutil
import struct
import tarfile
import tempfile
from typing import Any
import zipfile

from mlm_jax.data.corpus import streams

ENDINGS = ('.tar', '.zip', '.tgz', '.txz', '.tbz', '.tbz2', '.tlz', '.tzst')
DAMAGED = (tarfile.TarError, zipfile.BadZipFile)
BLOCK = 512  # bytes: of a tar's header
# Packed text that is not read.
_PACKED = {
  b"7z\xbc\xaf'\x1c": 'a 7z archive',
  b'Rar!\x1a\x07': 'a RAR archive',
  b'\x04\x22\x4d\x18': 'compressed by lz4',
  b'\x02\x21\x4c\x18': 'compressed by lz4',
  b'\x1f\x9d': 'compressed by compress (.Z)',
  b'\x1f\xa0': 'compressed by compress (.Z)',
  b'\x89LZO\x00': 'compressed by lzop',
  b'LZIP\x01': 'compressed by lzip',
  b'\xff\x06\x00\x00sNaPpY': 'compressed by snappy',
  b'MSCF\x00': 'a cabinet archive',
  b'xar!\x00': 'a xar archive',
  b'!<arch>\n': 'an ar archive',
  b'070701': 'a cpio archive',
  b'070707': 'a cpio archive',
  b'\xc7\x71': 'a cpio archive',
  b'hsqs': 'a squashfs image',
}
# What may look like text by its first bytes.
_BINARY = {
  b'%PDF-': 'a PDF',
  b'{\\rtf': 'RTF',
  b'\xd0\xcf\x11\xe0': 'an old Office document',
  b'\x89PNG': 'an image',
  b'\xff\xd8\xff': 'an image',
  b'GIF8': 'an image',
  b'SQLite format 3\0': 'an SQLite database',
  b'\x89HDF': 'an HDF5 file',
  b'\x93NUMPY': 'an array of numpy',
  b'\xff\xfe': 'text in UTF-16 or UTF-32 (write it as UTF-8)',
  b'\xfe\xff': 'text in UTF-16 (write it as UTF-8)',
}


class Unread(Exception):
  """An archive, or a member of one, of a kind that is not read; the text says which."""


def packed(head: bytes) -> str:
  """Returns what it is where that is packed in a way that is not read, or ''."""
  return _named(_PACKED, head)


def binary(head: bytes) -> str:
  """Returns what it is where that is no text although it may look so, or ''."""
  return _named(_BINARY, head)


def _named(kinds, head):
  return next((name for magic, name in kinds.items() if head.startswith(magic)), '')


def is_tar(head: bytes) -> bool:
  """Whether the bytes begin with a tar's header: by its checksum, which every dialect has.

  The oldest dialect has no other mark.
  """
  block = head[:BLOCK]
  number = re.fullmatch(rb'[ \0]*([0-7]+)[ \0]+', block[148:156] + b' ')
  if len(block) < BLOCK or not number:
    return False
  blank = block[:148] + b' ' * 8 + block[156:]
  signed = sum(blank) - 256 * sum(byte > 127 for byte in blank)  # of some old programs
  return int(number[1], 8) in (sum(blank), signed)


# pyrefly: ignore[missing-attribute] -- that tarfile has them is tested
_DAMAGED_HEADER = (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError)
# pyrefly: ignore[missing-attribute]
_ZEROS, _NOTHING = tarfile.EOFHeaderError, tarfile.EmptyHeaderError
_NO_END = (
  'its end, two blocks of zeros, is missing: it may lack members; where it does not, add it by '
  'head -c 1024 /dev/zero >>'
)


class _Header(tarfile.TarInfo):
  """A header; Python's own reader takes one that is damaged or cut for the end of the archive.

  It takes an archive that was cut between two members for whole, too, as GNU tar does. Some
  programs leave out the end of what they write, but that is rare, and half a corpus is no corpus.
  """

  @classmethod
  def fromtarfile(cls, archive):  # pyrefly: ignore[bad-override-param-name]
    was_ended, archive.ended = getattr(archive, 'ended', True), False
    try:
      return super().fromtarfile(archive)
    except _ZEROS:
      archive.ended = True
      raise
    except _NOTHING:
      if not was_ended:
        raise tarfile.ReadError(_NO_END) from None
      raise
    except _DAMAGED_HEADER as error:
      raise tarfile.ReadError(str(error)) from None
    except (ValueError, LookupError) as error:  # numbers and names in it
      raise tarfile.ReadError(f'a damaged header: {error}') from None


def tar(chunks: Iterator[bytes]) -> Iterator[tuple[str, Iterator[bytes] | None]]:
  """Yields (name, chunks, or None for a link or a device) of each member but folders.

  Archives that follow one another are one.

  Raises:
    tarfile.TarError: it is damaged or cut short.
  """
  # 'r|' reads from front to back: a stream that is decompressed cannot seek.
  with tarfile.open(
    fileobj=streams.Reader(chunks),
    mode='r|',
    bufsize=streams.CHUNK,
    errors='backslashreplace',
    ignore_zeros=True,
    tarinfo=_Header,
  ) as archive:
    for member in archive:
      if not member.isdir():
        file = archive.extractfile(member) if member.isfile() else None
        yield member.name, file and streams.chunks(file)
      archive.members = []  # pyrefly: ignore[missing-attribute] -- else it keeps all of them


def is_zip(head: bytes) -> bool:
  """Whether the bytes begin a zip archive."""
  return head.startswith((b'PK\x03\x04', b'PK\x05\x06', b'PK\x07\x08'))


def zip_(chunks: Iterator[bytes], file: Any = None) -> Iterator[tuple[str, Iterator[bytes] | None]]:
  """Yields as `tar`; a zip has its index at the end, so that what is a stream goes to the disk.

  Args:
    chunks: of the archive.
    file: that can seek, or None.

  Raises:
    zipfile.BadZipFile: it is damaged or cut short.
    Unread: a member is encrypted or compressed as Python cannot, or it is a document.
  """
  with contextlib.ExitStack() as stack:
    seekable = file or stack.enter_context(spooled(chunks))
    archive = stack.enter_context(_opened(seekable))
    names = archive.namelist()
    if '[Content_Types].xml' in names or names[:1] == ['mimetype']:
      raise Unread('an office document or e-book')
    locked = next((each.filename for each in archive.infolist() if each.flag_bits & 1), None)
    if locked is not None:
      raise Unread(f'a zip archive in which {locked} is encrypted')
    for member in archive.infolist():
      if member.is_dir():
        continue
      is_link = member.create_system == 3 and member.external_attr >> 28 == 0o12
      try:
        opened = None if is_link else archive.open(member)
      except (RuntimeError, NotImplementedError) as error:  # how it is compressed
        raise Unread(f'a zip archive with {member.filename}, not readable ({error})') from None
      with opened or contextlib.nullcontext():
        yield member.filename, opened and streams.chunks(opened)


def _opened(file):
  try:
    return zipfile.ZipFile(file)
  except (struct.error, ValueError, NotImplementedError) as error:  # damage in its index
    raise zipfile.BadZipFile(str(error)) from None


@contextlib.contextmanager
def spooled(chunks: Iterator[bytes]) -> Iterator[Any]:
  """Gives a temporary file with these chunks.

  Raises:
    OSError: it would take more than half of the disk that is free.
  """
  folder = tempfile.gettempdir()
  left = shutil.disk_usage(folder).free // 2
  with tempfile.NamedTemporaryFile() as file:
    for chunk in chunks:
      left -= len(chunk)
      if left < 0:
        raise OSError(
          errno.ENOSPC,
          f'it unpacks to more than half of the disk that is free in {folder}; unpack it by hand, '
          'or name a larger disk by TMPDIR',
        )
      file.write(chunk)
    file.seek(0)
    yield file
