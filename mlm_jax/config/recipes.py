"""Configs from files: a recipe is a Python file with `get_config(variant=None)`.

It starts from `config.base()` and changes what differs; the command line changes it further.
"""

import ast
import importlib.util
import pathlib
import traceback

import ml_collections

from mlm_jax.config import checks
from mlm_jax.config import keys
from mlm_jax.config import presets
from mlm_jax.config.keys import UserError


def load(path, overrides=()):
  """Reads FILE[:variant], applies (key, text) overrides, checks; returns it locked."""
  path, variant = _split_variant(str(path))
  try:
    config = _run_recipe(path, variant)
    checks.check_form(config)
  except UserError as error:
    raise UserError(f'{path}: {error}') from None
  except (Exception, SystemExit) as error:  # a recipe is a program: it may raise anything
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    where = f' line {lines[-1]}' if lines else ''
    raise UserError(f'{path}{where}: {type(error).__name__}: {" ".join(str(error).split())}') from error
  return override(config, overrides)


def _split_variant(path):
  """Returns (the file, its variant or None); a file's name may have a colon too."""
  file, _, variant = path.rpartition(':')
  if pathlib.Path(path).is_file() or not file:
    file, variant = path, ''
  if not pathlib.Path(file).is_file():
    raise UserError(f'no such config file: {file}')
  if not file.endswith('.py'):
    raise UserError(f'{file} is no recipe: it must be a .py file with get_config(variant=None)')
  return file, variant or None


def _run_recipe(path, variant):
  """Returns what the get_config of a file returns."""
  spec = importlib.util.spec_from_file_location('recipe', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, 'get_config'):
    raise UserError('has no get_config(variant=None)')
  config = module.get_config(variant)
  if not isinstance(config, ml_collections.ConfigDict):
    raise UserError(f'get_config returned {config!r}; it must return the config (return c)')
  return config


def override(config, overrides=()):
  """Applies (dotted key, text) pairs, in their order, to a copy of the config and checks it."""
  config = config.copy_and_resolve_references()
  for key, text in overrides:
    if key == 'masking':   # the one group that has presets
      presets.apply(config.masking, text)
      continue
    group, name = keys.find(config, key)
    group[name] = _parse(key, text, group[name])
  checks.check(config)
  config.lock()
  return config


def _parse(key, text, present):
  """Reads text as the type that the setting has now."""
  kind = type(present)
  try:
    if kind is str:
      return text
    if kind is bool:
      return {'true': True, 'false': False}[text.lower()]
    if kind is tuple:
      value = ast.literal_eval(text)
      return tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return kind(text.replace('_', '')) if kind is int else kind(text)
  except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError):
    raise UserError(f'config.{key} = {text}: must be of type {kind.__name__}, such as {present!r}') from None
