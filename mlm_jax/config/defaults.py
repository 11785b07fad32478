"""The default configs, of pretraining and of fine-tuning, made of the groups in config/settings."""

from collections.abc import Mapping
import functools
import types
from typing import Any

from mlm_jax.config.keys import Config
from mlm_jax.config.keys import flatten
from mlm_jax.config.settings import data
from mlm_jax.config.settings import masking
from mlm_jax.config.settings import model
from mlm_jax.config.settings import objective
from mlm_jax.config.settings import task
from mlm_jax.config.settings import training


def base() -> Config:
  """Returns the default config of pretraining: every setting, with its meaning."""
  c = training.run()
  # Parts of the run: each a dict of its `steps` and of the settings that differ in it, as dotted
  # keys (see config/staging.py); their steps add up to total_steps. () = one part.
  c.stages = ()
  c.data = data.text()
  c.masking = masking.masking()
  c.model = model.model()
  c.objective = objective.objective()
  c.optim = training.optim()
  c.evaluation = training.evaluation()
  c.checkpoint = training.checkpoint()
  c.log = training.log()
  c.mesh = training.mesh()
  c.lock()
  return c


def finetuning() -> Config:
  """Returns the default config of fine-tuning: it has a group `task`, and masks nothing."""
  c = training.run()
  # passes over the training rows, which say how many steps there are where total_steps = 0
  c.epochs = 3.0
  # share of the steps in which the learning rate rises, where optim.warmup_steps = 0
  c.warmup_fraction = 0.06
  c.task = task.task()
  c.data = data.examples()
  c.model = model.model()
  c.optim = training.optim()
  c.evaluation = training.evaluation()
  c.checkpoint = training.checkpoint()
  c.log = training.log()
  c.mesh = training.mesh()
  # The model is that of the run in init_from; its epochs say how many steps there are.
  c.model.update(family='')
  c.update(batch_size=8, total_steps=0)
  c.optim.update(learning_rate=4e-5, beta2=0.999, epsilon=1e-8, warmup_steps=0)
  c.evaluation.update(every=0, rows=0, batch_size=16)
  c.checkpoint.update(every=0, keep_latest=1)
  c.log.update(every=10)
  c.lock()
  return c


def of(config: Config) -> Config:
  """Returns the default config of a config's kind."""
  return finetuning() if 'task' in config else base()


@functools.cache
def flat() -> Mapping[str, Any]:
  """Returns {dotted key: default value} of pretraining, made once: many checks compare with it."""
  return types.MappingProxyType(flatten(base()))


@functools.cache
def _flat_finetuning() -> Mapping[str, Any]:
  return types.MappingProxyType(flatten(finetuning()))


def flat_of(config: Config | Mapping[str, Any]) -> Mapping[str, Any]:
  """Returns {dotted key: default value} of the kind of a config, nested or flat."""
  return _flat_finetuning() if 'task' in config or 'task.name' in config else flat()
