"""What a researcher adds from outside: a setting that names it as module:name."""

import importlib
import os
import sys

from mlm_jax.config.keys import UserError


def imported(setting, spec):
  """Returns what `spec`, module:name, names; it is imported as Python does, from the working
  directory too.

  Raises:
    UserError: it cannot be imported; names the setting, such as masking.selection.
  """
  module, _, name = spec.partition(':')
  if os.getcwd() not in sys.path:
    sys.path.append(os.getcwd())
  try:
    return getattr(importlib.import_module(module), name)
  except (Exception, SystemExit) as error:  # somebody's module may raise anything
    raise UserError(f'config.{setting} = {spec!r} cannot be imported ({said(error)})') from error


def said(error):
  """Returns an error of somebody's code as one line."""
  return ' '.join(f'{type(error).__name__}: {error}'.split())
