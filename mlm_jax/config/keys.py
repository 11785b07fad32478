"""Settings named by dotted keys, such as masking.rate, and the error for wrong input."""

from collections.abc import Iterable
from collections.abc import Mapping
import difflib
import errno
import math
import os
from typing import Any
from typing import TypeGuard

import ml_collections

from mlm_jax.config import synonyms

Config = ml_collections.ConfigDict
_MOST = 1_500  # characters of a message: what is quoted in it may be of any length


class UserError(Exception):
  """Wrong input: its one-line message says what is wrong and how to mend it."""

  def __init__(self, message: object):
    # What is quoted in it may have many lines, such as an array, or none that ends.
    text = one_line(message, most=None)
    half = _MOST // 2
    super().__init__(text if len(text) <= _MOST else f'{text[:half]} ... {text[-half:]}')

  def _render_traceback_(self) -> list[str]:
    """Returns what a notebook shows in place of a traceback: IPython asks for it by this name."""
    return [f'{type(self).__name__}: {self}']


class Fatal(UserError):
  """One after which a program ends at once: it leaves threads that may speak, or never end."""


def one_line(error: object, most: int | None = 200) -> str:
  """Returns an error's message as one line of at most `most` characters; None = no limit."""
  return ' '.join(str(error).split())[:most]


def flatten(config: Config | Mapping[str, Any]) -> dict[str, Any]:
  """Returns {dotted key: value} in the config's order."""
  flat = {}
  for key, value in config.items():
    if isinstance(value, (ml_collections.ConfigDict, dict)):
      flat.update({f'{key}.{name}': v for name, v in flatten(value).items()})
    else:
      flat[key] = value
  return flat


def find(config: Config, key: str) -> tuple[Config, str]:
  """Returns (the group, the last name) of a dotted key.

  Raises:
    UserError: there is no such setting, the nearest is named; or the key is that of a group.
  """
  *groups, name = key.split('.')
  group = config
  for part in groups:
    group = group.get(part) if isinstance(group, ml_collections.ConfigDict) else None
  if not isinstance(group, ml_collections.ConfigDict) or name not in group:
    raise UserError(unknown_key(key, flatten(config)))
  if isinstance(group[name], ml_collections.ConfigDict):
    raise UserError(
      f'config.{key} is a group; set one of: '
      + ', '.join(f'config.{key}.{each}' for each in group[name])
    )
  return group, name


def unknown_key(key: str, known: Iterable[str]) -> str:
  """Returns the message for a key that does not exist, with the settings that may be meant."""
  near = _meant(key, list(known))
  hint = f'; did you mean {" or ".join(f"config.{each}" for each in near)}?' if near else ''
  return f'unknown setting config.{key}{hint}'


def _meant(key: str, known: list[str]) -> list[str]:
  """Returns the settings that a key which is none may mean, [] where nothing is like it."""
  *groups, last = key.split('.')
  # The right name without its group, or in another one.
  if same := [each for each in known if each.split('.')[-1] == last]:
    return difflib.get_close_matches(key, same, 1, cutoff=0) if groups else same
  # A typing error; then what others call it; then with less likeness.
  lasts = {each.split('.')[-1]: each for each in reversed(known)} | synonyms.SYNONYMS
  for text, names, cutoff in ((key, known, 0.85), (last, lasts, 0.8), (key, known, 0.6)):
    if near := difflib.get_close_matches(text.lower(), names, 1, cutoff):
      return [lasts.get(near[0], near[0])]
  return [lasts[each] for each in difflib.get_close_matches(last, lasts, 1)]


def is_config(value: object) -> TypeGuard[Config]:
  """Whether a value is a config, of whatever settings."""
  return isinstance(value, ml_collections.ConfigDict)


def check_folder(name: str, path: Any) -> None:
  """Raises UserError where the argument `name` is no path, an empty one, or one that cannot be."""
  text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
  if not isinstance(text, str) or not text.strip() or '\0' in text:
    raise UserError(f'{name} = {one_line(repr(path))}: must be a path')
  # Of these two `pathlib` says nothing or raises, by what is asked of it; all else is looked for.
  try:
    os.lstat(text)
  except OSError as error:
    if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
      raise UserError(f'{name} = {one_line(repr(path))}: {error.strerror}') from None


def is_number(value: object) -> TypeGuard[int | float]:
  """Whether a value is a finite number and not a bool."""
  # By exact type, since a bool is an int; compared, since math.isfinite overflows on long ints.
  exact = type(value) in (int, float)
  return exact and isinstance(value, int | float) and -math.inf < value < math.inf


def as_tuples(value: Any) -> Any:
  """Returns a value with tuples where JSON has lists, also inside a stage."""
  if isinstance(value, dict):
    return {key: as_tuples(each) for key, each in value.items()}
  return tuple(map(as_tuples, value)) if isinstance(value, (list, tuple)) else value
