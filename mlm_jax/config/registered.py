"""What masking.unit, masking.selection and masking.schedule may be: the classes in their files.

The config is below masking and imports nothing of it, so it reads the files' text: a choice is a
class that derives from the base of its kind, called by its name in small letters, and what it
says about settings and data are the plain literals in its body.
"""

import ast
import functools
import pathlib
import re
from typing import Any
from typing import NamedTuple

_PACKAGE = pathlib.Path(__file__).parents[1]
# By setting: where the classes are, and the base that they derive from.
_PLACES = {
  'masking.unit': ('masking/units', 'Unit'),
  'masking.selection': ('masking/selections', 'Selection'),
  'masking.schedule': ('masking/schedules.py', 'Schedule'),
}


class Choice(NamedTuple):
  """A class that a setting can name.

  Attributes:
    module: its module's dotted name.
    name: its own.
    reads: settings of the group `masking` that only it and others that say so read.
    needs: what the data must be prepared with, settings of the group `data`.
    many_tokens: of a unit, whether it may have more than one token.
  """

  module: str
  name: str
  reads: tuple[str, ...] = ()
  needs: tuple[str, ...] = ()
  many_tokens: bool = True


SETTINGS = tuple(_PLACES)


@functools.cache
def choices(setting: str) -> dict[str, Choice]:
  """Returns {value: Choice} of a setting, by the names of the files."""
  place, base = _PLACES[setting]
  path = _PACKAGE / place
  found = {}
  for file in [path] if path.suffix else sorted(path.glob('[!_]*.py')):
    module = '.'.join((_PACKAGE.name, *file.relative_to(_PACKAGE).with_suffix('').parts))
    for node in ast.parse(file.read_text(encoding='utf-8')).body:
      if isinstance(node, ast.ClassDef) and any(_last(each) == base for each in node.bases):
        value = re.sub(r'(?<!^)(?=[A-Z])', '_', node.name).lower()
        found[value] = Choice(module, node.name, **_said(node))
  return found


def needs(masking) -> list[tuple[str, str, str]]:
  """Returns (setting, its value, setting of `data` that it needs) of a config's group `masking`."""
  return [
    (setting, masking[name], need)
    for setting, name in ((each, each.split('.')[1]) for each in SETTINGS)
    if masking[name] in choices(setting)
    for need in choices(setting)[masking[name]].needs
  ]


def readers() -> list[tuple[str, str, tuple[str, ...]]]:
  """Returns (a setting, another, the values of the other with which alone the first is read)."""
  found: dict[tuple[str, str], list[str]] = {}
  for setting in SETTINGS:
    for value, choice in choices(setting).items():
      for name in choice.reads:
        found.setdefault((f'masking.{name}', setting), []).append(value)
  return [(read, setting, tuple(values)) for (read, setting), values in found.items()]


def _last(node: ast.expr) -> str:
  """Returns the last part of a dotted name."""
  return node.attr if isinstance(node, ast.Attribute) else getattr(node, 'id', '')


def _said(node: ast.ClassDef) -> dict[str, Any]:
  """Returns what a class says about settings and data."""
  names = [each for each in Choice._fields if each in Choice._field_defaults]
  return {
    target.id: ast.literal_eval(each.value)
    for each in node.body
    if isinstance(each, ast.Assign)
    for target in each.targets
    if isinstance(target, ast.Name) and target.id in names
  }
