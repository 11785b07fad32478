"""A researcher's own functions and classes: settings that name one as module:name."""

import importlib
import os
import sys
from typing import Any

from mlm_jax.config import keys
from mlm_jax.config.keys import UserError


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


def error_text(error: BaseException) -> str:
  """Returns an error of a user's code as one line, with its type."""
  return keys.one_line(f'{type(error).__name__}: {error}', most=None)
