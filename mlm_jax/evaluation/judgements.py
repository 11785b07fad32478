"""What the judges of a sweep have found of a finished run: judges.json in the run's folder.

{"step": 400, "judged": [{"asked": {NAME: value}, "scores": {NAME: value}}, ...]}

`asked` says what was evaluated, so that nothing is evaluated twice and nothing is taken for what it
is not. A score is null where it is not finite.
"""

from collections.abc import Mapping
import json
import math
import os
import pathlib
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.core import files

FILE = 'judges.json'
_MEND = 'remove it and run mlm-jax sweep again'


def read(workdir: str | os.PathLike[str], step: int) -> list[dict[str, Any]]:
  """Returns the entries of a run that were made at a step, [] where there are none.

  Raises:
    UserError: the file is damaged.
  """
  path = pathlib.Path(workdir) / FILE
  if not os.path.lexists(path):
    return []
  content = config_lib.read_json(path, _MEND)
  try:
    # Of another step they are of an earlier end of the run.
    entries = content['judged'] if content['step'] == step else []
    if not all(map(_is_entry, entries)):
      raise TypeError('an entry must be what was asked and numbers')
  except (KeyError, TypeError, AttributeError) as error:
    raise config_lib.UserError(f'{path} is damaged ({error!r}); {_MEND}') from None
  return entries


def _is_entry(entry: Any) -> bool:
  """Whether a value has the form of what `add` adds."""
  numbers = entry['scores'].values()
  return isinstance(entry['asked'], dict) and all(
    type(each) in (int, float, type(None)) for each in numbers
  )


def find(entries: list[dict[str, Any]], asked: Mapping[str, Any]) -> dict[str, float] | None:
  """Returns the scores of what was asked, NaN for null; None where it was not asked."""
  for each in entries:
    if each['asked'] == asked:
      return {name: math.nan if x is None else float(x) for name, x in each['scores'].items()}
  return None


def add(
  workdir: str | os.PathLike[str], step: int, asked: Mapping[str, Any], scores: dict[str, float]
) -> None:
  """Adds the scores of what was asked."""
  # As the logs have them: seven digits, and JSON has no NaN.
  written = {
    name: float(f'{value:.7g}') if math.isfinite(value) else None for name, value in scores.items()
  }
  content = {'step': step, 'judged': [*read(workdir, step), {'asked': asked, 'scores': written}]}
  files.write(pathlib.Path(workdir) / FILE, json.dumps(content, indent=1) + '\n')
