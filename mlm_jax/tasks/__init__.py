"""What can be trained: each kind turns a config into a training.Problem."""

import types
from typing import Any


def of(config: Any) -> types.ModuleType:
  """Returns the module that trains what a config describes; it has `resolve` and `run`."""
  # Imported here: each imports what the other does not need.
  if 'task' in config:
    from mlm_jax.tasks import finetuning

    return finetuning
  if 'adapt' in config:
    from mlm_jax.tasks import adaptation

    return adaptation
  from mlm_jax.tasks import pretraining

  return pretraining
