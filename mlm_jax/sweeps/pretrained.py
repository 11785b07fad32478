"""Sweeps of pretraining: see kinds.Kind."""

from collections.abc import Callable
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax import objectives
from mlm_jax.data import prepare as prepare_lib
from mlm_jax.evaluation import score_run
from mlm_jax.sweeps import budgets
from mlm_jax.sweeps import names
from mlm_jax.tasks import pretraining

BUDGETS, LENGTHS = budgets.KINDS, ('total_steps',)
resolve, cost, steps = pretraining.resolve, budgets.cost, budgets.steps


def data_folder(config: config_lib.Config, base: config_lib.Config) -> str:
  # Not all settings of `data` change what is prepared: the weights of the sources do not.
  settings = prepare_lib.settings(config.data)
  is_own = settings != prepare_lib.settings(base.data)
  return f'data_{names.digest(settings)}' if is_own else 'data'


def data_key(config: config_lib.Config) -> Any:
  # Stages may have rows of their own length, which are prepared too.
  return [config.data.to_dict(), config.stages]


def prepare(config: config_lib.Config, log: Callable[[str], None]) -> None:
  pretraining.prepare_data(config, None, log)


def needs_data(budget: str) -> bool:
  # Tokens are batch x row length x steps.
  return budget != 'tokens'


def metrics(config: config_lib.Config) -> dict[str, str]:
  scores = {'loss': 'min', 'perplexity': 'min'} | objectives.scores(config.objective)
  policies = score_run.REFERENCE, score_run.OWN
  return {f'{policy}_{name}': mode for policy in policies for name, mode in scores.items()}


def watched(metric: str) -> str:
  return 'reference_loss'


def own_steps(config: config_lib.Config) -> int:
  return config.total_steps


def with_steps(config: config_lib.Config, steps: int) -> config_lib.Config:
  same = steps == config.total_steps
  return config if same else config_lib.overlay(config, {'total_steps': steps})
