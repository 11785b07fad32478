"""Files: found by a glob, told apart from what they were, opened."""

from collections.abc import Iterator
import contextlib
import glob
import hashlib
import os

from mlm_jax import config

_ENDS = 1 << 20  # bytes at either end of a file that must be equal for it to be the same
_LONGEST = 300  # characters of a name in a message


def find(pattern: str, kind: str = 'text') -> list[str]:
  """Returns the sorted paths of the files that a glob, or the exact name of a file, matches.

  `kind` is that of the source, as it is written before the glob. What links lead to more than
  once on the way down (`**`) is named once.

  Raises:
    UserError: none does, or a folder on the way cannot be read.
  """
  found = [path for path in _matches(pattern) if os.path.isfile(path)]
  # A folder is the most common mistake; what to write in its place is known.
  if not found and os.path.isdir(os.path.expanduser(pattern)):
    ending = {'text': 'txt'}.get(kind, kind)
    raise config.UserError(
      f'{kind}:{pattern} is a folder; write {kind}:{pattern.rstrip("/")}/*.{ending} '
      f'or, with its subfolders, /**/*.{ending}'
    )
  shown = f'{kind}:{pattern}' if len(pattern) < _LONGEST else f'{kind}:{pattern[:_LONGEST]}...'
  if not found and not_files(pattern):
    raise config.UserError(
      f'{shown} is not a file, but a link that leads nowhere, a pipe, a socket or a device; '
      'give the path of a file'
    )
  if not found:
    raise config.UserError(
      f'{shown} matches no file (seen from {os.getcwd()}); give the path of a file or a quoted glob'
    )
  return found


def is_named(pattern: str) -> bool:
  """Whether it is the name of one file, and no glob."""
  return os.path.isfile(os.path.expanduser(pattern))


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
  for folder in glob.glob(os.path.join(os.path.dirname(pattern), ''), recursive=True):
    try:
      os.scandir(folder).close()  # what a glob leaves out without a word
    except OSError as error:
      raise unreadable(folder, error) from None
  found = sorted(glob.glob(pattern, recursive=True))
  if '**' not in pattern:
    return found
  # The shortest name first, which no link has lengthened.
  places = {}
  for path in sorted(found, key=lambda path: (len(path), path)):
    folder, name = os.path.split(path)
    places.setdefault((os.path.realpath(folder), name), path)
  return sorted(places.values())


def described(path: str) -> tuple[str, int, str]:
  """Returns (path, bytes, sha256 of the first and the last MiB): cheap, and shows most edits."""
  try:
    size = os.path.getsize(path)
    if not os.path.isfile(path):  # to open a pipe would wait for ever
      raise config.UserError(f'{path} is not a file')
    with open(path, 'rb') as file:
      # Of a file shorter than two of them, the parts overlap, which does no harm.
      digest = hashlib.sha256(file.read(_ENDS))
      file.seek(max(0, size - _ENDS))
      digest.update(file.read(_ENDS))
  except OSError as error:
    raise unreadable(path, error) from None
  return path, size, digest.hexdigest()


@contextlib.contextmanager
def unchanged(path: str) -> Iterator[None]:
  """Raises UserError where a file is another one, or is gone, when what is done with it is done."""
  try:
    before = _state(path)
    yield
    after = _state(path)
  except OSError as error:
    raise unreadable(path, error) from None
  if after != before:
    raise config.UserError(
      f'{path} was changed while it was read; start again when nothing writes to it'
    )


def _state(path):
  found = os.stat(path)
  return found.st_ino, found.st_size, found.st_mtime_ns


def unreadable(name: str, error: OSError) -> config.UserError:
  """Returns the error for a file that the system does not give."""
  return config.UserError(f'cannot read {name}: {error.strerror or error}')
