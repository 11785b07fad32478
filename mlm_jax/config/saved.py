"""Configs as JSON, and the differences between two of them."""

from collections.abc import Collection
import json
import os
import pathlib
from typing import Any

from mlm_jax.config import checks
from mlm_jax.config import custom
from mlm_jax.config import defaults
from mlm_jax.config import keys
from mlm_jax.config import limits
from mlm_jax.config import reading
from mlm_jax.config.keys import Config
from mlm_jax.config.keys import UserError

# What may differ when a run is resumed: where and how it runs, not what it computes.
OPERATIONAL = ('checkpoint', 'compilation_cache', 'log', 'mesh', 'data.prepared')
TOKENIZER = 'tokenizer/tokenizer.model'  # a run's own copy, beside its config.json


def to_json(config: Config) -> str:
  """Returns the config as text that `from_json` reads back."""
  return json.dumps(config.to_dict(), indent=2) + '\n'


def from_json(
  text: str | bytes, name: str = 'config.json', allow_code: Collection[str] = ()
) -> Config:
  """Returns the config that `to_json` wrote, checked and locked.

  Args:
    text: as said.
    name: of the file, for messages.
    allow_code: each module:name of it that may be executed, as by a call that trains with it.

  Raises:
    UserError: it is damaged, a setting is missing, unknown or cannot work, or it names code that is
      not allowed; says so of `name`.
  """
  config = received(text, name)
  custom.check_allowed(config, allow_code, name)
  return config


def received(text: str | bytes, name: str = 'config.json') -> Config:
  """Returns what `from_json` does, whatever code it names: for what executes none of it."""
  try:
    document = reading.parse_json(text)
    saved = _named_now(keys.flatten(document))
  except (ValueError, AttributeError) as error:
    raise UserError(f'{name} is damaged: {error}') from None
  config, known = defaults.of(document), defaults.flat_of(document)
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
  # A setting that an older version did not have could silently change the run's meaning.
  missing = sorted(set(known) - set(saved))
  if missing:
    raise UserError(f'{name} lacks config.{missing[0]}')
  try:
    checks.check(config)
  except UserError as error:
    raise UserError(f'{name}: {error}') from None
  config.lock()
  return config


def _named_now(saved: dict[str, Any]) -> dict[str, Any]:
  """Returns {dotted key: value} of a config as its settings are named now.

  Only what decides nothing that a run computes has had another name: a run goes on nevertheless.
  """
  if not isinstance(saved.get('log.tensorboard'), bool):
    return saved
  shown = 'tensorboard' if saved['log.tensorboard'] else ''
  now = {'log.trackers': shown, 'log.project': defaults.flat()['log.project']}
  return now | {key: value for key, value in saved.items() if key != 'log.tensorboard'}


def with_own_tokenizer(config: Config, folder: str | os.PathLike[str]) -> Config:
  """Returns the config of a run in a folder, for data that is prepared as the run's was.

  A tokenizer that it names by a path becomes the run's own copy, where there is one: whatever lies
  at the path now, and wherever the run has been moved to.
  """
  own = pathlib.Path(folder) / TOKENIZER
  if config.data.tokenizer not in limits.TOKENIZERS and own.is_file():
    config.data.tokenizer = str(own)
  return config


def conflicts(
  ours: Config, theirs: Config, ignore: Collection[str] = OPERATIONAL
) -> list[tuple[str, Any, Any]]:
  """Returns the `differences` between two configs of one run.

  Files of tokenizers are no settings: they are compared by what is in them, when the data is read.
  """
  kinds = {ours.data.tokenizer, theirs.data.tokenizer} & set(limits.TOKENIZERS)
  found = differences(ours, theirs, ignore)
  return found if kinds else [each for each in found if each[0] != 'data.tokenizer']


def differences(
  ours: Config, theirs: Config, ignore: Collection[str] = OPERATIONAL
) -> list[tuple[str, Any, Any]]:
  """Returns [(key, our value, their value)] of the settings that differ, but for `ignore`."""
  a, b = (
    {key: keys.as_tuples(value) for key, value in keys.flatten(each).items()}
    for each in (ours, theirs)
  )
  # A stage may hold operational settings too, such as its own data.prepared.
  for flat in (a, b):
    if 'stages' in flat:
      flat['stages'] = tuple(
        {key: value for key, value in stage.items() if key not in ignore}
        for stage in flat['stages']
      )
  skipped = lambda key: any(key == each or key.startswith(each + '.') for each in ignore)
  return [
    (key, a.get(key), b.get(key))
    for key in {**a, **b}
    if not skipped(key) and a.get(key) != b.get(key)
  ]
