"""Files that are there as a whole or not at all, and hashes that prove them unaltered."""

import dataclasses
import errno
import hashlib
import io
import os
import pathlib
import re
from typing import Any
from typing import ClassVar
from typing import Protocol
from typing import TypeVar
import zipfile

import numpy as np


class _Dataclass(Protocol):
  """What every dataclass has."""

  __dataclass_fields__: ClassVar[dict[str, Any]]


_Holder = TypeVar('_Holder', bound=_Dataclass)


def fault(error: BaseException, place: object) -> str:
  """Returns in a few words why something could not be written to a place.

  Args:
    error: whatever was raised; libraries wrap what the system says in errors of their own.
    place: a file or folder.
  """
  number = _errno(error)
  if number in (errno.ENOSPC, errno.EDQUOT):
    what = 'no space left on' if number == errno.ENOSPC else 'the quota of disk space is used up on'
    return f'{what} {place}'
  place = getattr(error, 'filename', None) or place
  return f'cannot write to {place}: ' + (os.strerror(number) if number else _one_line(error))


def _one_line(error: BaseException) -> str:
  return ' '.join(str(error).split())[:200]


def _errno(error: BaseException | None) -> int:
  """Returns the number of the system's error behind an error, 0 where there is none."""
  while error is not None:
    if isinstance(error, OSError) and error.errno:
      return error.errno
    # As TensorStore has it, which Orbax writes with.
    if found := re.search(r"os_error_code='(\d+)'|\bos error (\d+)", str(error), re.IGNORECASE):
      return int(found[1] or found[2])
    error = error.__cause__ or error.__context__
  return 0


def write(path: str | os.PathLike, content: str | bytes) -> None:
  """Replaces a file as a whole, or leaves it as it was, whenever the process dies."""
  path = pathlib.Path(path)
  partial = path.with_name(path.name + '.partial')
  try:
    # On disk before it has its name: a crash must not leave an empty file in the other's place.
    with open(partial, 'wb') as file:
      file.write(content.encode() if isinstance(content, str) else content)
      file.flush()
      os.fsync(file.fileno())
    partial.rename(path)
  finally:
    partial.unlink(missing_ok=True)


def write_arrays(path: str | os.PathLike, holder: Any) -> None:
  """Writes the arrays that a dataclass or namespace holds as an .npz file, as `write` does.

  The same arrays give the same bytes, since no time is in them.
  """
  archive = io.BytesIO()
  np.savez(archive, **vars(holder))
  write(path, archive.getvalue())


def read_arrays(kind: type[_Holder], content: bytes) -> _Holder:
  """Returns the dataclass `kind` from the bytes of such a file; KeyError where it lacks one,
  ValueError where it is damaged."""
  arrays = read_npz(content)
  return kind(**{field.name: arrays[field.name] for field in dataclasses.fields(kind)})


def read_npz(content: bytes) -> dict[str, np.ndarray]:
  """Returns the arrays in the bytes of an .npz file as NumPy's `savez` writes it.

  None of them takes more memory than the bytes do, whatever the file says of its size.

  Raises:
    ValueError: it is damaged, or compressed.
  """
  try:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
      if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
        raise ValueError('its arrays are compressed')
      return {name.removesuffix('.npy'): _array(archive.read(name)) for name in archive.namelist()}
  # What the library raises of bytes that are no archive of the kinds that it reads.
  except (zipfile.BadZipFile, RuntimeError, EOFError, TypeError, OSError) as error:
    raise ValueError(f'it is no archive of arrays: {_one_line(error)}') from None


def _array(content: bytes) -> np.ndarray:
  """Returns the array in the bytes of an .npy file, which must be as many as its shape says."""
  file = io.BytesIO(content)
  np.lib.format.read_magic(file)
  shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
  array = np.ndarray(shape, dtype, content, file.tell(), order='F' if by_column else 'C')
  if array.nbytes != len(content) - file.tell():
    raise ValueError(f'an array of shape {shape} has {len(content) - file.tell()} bytes')
  return array.copy(order='K')


def sha256(path: str | os.PathLike) -> str:
  """Returns the hash of a file's content, in hexadecimal digits."""
  with open(path, 'rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def hashes(folder: str | os.PathLike, ignored: str) -> dict[str, str]:
  """Returns {path inside the folder: sha256} of every file below it, by path.

  Args:
    folder: to look through.
    ignored: files whose names begin so are left out: the manifest itself.
  """
  folder = pathlib.Path(folder)
  return {
    file.relative_to(folder).as_posix(): sha256(file)
    # Sorted by path, so that a manifest of the same files is the same text.
    for file in sorted(folder.rglob('*'))
    if file.is_file() and not file.name.startswith(ignored)
  }


def difference(recorded: dict[str, str], found: dict[str, str]) -> str:
  """Returns how the first file that is not as recorded differs, '' where all are as they were."""
  for name in sorted(set(recorded) | set(found)):
    if name not in found:
      return f'lacks {name}'
    if recorded.get(name) != found[name]:
      return f'has an altered {name}'
  return ''
