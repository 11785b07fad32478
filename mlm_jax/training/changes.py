"""A run that goes on with another config: what is refused, and the record of what is not.

changes.jsonl   a line for each setting that has changed: the step behind which the new value holds,
                the setting, both values, and when

config.json holds the config of now. What may change is said in config/changes.py.
"""

from collections.abc import Callable
import datetime
import json
import os
import pathlib
from typing import Any

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.core import files
from mlm_jax.training import checkpoint
from mlm_jax.training import logs
from mlm_jax.training import optim
from mlm_jax.training import workdir as workdir_lib

FILE = 'changes.jsonl'


def check(workdir: str | os.PathLike[str], config: Any) -> None:
  """Raises UserError where the run in a folder, if there is one, cannot go on with a config."""
  workdir = pathlib.Path(workdir)
  has_logs = any((workdir / name).exists() for name in logs.LOGS)
  if checkpoint.steps(workdir / 'checkpoints') and not has_logs:
    raise config_lib.UserError(
      f'{workdir} holds a model that was not trained there: start from it in another --workdir, '
      f'with --config={workdir}/config.json --config.init_from={workdir}'
    )
  before = _before(workdir, config)
  differing = config_lib.conflicts(config, before, config_lib.ANYTIME)
  refused = {key: config_lib.why_refused(key, config, before) for key, _, _ in differing}
  if not any(refused.values()) and (found := set(refused) & set(config_lib.SCHEDULE)):
    refused |= dict.fromkeys(found, _why_rates_refused(config, before, _saved_step(workdir)))
  said = [
    f'config.{key} is {new!r} here, {old!r} there ({refused[key]})'
    for key, new, old in differing
    if refused[key]
  ]
  if said:
    raise config_lib.UserError(
      f'{workdir} holds a run that cannot go on so: {"; ".join(said[:5])}; set that back, or '
      f'choose another --workdir, where --config.init_from={workdir} starts from its parameters'
    )


def _why_rates_refused(config: Any, before: Any, step: int) -> str:
  """Returns why a schedule cannot take the place of another one after a step; '' where it can."""
  if config.total_steps < step:
    return f'{step} steps are done'
  new, old = (
    np.asarray(optim.schedule(each.optim, each.total_steps)(np.arange(step)))
    for each in (config, before)
  )
  other = np.flatnonzero(new != old)
  if not len(other):
    return ''
  return f'of the {step} steps done, those from {other[0] + 1} on would have had another rate'


def goes_on(workdir: pathlib.Path, config: Any, outcome: dict[str, Any]) -> bool:
  """Whether a run that is finished, with this outcome, trains on under a config that may be."""
  changed = {key for key, _, _ in config_lib.conflicts(config, _before(workdir, config))}
  may_go_on = changed & {'total_steps', 'evaluation.patience'}
  return bool(may_go_on) and outcome['step'] < config.total_steps


def write(workdir: pathlib.Path, config: Any, log: Callable[[str], None] = print) -> None:
  """Writes config.json, and first what is changed of the one that is there, which is said too."""
  before = _before(workdir, config)
  # Where the tokenizer is read from, such as the run's own copy, is no change.
  config = config.copy_and_resolve_references()
  config.data.tokenizer = before.data.tokenizer
  changes = config_lib.differences(config, before, ignore=())
  if changes:
    step, now = _saved_step(workdir), datetime.datetime.now(datetime.UTC)
    when = now.isoformat(timespec='seconds')
    lines = [
      {'step': step, 'key': key, 'old': old, 'new': new, 'time': when} for key, new, old in changes
    ]
    text = ''.join(json.dumps(line) + '\n' for line in [*read(workdir), *lines])
    files.write(workdir / FILE, text)
    for line in lines:
      log(in_words(line))
    (workdir / workdir_lib.FINISHED).unlink(missing_ok=True)  # where it was, it trains on
  workdir_lib.write_config(workdir, config)


def read(workdir: str | os.PathLike[str]) -> list[dict[str, Any]]:
  """Returns the lines of changes.jsonl, [] where nothing has changed.

  Raises:
    UserError: it is damaged.
  """
  path = pathlib.Path(workdir) / FILE
  if not os.path.lexists(path):
    return []
  try:
    return [config_lib.parse_json(line) for line in config_lib.read_bytes(path).splitlines()]
  except ValueError as error:
    raise config_lib.UserError(f'{path} is damaged: {config_lib.one_line(error)}') from None


def in_words(line: dict[str, Any]) -> str:
  """Returns a line of changes.jsonl in words."""
  return (
    f'config.{line["key"]} was {line["old"]!r} until step {line["step"]}, {line["new"]!r} from '
    'then on'
  )


def _before(workdir: pathlib.Path, config: Any) -> Any:
  """Returns the config of the run in a folder; where there is none, the one given."""
  return workdir_lib.read_config(workdir) if (workdir / 'config.json').exists() else config


def _saved_step(workdir: pathlib.Path) -> int:
  """Returns the newest step of which every byte is as it was written, 0 where there is none."""
  folder = workdir / 'checkpoints'
  whole = (
    step for step in reversed(checkpoint.steps(folder)) if not checkpoint.verify(folder / str(step))
  )
  return next(whole, 0)
