"""What the arms of a sweep hide from their models: the policies that every run is scored under."""

from collections.abc import Sequence
import typing
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.sweeps import names

if typing.TYPE_CHECKING:
  from mlm_jax.sweeps import planning


def differing(runs: 'Sequence[planning.Run]') -> dict[str, dict[str, Any]]:
  """Returns {name: the group `masking` as a dict} of the policies that the runs train with.

  Empty where all runs train with one policy, whatever else they differ in. Policies are different
  where any setting of config.masking is. A policy is named by what the sweep sets of `masking`.
  """
  if any('masking' not in run.config for run in runs):  # fine-tuning hides nothing
    return {}
  keys = list(dict.fromkeys(key for run in runs for key in run.settings))
  found: dict[str, dict[str, Any]] = {}
  for run in runs:
    stages = [stage.masking.to_dict() for _, stage in config_lib.stages(run.config)]
    for number, settings in enumerate(stages, 1):
      if settings in found.values():
        continue
      # The rate and the corruption may change from stage to stage.
      stage = f'_stage={number}' if any(each != settings for each in stages) else ''
      name = _name(run, keys) + stage
      # Runs that differ in their stages alone have one such name, but arms of their own.
      found[run.arm + stage if name in found else name] = settings
  return found if len(found) > 1 else {}


def _name(run: 'planning.Run', keys: Sequence[str]) -> str:
  """Returns the name of what a run sets of its policy, 'base' where that is nothing."""
  own = {key: value for key, value in run.settings.items() if key.split('.')[0] == 'masking'}
  return names.arm(own, keys)
