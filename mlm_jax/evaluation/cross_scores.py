"""Scores of a finished run under the masks of many policies: scores.json in the run's folder.

Runs whose policies hide different things cannot be compared under one policy alone: each is better
at what it was trained to guess. So each is scored under the policies of all, with the masks that
`heldout` draws: on the same data they are the same for every run.

{"step": 400, "under": [{"masking": {SETTING: value}, METRIC: value, ...}, ...]}

A metric is null where it is not finite. A policy that asks for what the data lack has no entry.
"""

from collections.abc import Mapping
import json
import math
import os
import pathlib
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.core import files
from mlm_jax.evaluation import heldout

FILE = 'scores.json'


def beside_reference(policies: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
  """Returns {name: settings} without the reference policy, which every run is evaluated under."""
  reference = _plain(heldout.reference_settings())
  return {name: each for name, each in policies.items() if _plain(each) != reference}


def read(workdir: str | os.PathLike[str], step: int) -> list[dict[str, Any]]:
  """Returns the entries of a run that were scored at a step, [] where there are none.

  Raises:
    UserError: the file is damaged.
  """
  path = pathlib.Path(workdir) / FILE
  if not os.path.lexists(path):
    return []
  content = config_lib.read_json(path, 'remove it and run mlm-jax sweep again')
  try:
    # Of another step they are of an earlier end of the run.
    entries = content['under'] if content['step'] == step else []
    if not all(map(_is_entry, entries)):
      raise TypeError('an entry must be a masking and numbers')
  except (KeyError, TypeError) as error:
    raise config_lib.UserError(
      f'{path} is damaged ({error!r}); remove it and run mlm-jax sweep again'
    ) from None
  return entries


def _is_entry(entry: Any) -> bool:
  """Whether a value has the form of what `add` adds."""
  values = {**entry}
  is_of_policy = isinstance(values.pop('masking'), dict)
  return is_of_policy and all(type(each) in (int, float, type(None)) for each in values.values())


def find(entries: list[dict[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any] | None:
  """Returns the entry of a policy (the group `masking` as a dict), None where there is none."""
  wanted = _plain(settings)
  return next((each for each in entries if each['masking'] == wanted), None)


def add(
  workdir: str | os.PathLike[str], step: int, settings: Mapping[str, Any], values: dict[str, float]
) -> None:
  """Adds what a run is scored under a policy, {metric: value}."""
  entry = {'masking': _plain(settings), **{name: _written(each) for name, each in values.items()}}
  content = {'step': step, 'under': [*read(workdir, step), entry]}
  files.write(pathlib.Path(workdir) / FILE, json.dumps(content, indent=1) + '\n')


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
  """Returns settings as JSON gives them back."""
  return json.loads(json.dumps(settings))


def _written(value: float) -> float | None:
  # As the logs have them: seven digits, and JSON has no NaN.
  return float(f'{value:.7g}') if math.isfinite(value) else None
