"""Configs from files: a recipe is a Python file with `get_config(variant=None)`.

It starts from `config.base()` and changes what differs; the command line changes it further. Those
that come with the package are found by their names. The config.json of a run is a config too.
"""

import ast
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import difflib
import importlib.util
import os
import pathlib
import traceback
from typing import Any

from mlm_jax.config import checks
from mlm_jax.config import custom
from mlm_jax.config import defaults
from mlm_jax.config import initial
from mlm_jax.config import keys
from mlm_jax.config import presets
from mlm_jax.config import reading
from mlm_jax.config import saved
from mlm_jax.config import shipped
from mlm_jax.config.keys import Config
from mlm_jax.config.keys import UserError


def load(
  path: str | os.PathLike[str],
  overrides: Iterable[tuple[str, str]] = (),
  allow_code: Collection[str] = (),
) -> Config:
  """Returns the config of RECIPE[:variant] or of a saved FILE.json, checked and locked.

  Args:
    path: of the recipe's file, or the name of one that comes with the package, such as bert_base;
      the variant is passed to its get_config.
    overrides: (dotted key, text) pairs, as on the command line.
    allow_code: each module:name of a FILE.json that may be executed, besides what `overrides`
      name. A recipe is the user's own program, and names what it likes.

  Raises:
    UserError: no such file, whatever is wrong in it, settings that cannot work, or code that is not
      allowed.
  """
  path, variant = _split_variant(str(path))
  overrides = list(overrides)
  if path.endswith('.json'):  # `received` has checked its form
    config = saved.received(reading.read_bytes(path), path)
    config = override(saved.with_own_tokenizer(config, pathlib.Path(path).parent), overrides)
    custom.check_allowed(config, {*allow_code, *(text for _, text in overrides)}, path)
    return config
  config = call(path, 'get_config', variant)
  if not keys.is_config(config):
    # The most common cause: a get_config that ends without `return c`.
    raise UserError(f'{path}: get_config returned {config!r}; it must return the config (return c)')
  # Before the overrides: the form is the recipe's fault, and its name belongs to the message.
  try:
    checks.check_form(config)
  except UserError as error:
    raise UserError(f'{path}: {error}') from None
  return override(config, overrides)


def call(path: str | os.PathLike[str], function: str, *arguments: Any) -> Any:
  """Returns what a function of a Python file returns.

  Raises:
    UserError: whatever goes wrong, with the file and the line; the file is a program and may
      raise anything.
  """
  path = str(path)
  spec = importlib.util.spec_from_file_location('recipe', path)
  assert spec is not None and spec.loader is not None  # None only for a name that is not *.py
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
    if not hasattr(module, function):
      raise UserError(f'has no {function}({"variant=None" if arguments else ""})')
    return getattr(module, function)(*arguments)
  except UserError as error:
    raise UserError(f'{path}: {error}') from None
  except (Exception, SystemExit) as error:
    # The innermost line of the recipe itself; the error may come from a library below it.
    lines = [
      frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path
    ]
    where = f' line {lines[-1]}' if lines else ''
    raise UserError(
      f'{path}{where}: {type(error).__name__}: {keys.one_line(error, most=None)}'
    ) from error


def _split_variant(path: str) -> tuple[str, str | None]:
  """Returns (the file, its variant or None); a file's name may have a colon too."""
  file, _, variant = path.rpartition(':')
  if os.path.isfile(path) or not file:
    file, variant = path, ''
  if not os.path.isfile(file):  # False also for a name that no file can have
    file = _shipped(file)
  if not file.endswith('.py') and (variant or not file.endswith('.json')):
    raise UserError(
      f'{file} is not a recipe: it must be a .py file with get_config(variant=None), or the '
      'config.json of a run'
    )
  return file, variant or None


def _shipped(name: str) -> str:
  """Returns the file of the recipe of the package that has this name.

  Raises:
    UserError: there is none; names the nearest.
  """
  known = shipped.names()
  if name in known:
    return str(shipped.path(name))
  # Also where the path of a recipe in a checkout is given and there is no checkout.
  near = difflib.get_close_matches(pathlib.Path(name).stem, known, 3)
  hint = f'; did you mean {" or ".join(near)}?' if near else ''
  raise UserError(
    f'no such config file: {name} (looked for from {pathlib.Path.cwd()}), and no recipe of that '
    f'name{hint or "; mlm-jax config --list shows all"}'
  )


def override(config: Config, overrides: Iterable[tuple[str, str]] = ()) -> Config:
  """Returns a copy of the config with (dotted key, text) pairs applied in order, checked, locked.

  What the config leaves open comes from the run in `init_from` before all else is applied.

  Raises:
    UserError: an unknown setting, text that is not of its type, or settings that cannot work.
  """
  config, overrides = config.copy_and_resolve_references(), list(overrides)
  config.init_from = dict(overrides).get('init_from', config.init_from)
  initial.fill(config)
  for key, text in overrides:
    if key == 'masking':  # the one group that has presets
      presets.apply(config.masking, text)
      continue
    group, name = keys.find(config, key)
    group[name] = _parse(key, text, group[name])
  checks.check(config)
  config.lock()
  return config


def overlay(config: Config, settings: Mapping[str, Any]) -> Config:
  """Returns a copy of the config with {dotted key: value} laid over it, checked and locked.

  The values have the types of the settings; an int is accepted for a float.
  `masking`, the name of a preset, is applied before settings of that group, whatever their order,
  and so is what the config leaves open, from the run in `init_from`.

  Raises:
    UserError: an unknown setting, a value of another type, or settings that cannot work.
  """
  # A run's own config is locked against mistakes; the copy may be changed.
  config = config.copy_and_resolve_references()
  config.unlock()
  if 'init_from' in settings:
    config.init_from = _converted('init_from', settings['init_from'], config.init_from)
  initial.fill(config)
  if 'masking' in settings:
    presets.apply(config.masking, str(settings['masking']))
  for key, value in settings.items():
    if key != 'masking':
      group, name = keys.find(config, key)
      group[name] = _converted(key, value, group[name])
  checks.check(config)
  config.lock()
  return config


def _converted(key: str, value: Any, present: Any) -> Any:
  """Returns a value as the setting's type has it; UserError for one of another type."""
  kind = type(present)
  value = keys.as_tuples(value)
  # A bool is an int to Python, but not to a reader: types are compared, not instances.
  if kind is float and type(value) is int:
    return float(value)
  if type(value) is not kind:
    raise UserError(
      f'config.{key} = {value!r}: must be of type {kind.__name__}, such as {present!r}'
    )
  return value


def masking(settings: Mapping[str, Any]) -> Config:
  """Returns the group `masking` of the default config, changed by {name: value} and checked."""
  config = defaults.base()
  # Collocations and classes come with the data, of which nothing is known here: allow both.
  config.data.update(collocations=1, classes='any')
  for name, value in settings.items():
    group, last = keys.find(config, f'masking.{name}')
    try:
      group[last] = value
    except TypeError:
      raise UserError(
        f'config.masking.{name} = {value!r}: must be of type {type(group[last]).__name__}, '
        f'such as {group[last]!r}'
      ) from None
  checks.check(config)
  return config.masking


def _parse(key: str, text: str, present: Any) -> Any:
  """Reads text as the type that the setting has now."""
  kind = type(present)
  try:
    if kind is str:  # no quotes are needed, nor removed
      return text
    if kind is bool:
      return {'true': True, 'false': False}[text.lower()]
    if kind is tuple:
      # A single value needs no comma: --config.data.weights=1.
      value = ast.literal_eval(text)
      return tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return kind(text.replace('_', '')) if kind is int else kind(text)
  except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError):
    raise UserError(
      f'config.{key} = {text}: must be of type {kind.__name__}, such as {present!r}'
    ) from None
