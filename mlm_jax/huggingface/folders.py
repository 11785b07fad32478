"""Folders of the Hugging Face ecosystem: finding one, its config and its tensors, making one.

Weights are read from safetensors alone. A pickle can run any program, so none is opened.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import json
import os
import pathlib
import re
import shutil
from typing import Any

import numpy as np
import safetensors

from mlm_jax import config as config_lib

CONFIG, TENSORS = 'config.json', 'model.safetensors'
_INDEX = 'model.safetensors.index.json'
_PICKLES = re.compile(r'.*\.(bin|pt|pth|pkl|ckpt|bin\.index\.json)')
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
  folder = pathlib.Path(place)
  if (folder / 'snapshots').is_dir():
    return _snapshot(folder)
  if folder.is_dir():
    return folder
  # NAME or OWNER/NAME; what looks like a path, or is a file, is not asked of the hub.
  if not re.fullmatch(r'[\w-][\w.-]*(/[\w-][\w.-]*)?', str(place)) or folder.exists():
    raise config_lib.UserError(f'{place} is not a folder with {CONFIG} and {TENSORS}')
  return _download(str(place), log)


def _snapshot(folder: pathlib.Path) -> pathlib.Path:
  """Returns the snapshot of a model in the hub's cache that is called main, or else the newest."""
  reference = folder / 'refs' / 'main'
  if reference.is_file():
    # The cache names its snapshots by commit; a reference names one of them.
    found = folder / 'snapshots' / reference.read_text().strip()
    if found.is_dir():
      return found
  snapshots = sorted((folder / 'snapshots').iterdir(), key=lambda each: each.stat().st_mtime)
  if not snapshots:
    raise config_lib.UserError(f'{folder} has no snapshot; download the model again')
  return snapshots[-1]


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


def read_config(folder: pathlib.Path) -> dict[str, Any]:
  """Returns what config.json holds; UserError where it is missing or damaged."""
  path = folder / CONFIG
  try:
    theirs = json.loads(path.read_bytes())
  except OSError as error:
    raise config_lib.UserError(
      f'{folder} has no {CONFIG} ({error.strerror}); give a folder that save_pretrained has written'
    ) from None
  except ValueError as error:
    raise config_lib.UserError(f'{path} is damaged: {error}') from None
  if not isinstance(theirs, dict):
    raise config_lib.UserError(f'{path} is damaged: it must hold an object')
  return theirs


def read_tensors(folder: pathlib.Path) -> dict[str, np.ndarray]:
  """Returns {name: array as it is there} of model.safetensors or its shards.

  Raises:
    UserError: there is none, only a pickle, or a file that is cut short.
  """
  tensors = {}
  for path in _files(folder):
    try:
      with safetensors.safe_open(path, 'numpy') as file:
        tensors |= {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, TypeError, safetensors.SafetensorError) as error:
      raise config_lib.UserError(
        f'{path} is missing, damaged or cut short ({config_lib.one_line(error)}); download it again'
      ) from None
  return tensors


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns the paths of the safetensors files of a folder."""
  single, index = folder / TENSORS, folder / _INDEX
  if single.exists():
    return [single]
  if index.exists():
    try:
      # The index comes from outside and must not lead outside: a name with a folder in it could.
      names = sorted(set(json.loads(index.read_bytes())['weight_map'].values()))
      is_inside = all(pathlib.PurePath(name).name == name for name in names)
    except (ValueError, KeyError, AttributeError, TypeError):
      raise config_lib.UserError(f'{index} is damaged; download it again') from None
    if not is_inside:
      raise config_lib.UserError(f'{index} names files outside its folder; download it again')
    return [folder / name for name in names]
  pickles = sorted(each.name for each in folder.iterdir() if _PICKLES.fullmatch(each.name))
  if pickles:
    # A model in several pickles needs all of them in one command.
    pattern = folder / (
      'pytorch_model*.bin' if pickles[0].startswith('pytorch_model') else pickles[0]
    )
    raise config_lib.UserError(
      f'{folder / pickles[0]} is a pickle, which can run any program and is not opened; convert '
      'it: python -c '
      f'"import glob, torch, safetensors.torch as s; s.save_file({{n: t.clone() for f in '
      f"glob.glob('{pattern}') for "
      f"n, t in torch.load(f, weights_only=True).items()}}, '{single}')\""
    )
  raise config_lib.UserError(
    f'{folder} has no {TENSORS}; where there is only a pickle, such as pytorch_model.bin, put '
    'it there, and this command says how to convert it'
  )


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
  folder = pathlib.Path(folder).resolve()
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise config_lib.UserError(f'{folder} exists; choose another {flag}')
  # A neighbour, so that the rename stays on one file system.
  partial = folder.with_name(f'{folder.name}.partial-{os.getpid()}')
  try:
    partial.mkdir(parents=True)
    yield partial
    partial.rename(folder)
  except (OSError, safetensors.SafetensorError) as error:
    raise config_lib.UserError(
      f'cannot write {folder}: {config_lib.one_line(error)}; choose another {flag}'
    ) from error
  finally:
    shutil.rmtree(partial, ignore_errors=True)
