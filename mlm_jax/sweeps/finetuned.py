"""Sweeps of fine-tuning: see kinds.Kind.

Their epochs say how many steps there are, once the examples are prepared.
"""

from collections.abc import Callable
import math
from typing import Any

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import downstream
from mlm_jax.data import loader
from mlm_jax.data import tokenizers
from mlm_jax.data.examples import store
from mlm_jax.models import flops
from mlm_jax.sweeps import budgets
from mlm_jax.sweeps import names
from mlm_jax.tasks import finetuning
from mlm_jax.tasks import finetuning_data

BUDGETS, LENGTHS = ('epochs', 'steps'), ('total_steps', 'epochs')
_TEST, _VALIDATION = 'test_', 'validation_'  # scores of test.json, and of evaluations.jsonl


def resolve(config: config_lib.Config) -> config_lib.Config:
  config = finetuning.resolve(config)
  finetuning.check_task(config)
  return config


def data_folder(config: config_lib.Config, base: config_lib.Config) -> str:
  # What the base leaves open, such as the tokenizer, is known of each run alone.
  tokenizer = tokenizers.load(config.data.tokenizer).sha256
  return f'data_{names.digest([finetuning_data.data_settings(config), tokenizer])}'


def data_key(config: config_lib.Config) -> Any:
  return config.data.prepared


def prepare(config: config_lib.Config, log: Callable[[str], None]) -> store.Prepared:
  return finetuning_data.prepare(config, '', tokenizers.load(config.data.tokenizer), log)


def needs_data(budget: str) -> bool:
  return True


def metrics(config: config_lib.Config) -> dict[str, str]:
  scores = downstream.load(config.task.name).metrics(config.task)
  # Without test examples there is only what has chosen the checkpoints.
  prefixes = (_TEST, _VALIDATION) if config.task.test else (_VALIDATION,)
  return {f'{prefix}{name}': mode for prefix in prefixes for name, mode in scores.items()}


def watched(metric: str) -> str:
  return _VALIDATION + metric.partition('_')[2]


def cost(config: config_lib.Config) -> dict[str, float]:
  """Returns {'epochs', 'steps', 'tokens', 'flops'} of the steps that a config asks for."""
  prepared = _opened(config)
  total = finetuning.with_steps(config, prepared).total_steps
  rows = len(prepared.splits['train'])
  # The first rows that training with seed 0 draws stand for all of them.
  size = min(budgets.SAMPLE, rows)
  batch = loader.Loader(prepared, 'train', size, 0).batch(0)
  at_P = budgets.at_positions(batch, prepared.tokenizer.pad_id) / size
  objective = downstream.objective(config, prepared.tokenizer, prepared.facts)
  attended = at_P @ objective.encoder.architecture.pairs(np.arange(len(at_P)))
  seen = config.batch_size * total
  return {
    # Of the config where it says them: rounded to steps, arms of other rows would not agree.
    'epochs': seen / rows if config.total_steps else config.epochs,
    'steps': total,
    'tokens': seen * config.data.row_length,
    'flops': seen * flops.training(objective, at_P.sum(), attended, 0),
  }


def own_steps(config: config_lib.Config) -> int:
  return finetuning.with_steps(config, _opened(config)).total_steps


def steps(config: config_lib.Config, budget: str, spent: float) -> int:
  if budget == 'steps':
    return round(spent)
  rows = len(_opened(config).splits['train'])
  return max(1, math.ceil(round(spent * rows / config.batch_size, 6)))


def with_steps(config: config_lib.Config, steps: int) -> config_lib.Config:
  config = config_lib.overlay(config, {'total_steps': steps})
  return finetuning.with_steps(config, _opened(config))


def _opened(config: config_lib.Config) -> store.Prepared:
  return prepare(config, lambda line: None)
