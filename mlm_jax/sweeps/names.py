"""Names of arms and runs: what was set, in characters that are safe in the name of a file."""

import hashlib
import json
import re

_VALUE = 40   # characters at most; what is longer ends in its digest
_ARM = 160


def arm(settings, keys):
  """Returns the name of all settings but the seed, such as unit=word_rate=0.3.

  Args:
    settings: {dotted key: value}.
    keys: of the whole sweep; only the last part of a key is written where that tells it apart.
  """
  last = [key.rpartition('.')[2] for key in keys]
  short = lambda key: key.rpartition('.')[2] if last.count(key.rpartition('.')[2]) == 1 else key
  parts = [f'{_safe(short(key))}={_cut(_safe(_text(value)), _VALUE, value)}'
           for key, value in settings.items() if key != 'seed']
  return _cut('_'.join(parts), _ARM, settings) or 'base'


def run(arm, seed):
  """Returns the name of an arm's run."""
  return f'{arm}_seed={_safe(str(seed))}'


def digest(value):
  """Returns 8 hexadecimal digits of a value that JSON can hold."""
  return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _text(value):
  if isinstance(value, bool):
    return str(value).lower()
  return '-'.join(map(_text, value)) if isinstance(value, (tuple, list)) else str(value)


def _safe(text):
  return re.sub(r'[^A-Za-z0-9.+_-]+', '-', text)


def _cut(text, most, value):
  return text if len(text) <= most else f'{text[:most - 9]}-{digest(value)}'
