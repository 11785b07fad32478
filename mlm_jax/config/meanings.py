"""What each setting means and what it may be, in words.

The meanings are the comments of config/settings, and are read from their text: they stand once.
"""

import ast
from collections.abc import Callable
import functools
import inspect
import types
from typing import Any

from mlm_jax.config import custom
from mlm_jax.config import defaults
from mlm_jax.config import limits
from mlm_jax.config import presets
from mlm_jax.config import registered


@functools.cache
def meanings(make: Callable[[], Any] = defaults.base) -> dict[str, str]:
  """Returns {dotted key of a setting or a group: what it means}, in the order of config/settings.

  Args:
    make: what makes the default config of a kind, see defaults.kind.
  """
  found = {}

  def read(function: types.FunctionType, prefix: str) -> None:
    text = inspect.getsource(function)
    (tree,) = ast.parse(text).body
    assert isinstance(tree, ast.FunctionDef)
    for node in tree.body:
      target = node.targets[0] if isinstance(node, ast.Assign) else None
      key = prefix + target.attr if isinstance(target, ast.Attribute) else ''
      group = _group(node, function)
      # A group's meaning is the docstring of the function that returns it. What is no attribute is
      # the config itself, with settings that kinds of configs share.
      if group and key:
        found[key] = ' '.join((inspect.getdoc(group) or '').split())
      if group:
        read(group, f'{key}.' if key else prefix)
      elif key:
        found[key] = _comment_above(text.splitlines(), node.lineno - 1)

  read(make, '')
  return found


def _group(node: ast.stmt, function: types.FunctionType) -> types.FunctionType | None:
  """Returns the function whose settings a line of another one takes over, None if it takes none."""
  if not isinstance(node, ast.Assign | ast.Expr) or not isinstance(node.value, ast.Call):
    return None
  call = node.value
  if isinstance(node, ast.Expr):  # data.update(_cleaning())
    if len(call.args) != 1 or not isinstance(call.args[0], ast.Call):
      return None
    call = call.args[0]
  found: Any = function.__globals__
  for name in ast.unparse(call.func).split('.'):
    found = found.get(name) if isinstance(found, dict) else getattr(found, name, None)
  return found if isinstance(found, types.FunctionType) else None


def _comment_above(lines: list[str], number: int) -> str:
  """Returns the comment that ends above a line as one line of text."""
  first = number
  while lines[first - 1].lstrip().startswith('#'):
    first -= 1
  return ' '.join(line.lstrip(' #') for line in lines[first:number])


def choices(key: str) -> tuple[str, ...]:
  """Returns the texts that a setting may be, () where they are not a list."""
  if key == 'masking':
    return tuple(presets.PRESETS)
  if key == 'data.tokenizer':
    return limits.TOKENIZERS
  if isinstance({**defaults.flat_of({'task': 0}), **defaults.flat()}.get(key), bool):
    return ('true', 'false')
  if key in registered.SETTINGS:
    return tuple(registered.choices(key))
  return limits.CHOICES.get(key, ())


def allowed(key: str) -> str:
  """Returns what a setting may be, '' where nothing is known but its type."""
  if names := choices(key):
    more = ', or module:name of yours' if key in custom.SETTINGS else ''
    more = ', or the path of a file' if key == 'data.tokenizer' else more
    return 'one of ' + ', '.join(name or "''" for name in names) + more
  if key in _OF_ITS_OWN:
    return _OF_ITS_OWN[key]
  return ' and '.join(filter(None, (_least(key), _most(key))))


# What `checks` compares by a rule of its own.
_OF_ITS_OWN = {
  'seed': 'at least 0 and below 2**32',
  'log.trackers': f"names of {', '.join(limits.TRACKERS)}, joined by commas, or ''",
  'model.attention_dropout': '-1, or at least 0 and at most 255/256',
}


def _least(key: str) -> str:
  """Returns the smallest number that a setting may be, in words."""
  if key in limits.ABOVE_0:
    return 'above 0'
  least = 0 if key in limits.FRACTIONS else limits.AT_LEAST.get(key)
  return '' if least is None else f'at least {least:g}'


def _most(key: str) -> str:
  """Returns the largest number that a setting may be, in words."""
  if key in limits.BELOW_1:
    return 'below 1'
  if key in limits.DROPOUTS:
    return 'at most 255/256'
  most = 1 if key in limits.FRACTIONS else limits.AT_MOST.get(key)
  # What float32 can hold is no limit that anybody meets.
  if most is None or most == limits.FLOAT32:
    return ''
  return f'at most {most:,}' if isinstance(most, int) else f'at most {most:g}'


def readers(key: str) -> list[str]:
  """Returns the conditions under which alone a setting is read, [] where it always is."""
  return [
    f'{other} is {" or ".join(values)}'
    for read, other, values in (*registered.readers(), *limits.READ_WITH)
    if read == key
  ]


def kind(value: Any) -> str:
  """Returns the type of a setting in a word, as it is given on the command line."""
  names = {str: 'text', int: 'whole number', float: 'number', bool: 'true or false', tuple: 'list'}
  return names[type(value)]
