"""Settings named by dotted keys, such as masking.rate, and the error for wrong input."""

from collections.abc import Iterable
from collections.abc import Mapping
import difflib
import math
import os
from typing import Any
from typing import TypeGuard

import ml_collections

Config = ml_collections.ConfigDict


class UserError(Exception):
  """Wrong input: its one-line message says what is wrong and how to mend it."""


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
  """Returns the message for a key that does not exist, with the nearest that does."""
  known = list(known)
  last = key.split('.')[-1]
  # A typing error first; then the right name in the wrong group; then a typing error there.
  near = (
    difflib.get_close_matches(key, known, 1)
    or [k for k in known if k.split('.')[-1] == last]
    or difflib.get_close_matches(last, [k.split('.')[-1] for k in known], 1)
  )
  return f'unknown setting config.{key}' + (f'; did you mean config.{near[0]}?' if near else '')


def is_config(value: object) -> TypeGuard[Config]:
  """Whether a value is a config, of whatever settings."""
  return isinstance(value, ml_collections.ConfigDict)


def check_folder(name: str, path: Any) -> None:
  """Raises UserError where the argument `name` is no path, or an empty one."""
  if not isinstance(path, str | os.PathLike) or not os.fspath(path):
    raise UserError(f'{name} = {one_line(repr(path))}: must be a path')


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
