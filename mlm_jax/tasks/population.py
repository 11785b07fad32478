"""Pretraining runs that differ in numbers only, trained as one (see training/population.py)."""

from collections.abc import Callable
import contextlib
import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax.core import compilation_cache
from mlm_jax.data import folder as folder_lib
from mlm_jax.data import store
from mlm_jax.tasks import pretraining
from mlm_jax.training import launch
from mlm_jax.training import loop
from mlm_jax.training import population
from mlm_jax.training import sharding

# What the runs of a population may differ in; all else shapes the step that they share.
NUMBERS = (
  'seed',
  'masking.rate',
  'masking.final_rate',
  'masking.rate_power',
  'masking.mean_rate',
  'masking.corruption_probs',
  'masking.span_p',
  'masking.frequency_power',
  'masking.function_weight',
  'masking.predict_fraction',
  'optim.learning_rate',
  'optim.weight_decay',
)


def groups(configs: dict[str, Any]) -> list[list[str]]:
  """Returns lists of names that may train together, from {name: config}, in their order."""
  # To differ in NUMBERS only is an equivalence: one member of a group speaks for all of it.
  made: list[list[str]] = []
  for name, config in configs.items():
    group = next((each for each in made if not _differing(configs[each[0]], config)), None)
    if group is None:
      made.append([name])
    else:
      group.append(name)
  return made


def _differing(a: Any, b: Any) -> list[tuple[str, Any, Any]]:
  """Returns [(key, value of a, value of b)] of what all runs of a population must share."""
  return config_lib.differences(a, b, ignore=NUMBERS)


def check(configs: dict[str, Any]) -> None:
  """Raises UserError where the runs of {name: config} cannot be one population."""
  first, *others = configs
  for name, config in configs.items():
    if 'task' in config:
      raise config_lib.UserError(
        f'{name} fine-tunes: a population is of pretraining runs; fine-tune its runs one after '
        'another, without --population'
      )
  for name in others:
    for key, ours, theirs in _differing(configs[first], configs[name]):
      raise config_lib.UserError(
        f'config.{key} is {ours!r} in {first}, {theirs!r} in {name}: it is built into the one step '
        f'that a population compiles, whose runs may differ only in {", ".join(NUMBERS)}; train '
        'them apart'
      )
  config = configs[first]
  # A population compiles one step; stages would need one each, at the same time for all runs.
  if config.stages:
    raise config_lib.UserError(
      'config.stages: a population trains in one stage; train runs with stages alone'
    )
  if config.init_from:
    raise config_lib.UserError(
      'config.init_from: a population starts from new parameters; train runs that start from '
      'another one alone'
    )
  for axis in ('fsdp', 'tensor'):
    if config.mesh[axis] != 1:
      raise config_lib.UserError(
        f'config.mesh.{axis} = {config.mesh[axis]}: must be 1 in a population, '
        'whose devices share out the runs'
      )
  if jax.process_count() > 1:
    raise config_lib.UserError('a population trains in one process; start it without the others')


def run(
  configs: list, workdirs: list, log: Callable[[str], None] = print
) -> dict[pathlib.Path, loop.Outcome]:
  """Pretrains each config in its folder, all together, from wherever each is.

  Args:
    configs: of the runs; they differ in NUMBERS only.
    workdirs: a folder for each.
    log: takes lines of text.

  Returns:
    {workdir: Outcome}; a run that diverges does not stop the others.

  Raises:
    UserError: as pretraining.run does, or runs that cannot be one population.
  """
  workdirs = list(map(pathlib.Path, workdirs))
  # By folder from here on, so two runs in one would silently become one run.
  if len(set(workdirs)) < len(workdirs):
    raise config_lib.UserError('two runs of a population have one folder')
  resolved = dict(zip(workdirs, map(pretraining.resolve, configs), strict=True))
  check({str(workdir): config for workdir, config in resolved.items()})
  compilation_cache.use(configs[0].compilation_cache, log)
  # All folders are held before any data is prepared: one that is in use ends the call here.
  with contextlib.ExitStack() as stack:
    ended = {
      workdir: outcome
      for workdir, config in resolved.items()
      if (outcome := launch.enter(stack, workdir, config, log))
    }
    runs = _open({each: config for each, config in resolved.items() if each not in ended}, log)
    outcomes = ended | population.train(runs, log, unify)
  return {each: outcomes[each] for each in workdirs}


def _open(
  configs: dict[pathlib.Path, Any], log: Callable[[str], None]
) -> dict[pathlib.Path, population.Run]:
  """Returns {workdir: Run}; each folder then holds what it does before the first step."""
  # On one device, as each run is there when it trains together with others.
  mesh, prepared, runs = sharding.largest_mesh(1), {}, {}
  for workdir, config in configs.items():
    pretraining.check(config, mesh)
    folder = folder_lib.of_stage(config, workdir, config)
    if folder not in prepared:
      prepared[folder] = pretraining.prepare_data(config, workdir, log)
    store.needs(prepared[folder][0], config.masking)
    runs[workdir] = population.Run(config, pretraining.problem(config, prepared[folder], mesh, log))
  fingerprints = [each.problem.fingerprints for each in runs.values()]
  if any(each != fingerprints[0] for each in fingerprints):
    raise config_lib.UserError(
      'the runs of a population must have the same data; set config.data.prepared to one folder'
    )
  # Only now, when nothing can be wrong with the input of any of them.
  for workdir, each in runs.items():
    launch.furnish(workdir, each.config, each.problem, log)
  return runs


def unify(policies: list[masking.Policy]) -> list[masking.Policy]:
  """Returns the policies with the same static bounds, hence one structure; masks do not change."""
  # Bounds size the prediction buffer, so with the largest every run's predictions fit.
  rate, fraction = (
    max(getattr(each, name) for each in policies) for name in ('max_rate', 'max_predict_fraction')
  )
  # A bound of 1 leaves out the draw of what is predicted, which some of them need.
  if any(each.max_predict_fraction < 1 for each in policies):
    fraction = min(fraction, float(np.nextafter(1, 0)))  # at 1 all would be predicted, by everyone
  return [
    dataclasses.replace(each, max_rate=rate, max_predict_fraction=fraction) for each in policies
  ]
