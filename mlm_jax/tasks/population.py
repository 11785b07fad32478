"""Runs that differ in numbers only, trained as the replicas of one step (see
training/vectorized.py).

Each run keeps its own folder, in which nothing tells (but `replicas` in timing.jsonl) that it
was not alone: masks and the order of the data are those of the run on its own, parameters
and metrics are the same to float error, and either can go on with the other's checkpoints.
"""

import contextlib
import dataclasses
import pathlib
import typing
from typing import Any

import jax
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.data import store
from mlm_jax.tasks import pretraining
from mlm_jax.training import loop
from mlm_jax.training import sharding
from mlm_jax.training import vectorized
from mlm_jax.training import workdir as workdir_lib

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


@dataclasses.dataclass(frozen=True)
class Outcome:
  """How a run of a population ended.

  Attributes:
    state: 'done', 'stopped' (by a signal; its state is saved) or 'diverged'.
    error: why it diverged, else ''.
  """

  state: str
  error: str = ''


class _Run(typing.NamedTuple):
  """A run as it would be alone, on one device."""

  config: Any
  prepared: store.Prepared
  problem: loop.Problem


def groups(configs):
  """Returns lists of names that may train together, from {name: config}, in their order."""
  made = []
  for name, config in configs.items():
    group = next((each for each in made if not _differing(configs[each[0]], config)), None)
    if group is None:
      made.append([name])
    else:
      group.append(name)
  return made


def _differing(a, b):
  """Returns [(key, value of a, value of b)] of what is no number that replicas may have of their
  own.
  """
  return config_lib.differences(a, b, ignore=NUMBERS)


def check(configs):
  """Raises UserError where the runs of {name: config} cannot be one population."""
  first, *others = configs
  for name in others:
    for key, ours, theirs in _differing(configs[first], configs[name]):
      raise config_lib.UserError(
        f'config.{key} is {ours!r} in {first}, {theirs!r} in {name}: it is built into the one step '
        'that a '
        f'population compiles, whose runs may differ only in {", ".join(NUMBERS)}; train them apart'
      )
  config = configs[first]
  if config.stages:
    raise config_lib.UserError(
      'config.stages: a population trains in one stage; train runs with stages alone'
    )
  if config.init_from:
    raise config_lib.UserError(
      'config.init_from: a population starts anew; train runs that start from another alone'
    )
  for axis in ('fsdp', 'tensor'):
    if config.mesh[axis] != 1:
      raise config_lib.UserError(
        f'config.mesh.{axis} = {config.mesh[axis]}: must be 1 in a population, '
        'whose devices share out the runs'
      )
  if jax.process_count() > 1:
    raise config_lib.UserError('a population trains in one process; start it without the others')


def run(configs, workdirs, log=print):
  """Pretrains each config in its folder, all together, from wherever each stands.

  Those furthest behind go first, until they have caught up with the next.

  Args:
    configs: of the runs; they differ in NUMBERS only.
    workdirs: a folder for each.
    log: takes lines of text.

  Returns:
    {workdir: Outcome}; a run that diverges does not stop the others.

  Raises:
    UserError: as pretrain.run does, or runs that cannot be one population.
  """
  workdirs = list(map(pathlib.Path, workdirs))
  if len(set(workdirs)) < len(workdirs):
    raise config_lib.UserError('two runs of a population have one folder')
  configs = dict(zip(workdirs, map(pretraining.resolve, configs)))
  check({str(workdir): config for workdir, config in configs.items()})
  outcomes = {}
  with contextlib.ExitStack() as stack:
    for workdir, config in configs.items():
      stack.enter_context(workdir_lib.locked(workdir))
      workdir_lib.check_same(workdir, config)
      if loop.is_finished(config, workdir, log):
        outcomes[workdir] = Outcome('done')
    runs = _open(
      {workdir: config for workdir, config in configs.items() if workdir not in outcomes}, log
    )
    while runs:
      ended = _catch_up(runs, log)
      outcomes |= ended
      runs = {workdir: each for workdir, each in runs.items() if workdir not in ended}
  return {workdir: outcomes[workdir] for workdir in workdirs}


def _open(configs, log):
  """Returns {workdir: _Run}; each folder then holds what it does before the first step."""
  mesh, prepared, runs = sharding.largest_mesh(1), {}, {}
  for workdir, config in configs.items():
    pretraining.check(config, mesh)
    folder = pretraining.data_folder(config, workdir, config)
    if folder not in prepared:
      prepared[folder] = pretraining.prepare_data(config, workdir, log)
    store.needs(prepared[folder][0], config.masking)
    runs[workdir] = _Run(
      config, prepared[folder][0], pretraining.problem(config, prepared[folder], mesh)
    )
  fingerprints = [each.problem.fingerprints for each in runs.values()]
  if any(each != fingerprints[0] for each in fingerprints):
    raise config_lib.UserError(
      'the runs of a population must have the same data; set config.data.prepared to one folder'
    )
  for workdir, each in runs.items():
    pretraining.found(workdir, each.config, each.problem.fingerprints, each.prepared)
  return runs


def _catch_up(runs, log):
  """Trains those of {workdir: _Run} that are furthest behind until they have caught up with the
  next.

  Returns {workdir: Outcome} of what came to an end.
  """
  compiled, records, run_states, steps = _restore(runs, log)
  first, total = min(steps.values()), next(iter(runs.values())).config.total_steps
  last = min((step for step in steps.values() if step > first), default=total)
  group = [workdir for workdir in runs if steps[workdir] == first]
  names = ', '.join(each.name for each in group)
  log(f'{len(group)} runs train as one from step {first} to {last}: {names}')
  pick = lambda what: [what[workdir] for workdir in group]
  errors, stopped = _train(pick(runs), pick(run_states), pick(records), compiled, first, last, log)
  if stopped:
    ended = dict.fromkeys(runs, Outcome('stopped'))
  else:
    ended = dict.fromkeys(group, Outcome('done')) if last == total else {}
  for r, error in errors.items():
    log(f'{group[r].name} diverged: {error}')
    ended[group[r]] = Outcome('diverged', error)
  return ended


def _restore(runs, log):
  """Returns (train.Compiled of one run, and by workdir: recorder.Recorder, recorder.RunState, its
  step).
  """
  mesh = sharding.largest_mesh(1)
  lead = next(iter(runs.values()))
  compiled = loop.compile_problem(lead.problem, lead.config, mesh)
  records, run_states, steps = {}, {}, {}
  for workdir, (config, _, problem) in runs.items():
    records[workdir] = loop.make_recorder(problem, config, workdir, log, workdir.name)
    run_state, steps[workdir] = loop.start(lead.problem, config, compiled, mesh, records[workdir])
    if not steps[workdir]:
      adapted = jax.device_put(problem.adapted)  # it may begin with the run's own rate
      run_state = run_state._replace(state=dataclasses.replace(run_state.state, adapted=adapted))
    run_states[workdir] = run_state
  return compiled, records, run_states, steps


def _train(runs, run_states, records, compiled, first, last, log):
  """Trains _Runs from their Carries on; returns what train.advance does."""
  problem, compiled, keys_S = vectorized.assemble(
    [each.config for each in runs], [each.problem for each in runs], compiled
  )
  place = compiled.state.step.sharding
  run_state = jax.tree.map(
    lambda *x: jax.device_put(np.stack(jax.device_get(x)), place), *run_states
  )
  return loop.advance(
    problem, runs[0].config, compiled, records, run_state, first, last, keys_S, log
  )
