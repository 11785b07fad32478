"""Folders of the Hugging Face ecosystem: finding one, reading its JSON, making one."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import pathlib
import re
import shutil
from typing import Any

import safetensors

from mlm_jax import config as config_lib

CONFIG, TENSORS = 'config.json', 'model.safetensors'
INDEX = 'model.safetensors.index.json'
# No pickles: nothing here would read them.
_WANTED = ['*.json', '*.safetensors', '*.txt', '*.model']


def find(place: str | os.PathLike, log: Callable[[str], None] = print) -> pathlib.Path:
  """Returns the folder that a place names.

  Args:
    place: a folder; a folder of the hub's cache (models--NAME, with snapshots); or a name on the
      hub, which is downloaded.
    log: takes lines of text.

  Raises:
    UserError: it is neither, or cannot be downloaded.
  """
  if not os.fspath(place):  # it would be the current folder
    raise config_lib.UserError('the folder to import is an empty name; give its path')
  folder = pathlib.Path(place)
  try:
    if (folder / 'snapshots').is_dir():
      return _snapshot(folder)
    if folder.is_dir():
      list(folder.iterdir())  # a folder that may not be read says so here
      return folder
  except OSError as error:
    shown = config_lib.one_line(place)
    raise config_lib.UserError(f'cannot read {shown}: {error.strerror}') from None
  # NAME or OWNER/NAME; what looks like a path, or is a file, is not asked of the hub.
  if not re.fullmatch(r'[\w-][\w.-]*(/[\w-][\w.-]*)?', str(place)) or folder.exists():
    raise config_lib.UserError(f'{place} is not a folder with {CONFIG} and {TENSORS}')
  return _download(str(place), log)


def _snapshot(folder: pathlib.Path) -> pathlib.Path:
  """Returns the snapshot of a model in the hub's cache that is called main, or else the newest."""
  reference = folder / 'refs' / 'main'
  if reference.is_file():
    # The cache names its snapshots by commit; a reference names one of them.
    found = folder / 'snapshots' / reference.read_text(errors='replace').strip()
    if found.is_dir():
      return found
  snapshots = [each for each in (folder / 'snapshots').iterdir() if each.is_dir()]
  if not snapshots:
    raise config_lib.UserError(f'{folder} has no snapshot; download the model again')
  return max(snapshots, key=lambda each: each.stat().st_mtime)


def _download(name: str, log: Callable[[str], None]) -> pathlib.Path:
  import huggingface_hub  # slow to import, and rarely needed

  log(f'{name} is not a folder here: looked up as a name on the hub')
  try:
    return pathlib.Path(huggingface_hub.snapshot_download(name, allow_patterns=_WANTED))
  except Exception as error:  # it raises those of several libraries
    raise config_lib.UserError(
      f'{name} is not a folder here, and could not be downloaded from the hub '
      f'({config_lib.one_line(error)})'
    ) from None


def check_files(folder: pathlib.Path) -> None:
  """Raises UserError where what may be read is no file, such as a link that leads nowhere.

  The hub's cache links to its files, and one that was not downloaded whole leaves such links. What
  is no file would else be taken for one that is not there, whose place others take.
  """
  for path in sorted(each for pattern in _WANTED for each in folder.glob(pattern)):
    if path.is_symlink() and not path.exists():
      raise config_lib.UserError(
        f'{path} is a link to {os.readlink(path)}, which is not there; download it again'
      )
    config_lib.check_file(path)


def read_config(folder: pathlib.Path) -> dict[str, Any]:
  """Returns what config.json holds; UserError where it is missing or damaged."""
  path = folder / CONFIG
  if not path.exists():
    raise config_lib.UserError(
      f'{folder} has no {CONFIG}; give a folder that save_pretrained has written'
    )
  return read_object(path)


def read_object(path: pathlib.Path) -> dict[str, Any]:
  """Returns the object in a JSON file; UserError where it cannot be read or holds no such."""
  try:
    found = config_lib.parse_json(config_lib.read_bytes(path))
  except ValueError as error:
    raise config_lib.UserError(f'{path} is damaged: {config_lib.one_line(error)}') from None
  if not isinstance(found, dict):
    raise config_lib.UserError(f'{path} is damaged: it must hold an object')
  return found


@contextlib.contextmanager
def made(folder: str | os.PathLike, flag: str) -> Iterator[pathlib.Path]:
  """Yields a new folder to write into, which becomes `folder` at the end, whole or not at all.

  Args:
    folder: must not exist, or be empty.
    flag: the flag of the command line that errors name.

  Raises:
    UserError: it holds something, or cannot be written.
  """
  # Resolved, so that the rename at the end does not depend on the working directory.
  folder = pathlib.Path(os.path.realpath(folder))  # and not `resolve`, which raises at a loop
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise config_lib.UserError(f'{folder} exists; choose another {flag}')
  # A neighbour, so that the rename stays on one file system.
  partial = folder.with_name(f'{folder.name}.partial-{os.getpid()}')
  try:
    partial.mkdir(parents=True)
    yield partial
    _open_to_readers(partial)
    partial.rename(folder)
  except (OSError, safetensors.SafetensorError) as error:
    raise config_lib.UserError(
      f'cannot write {folder}: {config_lib.one_line(error)}; choose another {flag}'
    ) from error
  finally:
    shutil.rmtree(partial, ignore_errors=True)


def _open_to_readers(folder: pathlib.Path) -> None:
  """Lets others read what the umask lets them; safetensors writes for the owner alone."""
  # What a plain folder was given says what the umask allows; files are not executed.
  rights = folder.stat().st_mode & 0o666
  for path in folder.rglob('*'):
    if path.is_file():
      path.chmod(rights)
