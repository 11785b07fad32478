"""Lists of settings, and how they are combined.

Everything here takes and returns plain lists of {dotted key: value}, one dict per run:

  product(param('masking.rate', [0.15, 0.3]), seeds(3))                          6 runs
  chain(param('masking', ['bert', 'spanbert']), param('masking.unit', ['word'])) 3 runs
  zip(param('batch_size', [32, 64]), param('optim.learning_rate', [1e-3, 2e-3])) 2 runs

A sweep may thus also be written by hand, or with a list comprehension. Numbers of NumPy become
Python's: param('masking.rate', np.linspace(.1, .5, 5)).
"""

import builtins
from collections.abc import Iterable
from collections.abc import Sequence
import itertools
import math
from typing import Any

from mlm_jax.config import UserError
from mlm_jax.config import one_line

_MOST_SEEDS = 10_000
_MOST = 100_000  # runs of a list: more are a slip of the keyboard, or never end
# One run: {dotted key: value}.
Settings = dict[str, Any]


def param(key: str, values: Iterable[Any]) -> list[Settings]:
  """Returns one dict for each value of a setting; as `masking` the names of presets are values."""
  if not isinstance(key, str):
    raise UserError(f'param({key!r}, ...): the key must be text, such as masking.rate')
  values = _listed(values, f'param({key!r}, {values!r})')
  return [{key: value} for value in values]


def seeds(which: int | Iterable[int]) -> list[Settings]:
  """Returns one dict for each seed: for a number n the seeds 0 to n - 1, else those listed."""
  given = _plain(which)
  if type(given) is int and given > _MOST_SEEDS:
    raise UserError(f'seeds({given}): at most {_MOST_SEEDS:,}')
  listed = range(given) if type(given) is int else given  # not True, which is an int too
  return [{'seed': seed} for seed in _listed(listed, f'seeds({listed!r})')]


def product(*lists: list[Settings]) -> list[Settings]:
  """Returns every choice of one dict from each list, joined; the last list varies fastest."""
  _check(lists, 'product')
  if math.prod(map(len, lists)) > _MOST:
    raise UserError(f'product: {math.prod(map(len, lists)):,} runs; at most {_MOST:,}')
  return [_joined(dicts, 'product') for dicts in itertools.product(*lists)]


def zip(*lists: list[Settings]) -> list[Settings]:
  """Returns the first dicts of all lists joined, then the second ones, and so on."""
  _check(lists, 'zip')
  lengths = [len(each) for each in lists]
  if len(set(lengths)) > 1:
    raise UserError(f'zip: the lists must be of one length, not {", ".join(map(str, lengths))}')
  return [_joined(dicts, 'zip') for dicts in builtins.zip(*lists)]


def chain(*lists: list[Settings]) -> list[Settings]:
  """Returns the dicts of all lists one after another."""
  _check(lists, 'chain')
  return list(itertools.chain(*lists))


def _check(lists: Sequence[object], what: str) -> None:
  """Raises UserError where what is combined are no lists of settings."""
  is_settings = lambda each: isinstance(each, dict) and all(isinstance(key, str) for key in each)
  for each in lists:
    if not isinstance(each, list) or not all(map(is_settings, each)):
      raise UserError(
        f'{what}: {one_line(repr(each))}: must be a list of one dict {{dotted key: value}} per '
        'run, such as param and seeds return'
      )


def _listed(values: Iterable[Any], what: str) -> list[Any]:
  """Returns values as a list; UserError for text and single values, which are mistakes."""
  try:
    # A text is iterable too, but its letters are not what was meant.
    first = [] if isinstance(values, str) else itertools.islice(values, _MOST + 1)
    listed = list(map(_plain, first))
  except TypeError:
    listed = []
  if len(listed) > _MOST:
    raise UserError(f'{one_line(what)}: at most {_MOST:,} values')
  if not listed:
    raise UserError(f'{what}: needs a list of values')
  return listed


def _plain(value: Any) -> Any:
  """Returns a number or array of NumPy as Python's own; anything else as it is."""
  # Settings are compared, named and written as JSON, where np.float64(.1) is not .1.
  return value.tolist() if hasattr(value, 'tolist') else value


def _joined(dicts: Sequence[Settings], what: str) -> Settings:
  """Returns dicts as one; UserError where two of them have a key in common."""
  joined = {}
  for each in dicts:
    for key, value in each.items():
      if key in joined:
        raise UserError(f'{what}: config.{key} is set twice, to {joined[key]!r} and {value!r}')
      joined[key] = value
  return joined
