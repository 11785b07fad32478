"""What a run keeps of the folder that it was imported from, so that export gives the same bytes."""

from collections.abc import Mapping
import json
import os
import pathlib
import re

import numpy as np
import safetensors.numpy

from mlm_jax import config as config_lib

_FOLDER = 'huggingface'  # in the run's folder
_CONFIG, _NAMES, _REST = 'config.json', 'names.json', 'rest.safetensors'
_CARD = 'README.md'


def write(
  workdir: str | os.PathLike,
  config: bytes,
  placed: Mapping[str, tuple[str, str]],
  rest: dict[str, np.ndarray],
) -> None:
  """Writes what a run keeps into its folder.

  Args:
    workdir: of the run.
    config: the bytes of config.json.
    placed: {name there: (name of today, dtype there)} of the tensors that became parameters.
    rest: {name there: array} of those that have no place in a run, such as a pooler.
  """
  folder = pathlib.Path(workdir) / _FOLDER
  # Three files, all that the run itself has no place for.
  folder.mkdir()
  (folder / _CONFIG).write_bytes(config)
  (folder / _NAMES).write_text(json.dumps(placed, indent=1) + '\n')
  safetensors.numpy.save_file(rest, folder / _REST)


def keep_card(workdir: str | os.PathLike, place: str | os.PathLike) -> None:
  """Keeps the model card of the folder `place`, where it has one."""
  card = pathlib.Path(place) / _CARD
  if card.is_file():
    (pathlib.Path(workdir) / _FOLDER / _CARD).write_bytes(config_lib.read_bytes(card))


def licence(workdir: str | os.PathLike) -> str:
  """Returns the licence that the model card there names, '' where none is known."""
  card = pathlib.Path(workdir) / _FOLDER / _CARD
  text = config_lib.read_bytes(card).decode(errors='replace') if card.is_file() else ''
  # The facts of a card stand between two lines of dashes, at its head.
  head = re.match(r'---\s*\n(.*?)\n---', text, re.DOTALL)
  found = head and re.search(r'^license:[ \t]*["\']?([\w.-]+)', head[1], re.MULTILINE)
  return found[1] if found else ''


def is_in(workdir: str | os.PathLike) -> bool:
  """Whether the run was imported."""
  return (pathlib.Path(workdir) / _FOLDER).is_dir()


def restored(
  workdir: str | os.PathLike, tensors: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], bytes]:
  """Returns ({name there: array as it was there}, the bytes of config.json).

  Args:
    workdir: of the run.
    tensors: {name of today: float32 array}.

  Raises:
    UserError: what was kept is damaged.
  """
  folder = pathlib.Path(workdir) / _FOLDER
  try:
    placed = config_lib.read_json(folder / _NAMES)
    # Back to the dtype they came in: exact, since float32 holds every float16 and bfloat16.
    found = {was: tensors[now].astype(np.dtype(dtype)) for was, (now, dtype) in placed.items()}
    return found | rest(workdir), config_lib.read_bytes(folder / _CONFIG)
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise config_lib.UserError(f'{folder} is damaged ({error!r}); import the run again') from None


def rest(workdir: str | os.PathLike) -> dict[str, np.ndarray]:
  """Returns {name there: array} of what had no place in the run; {} where it was not imported."""
  path = pathlib.Path(workdir) / _FOLDER / _REST
  try:
    if not is_in(workdir):
      return {}
    config_lib.check_file(path)  # the library would wait for a pipe
    return safetensors.numpy.load_file(path)
  except (OSError, safetensors.SafetensorError) as error:
    raise config_lib.UserError(f'{path} is damaged ({error}); import the run again') from None
