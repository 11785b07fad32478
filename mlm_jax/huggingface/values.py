"""Values of a config.json: each of the type and in the range that it can mean something in.

They come from outside, and sizes decide what is allocated, so nothing is used before it was read
by what is here.
"""

from collections.abc import Callable
from collections.abc import Mapping
import dataclasses
import json
from typing import Any
from typing import NoReturn

from mlm_jax import config as config_lib

_SHOWN = 60  # characters of a value that an error shows


@dataclasses.dataclass(frozen=True)
class Number:
  """A number in config.json.

  Attributes:
    name: of the setting there.
    least, most: that it may be; far beyond what was ever published.
    default: what its absence means there; None where it must be there.
    is_whole: whether it counts something.
  """

  name: str
  least: float
  most: float
  default: float | None = None
  is_whole: bool = True

  def read(self, theirs: Mapping[str, Any]) -> Any:
    """Returns its value, int or float; UserError where it has none that can be."""
    if self.name not in theirs:
      if self.default is None:
        raise config_lib.UserError(f'config.json lacks {self.name}')
      return self.default
    value = theirs[self.name]
    is_kind = config_lib.is_number(value) and not (self.is_whole and isinstance(value, float))
    if not is_kind or not self.least <= value <= self.most:
      kind = 'a whole number' if self.is_whole else 'a number'
      refuse(theirs, self.name, f'{kind} from {_plain(self.least)} to {_plain(self.most)}')
    return value if self.is_whole else float(value)


def whole(name: str, least: int, most: int, default: int | None = None) -> Number:
  """Returns the Number of what is counted."""
  return Number(name, least, most, default)


def real(name: str, least: float, most: float, default: float | None = None) -> Number:
  """Returns the Number of what is measured."""
  return Number(name, least, most, default, is_whole=False)


def flag(theirs: Mapping[str, Any], name: str, default: bool) -> bool:
  """Returns a setting that is true or false."""
  value = theirs.get(name, default)
  return value if isinstance(value, bool) else refuse(theirs, name, 'true or false')


def choice(theirs: Mapping[str, Any], name: str, choices: Mapping[str, Any], default: str) -> Any:
  """Returns what a setting's text stands for in `choices`."""
  value = theirs.get(name, default)
  if not isinstance(value, str) or value not in choices:
    refuse(theirs, name, f'one of {", ".join(choices)}')
  return choices[value]


def refuse(theirs: Mapping[str, Any], name: str, allowed: str) -> NoReturn:
  """Raises UserError: the value of a setting cannot be."""
  raise config_lib.UserError(f'config.json: {name} = {shown(theirs.get(name))}: must be {allowed}')


def shown(value: object, spell: Callable[[object], str] = json.dumps) -> str:
  """Returns a value as config.json has it, or as `spell` has it, cut where it is long."""
  try:
    text = spell(value)
  except RecursionError:
    text = 'something deeply nested'
  return text if len(text) <= _SHOWN else f'{text[:_SHOWN]}...'


def _plain(number: float) -> str:
  return f'{number:,}' if isinstance(number, int) else f'{number:.6g}'
