"""Settings spoken of by dotted keys, and the error for what cannot be one."""

import difflib
import math

import ml_collections


class UserError(Exception):
  """Wrong input: its one-line message says what is wrong and how to mend it."""


def one_line(error: object, most: int = 200) -> str:
  """Returns an error's message as one line of at most so many characters."""
  return ' '.join(str(error).split())[:most]


def flatten(config):
  """Returns {dotted key: value} in the config's order."""
  flat = {}
  for key, value in config.items():
    if isinstance(value, (ml_collections.ConfigDict, dict)):
      flat.update({f'{key}.{name}': v for name, v in flatten(value).items()})
    else:
      flat[key] = value
  return flat


def find(config, key):
  """Returns (the group, the last name) of a dotted key, or names the nearest."""
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


def unknown_key(key, known):
  """Returns the message for a key that does not exist, with the nearest that does."""
  last = key.split('.')[-1]
  near = (
    difflib.get_close_matches(key, known, 1)
    or [k for k in known if k.split('.')[-1] == last]
    or difflib.get_close_matches(last, [k.split('.')[-1] for k in known], 1)
  )
  return f'unknown setting config.{key}' + (f'; did you mean config.{near[0]}?' if near else '')


def is_config(value):
  """Whether a value is a config, of whatever settings."""
  return isinstance(value, ml_collections.ConfigDict)


def is_number(value):
  """Whether a value is a finite number, and no bool."""
  return type(value) in (int, float) and -math.inf < value < math.inf


def as_tuples(value):
  """Returns what JSON made of tuples, also inside a stage, as tuples again."""
  if isinstance(value, dict):
    return {key: as_tuples(each) for key, each in value.items()}
  return tuple(map(as_tuples, value)) if isinstance(value, (list, tuple)) else value
