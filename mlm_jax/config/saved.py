"""Configs as JSON, and what two of them differ in."""

import json

from mlm_jax.config import checks
from mlm_jax.config import defaults
from mlm_jax.config import keys
from mlm_jax.config.keys import UserError

# What may differ when a run is taken up again: where and how it runs, not what.
OPERATIONAL = ('checkpoint', 'log', 'mesh', 'data.prepared')


def to_json(config):
  """Returns the config as text that `from_json` reads back."""
  return json.dumps(config.to_dict(), indent=2) + '\n'


def from_json(text, name='config.json'):
  """Returns the config that `to_json` wrote, as text or bytes; UserError names what does not
  fit.
  """
  config = defaults.base()
  try:
    saved = keys.flatten(json.loads(text))
  except (ValueError, AttributeError, RecursionError) as error:
    raise UserError(f'{name} is damaged: {error}') from None
  known = keys.flatten(config)
  for key, value in saved.items():
    if key not in known:
      raise UserError(f'{name}: {keys.unknown_key(key, known)}')
    group, last = keys.find(config, key)
    try:
      group[last] = keys.as_tuples(value)
    except TypeError:
      raise UserError(
        f'{name}: config.{key} = {value!r}: must be of type {type(known[key]).__name__}, '
        f'such as {known[key]!r}'
      ) from None
  missing = sorted(set(known) - set(saved))
  if missing:
    raise UserError(f'{name} lacks config.{missing[0]}')
  try:
    checks.check(config)
  except UserError as error:
    raise UserError(f'{name}: {error}') from None
  config.lock()
  return config


def differences(ours, theirs, ignore=OPERATIONAL):
  """Returns [(key, our value, their value)] of what is not operational and differs."""
  a, b = (
    {key: keys.as_tuples(value) for key, value in keys.flatten(each).items()}
    for each in (ours, theirs)
  )
  for flat in (a, b):
    flat['stages'] = tuple(
      {key: value for key, value in stage.items() if key not in ignore} for stage in flat['stages']
    )
  skipped = lambda key: any(key == each or key.startswith(each + '.') for each in ignore)
  return [
    (key, a.get(key), b.get(key))
    for key in {**a, **b}
    if not skipped(key) and a.get(key) != b.get(key)
  ]
