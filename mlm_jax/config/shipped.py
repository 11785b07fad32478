"""The recipes that come with the package, found by their names wherever it is installed."""

import ast
import pathlib

_PACKAGE = pathlib.Path(__file__).parents[1]
# Where setup.py puts the recipes in a wheel; in a checkout they lie beside the package.
_PLACES = (_PACKAGE / 'configs', _PACKAGE.parent / 'configs')


def folder() -> pathlib.Path:
  """Returns the folder of the recipes."""
  return next((place for place in _PLACES if place.is_dir()), _PLACES[0])


def names() -> list[str]:
  """Returns the names of the recipes, such as bert_base."""
  here = folder()
  return sorted(path.relative_to(here).with_suffix('').as_posix() for path in here.rglob('*.py'))


def path(name: str) -> pathlib.Path:
  """Returns the file of the recipe of that name."""
  return folder() / f'{name}.py'


def summary(name: str) -> str:
  """Returns the first line of a recipe's docstring; the recipe is not executed."""
  text = ast.get_docstring(ast.parse(path(name).read_text(encoding='utf-8')))
  return (text or '').partition('\n')[0]
