"""Names of arms and runs: what was set, in characters that are safe in the name of a file.

A part that had to be changed for that, or cut, ends in a digest of its original text, so that
different settings have different names.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import hashlib
import json
import re
from typing import Any

_VALUE, _ARM = 40, 160  # characters at most; file systems allow 255, of which the seed needs some


def arm(settings: Mapping[str, Any], keys: Sequence[str]) -> str:
  """Returns the name of all settings but the seed, such as unit=word_rate=0.3.

  Args:
    settings: {dotted key: value}.
    keys: of the whole sweep; only the last part of a key is written where that is unique.
  """
  # data.weights and masking.weights, if both are set, are written in full.
  last = [key.rpartition('.')[2] for key in keys]
  short = lambda key: key.rpartition('.')[2] if last.count(key.rpartition('.')[2]) == 1 else key
  parts = [
    f'{_safe(short(key))}={_safe(_text(value))}' for key, value in settings.items() if key != 'seed'
  ]
  return _cut('_'.join(parts), _ARM) or 'base'


def run(arm: str, seed: int) -> str:
  """Returns the name of an arm's run."""
  return f'{arm}_seed={_safe(str(seed))}'


def digest(value: Any) -> str:
  """Returns 8 hexadecimal digits of a value that JSON can hold."""
  return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _text(value: Any) -> str:
  if isinstance(value, bool):
    return str(value).lower()
  return '-'.join(map(_text, value)) if isinstance(value, (tuple, list)) else str(value)


def _safe(text: str) -> str:
  # '1,2' and '1;2' would both become '1-2': the digest keeps them apart.
  safe = re.sub(r'[^A-Za-z0-9.+_-]+', '-', text)
  return _cut(safe, _VALUE) if safe == text else f'{safe[: _VALUE - 9]}-{digest(text)}'


def _cut(text: str, most: int) -> str:
  return text if len(text) <= most else f'{text[: most - 9]}-{digest(text)}'
