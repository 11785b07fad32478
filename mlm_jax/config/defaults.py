"""The default configs of each kind of training, made of the groups in config/settings."""

from collections.abc import Callable
from collections.abc import Mapping
import functools
import types
from typing import Any

from mlm_jax.config.keys import Config
from mlm_jax.config.keys import flatten
from mlm_jax.config.settings import adapt
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


def adaptation() -> Config:
  """Returns the default config of adaptation: that of pretraining with a group `adapt`."""
  c = base()
  c.unlock()
  c.adapt = adapt.adapt()
  c.evaluation.update(at_start=True)  # what is forgotten is counted from there
  c.lock()
  return c


def of(config: Config) -> Config:
  """Returns the default config of a config's kind."""
  return kind(config)()


def kind(config: Config | Mapping[str, Any]) -> Callable[[], Config]:
  """Returns what makes the default config of the kind of a config, nested or flat."""
  if 'task' in config or 'task.name' in config:
    return finetuning
  return adaptation if 'adapt' in config or 'adapt.general' in config else base


def flat() -> Mapping[str, Any]:
  """Returns {dotted key: default value} of pretraining, made once: many checks compare with it."""
  return _flat(base)


@functools.cache
def _flat(make: Callable[[], Config]) -> Mapping[str, Any]:
  return types.MappingProxyType(flatten(make()))


def flat_of(config: Config | Mapping[str, Any]) -> Mapping[str, Any]:
  """Returns {dotted key: default value} of the kind of a config, nested or flat."""
  return _flat(kind(config))
