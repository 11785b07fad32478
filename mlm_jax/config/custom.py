"""A researcher's own functions and classes: settings that name one as module:name.

To import a module is to execute it. A config that somebody wrote may be received from somebody
else, so what the config.json of a run names is executed only where the user names it too.
"""

from collections.abc import Collection
import importlib
import importlib.machinery
import os
import pathlib
import sys
from typing import Any

from mlm_jax.config import keys
from mlm_jax.config.keys import Config
from mlm_jax.config.keys import UserError

SETTINGS = ('masking.selection', 'data.classes')  # those that may name code


def imported(setting: str, spec: str) -> Any:
  """Returns the object that `spec`, a text module:name, names.

  It is imported as Python does, from the working directory too.

  Raises:
    UserError: it cannot be imported; names the setting, such as masking.selection.
  """
  module, _, name = spec.partition(':')
  # An installed `mlm-jax` does not have the working directory on its path; `python -m` has.
  if os.getcwd() not in sys.path:
    sys.path.append(os.getcwd())
  try:
    return getattr(importlib.import_module(module), name)
  except (Exception, SystemExit) as error:  # a user's module may raise anything
    raise UserError(
      f'config.{setting} = {spec!r} cannot be imported ({error_text(error)})'
    ) from error


def own_code(config: Config, settings: Collection[str] = SETTINGS) -> dict[str, str]:
  """Returns {setting: module:name} of the code that a config names."""
  flat = keys.flatten(config)
  return {key: flat[key] for key in settings if ':' in flat.get(key, '')}


def check_allow_code(allow_code: Any) -> None:
  """Raises UserError where the argument of this name is no collection of texts."""
  is_many = isinstance(allow_code, Collection) and not isinstance(allow_code, str | bytes)
  if not is_many or not all(isinstance(each, str) for each in allow_code):
    raise UserError('allow_code must be a list of texts, module:name')


def check_allowed(
  config: Config, allowed: Collection[str], place: object, settings: Collection[str] = SETTINGS
) -> None:
  """Raises UserError where a config from a file names code that the user has not named.

  Args:
    config: as it was received.
    allowed: each module:name that the user named.
    place: where the config is from, for the message.
    settings: those of which the code would be executed.
  """
  for key, spec in own_code(config, settings).items():
    check_spec(key, spec, allowed, place)


def check_spec(key: str, spec: str, allowed: Collection[str], place: object) -> None:
  """Raises UserError where a setting from a file names code that the user has not named."""
  if ':' in spec and spec not in allowed:
    found = source(spec.partition(':')[0])
    raise UserError(
      f'{place} names code: config.{key} = {spec!r} would execute '
      f'{found or "a module that is not found here"}; where you trust it, allow that with '
      f'--allow-code={spec} (from Python: allow_code=[{spec!r}])'
    )


def source(module: str) -> pathlib.Path | None:
  """Returns the file that a module would be imported from; nothing is executed to find it.

  None where there is no such module or it has no file.
  """
  if file := getattr(sys.modules.get(module), '__file__', None):
    return pathlib.Path(file)
  places, spec = [*sys.path, os.getcwd()], None
  parts = module.split('.')
  for number in range(1, len(parts) + 1):
    # Not importlib.util.find_spec, which imports the packages above the module.
    try:
      spec = importlib.machinery.PathFinder.find_spec('.'.join(parts[:number]), places)
      places = list(spec.submodule_search_locations or ()) if spec else []
    except (KeyError, ImportError, ValueError, OSError):
      return None
  found = pathlib.Path(spec.origin) if spec and spec.origin else None
  return found if found and found.is_file() else None


def error_text(error: BaseException) -> str:
  """Returns an error of a user's code as one line, with its type."""
  return keys.one_line(f'{type(error).__name__}: {error}', most=None)
