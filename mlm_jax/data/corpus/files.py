"""Files as a user names them: found by a glob, and recognised when they are the same again."""

import glob
import hashlib
import os

from mlm_jax import config

_ENDS = 1 << 20  # bytes at either end of a file that must be equal for it to be the same


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


def _unreadable(name, error):
  return config.UserError(f'cannot read {name}: {error.strerror or error}')
