"""The classes that settings name: units, selections and schedules."""

import importlib

from mlm_jax import config as config_lib


def find(setting: str, name: str) -> type:
  """Returns the class that is chosen by a value of masking.unit, .selection or .schedule."""
  choice = config_lib.choices(setting)[name]
  return getattr(importlib.import_module(choice.module), choice.name)
