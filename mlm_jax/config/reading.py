"""Files that came from somewhere: read as a whole, or refused in a line, and never waited for."""

import json
import math
import os
import stat
from typing import Any
from typing import BinaryIO

from mlm_jax.config.keys import UserError
from mlm_jax.config.keys import one_line


def read_bytes(path: str | os.PathLike[str]) -> bytes:
  """Returns what a file holds.

  Raises:
    UserError: it cannot be read, or is a pipe or a device, which may never end.
  """
  try:
    with _opened(path) as file:
      return file.read()
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror or error}') from None


def check_file(path: str | os.PathLike[str]) -> None:
  """Raises UserError where `read_bytes` would: before a library opens a file by its name."""
  try:
    _opened(path).close()
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror or error}') from None


def _opened(path: str | os.PathLike[str]) -> BinaryIO:
  file = open(path, 'rb', opener=without_waiting)
  if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
    file.close()
    raise UserError(f'cannot read {path}: it is a pipe or a device, and not a file')
  return file


def without_waiting(path: str, flags: int) -> int:
  """Opens a file for `open`, as its `opener`; who opens a pipe else waits for its other end."""
  return os.open(path, flags | os.O_NONBLOCK, 0o666)


def parse_json(text: str | bytes, finite: bool = True) -> Any:
  """Returns the value of a JSON text.

  Args:
    text: as said.
    finite: whether a number that is not is refused; JSON itself has none, Python writes them.

  Raises:
    ValueError: it is damaged, nested too deeply, or an object has a key twice: which of the two
      values counts nothing says, and programs differ in it.
  """
  refusals: dict[str, Any] = {'parse_constant': _refuse, 'parse_float': _finite} if finite else {}
  try:
    return json.loads(text, object_pairs_hook=_object, **refusals)
  except RecursionError:
    raise ValueError('it is nested too deeply') from None


def _refuse(text: str) -> Any:
  raise ValueError(f'{text} is no number')


def _finite(text: str) -> float:
  return float(text) if math.isfinite(float(text)) else _refuse(text[:20])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  found = dict(pairs)
  if len(found) < len(pairs):
    names = [name for name, _ in pairs]
    twice = next(name for name in names if names.count(name) > 1)
    raise ValueError(f'an object has the key {twice[:60]!r} twice')
  return found


def read_json(path: str | os.PathLike[str], mend: str = '', finite: bool = True) -> Any:
  """Returns the value in a JSON file.

  Args:
    path: of the file.
    mend: what can be done where it is damaged, for the message.
    finite: see `parse_json`.

  Raises:
    UserError: it cannot be read, or is damaged.
  """
  try:
    return parse_json(read_bytes(path), finite)
  except ValueError as error:
    raise UserError(
      f'{path} is damaged: {one_line(error)}' + (f'; {mend}' if mend else '')
    ) from None
