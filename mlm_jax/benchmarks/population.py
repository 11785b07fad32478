"""The cost of replicas: a population's step compared with that of one run.

R runs of one encoder, each with its own seed, masking rate and learning rate, train
as one vmapped step (see training/vectorized.py). They take turns with one run alone; the ratio is
that of a replica's share of the step to the step alone, below 1 where a population is cheaper than
R runs one after another. On a CPU it is that of processor time, on an accelerator of wall time.
"""

import argparse
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax import models
from mlm_jax.benchmarks import clock
from mlm_jax.benchmarks import contestants
from mlm_jax.core import rng
from mlm_jax.objectives import masked as masked_objective
from mlm_jax.tasks import population
from mlm_jax.training import compiled as compiled_lib
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import sharding
from mlm_jax.training import vectorized

_ALONE = 'alone'
_PAD = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
  number = lambda name, default, text: parser.add_argument(
    f'--{name}', type=type(default), default=default, help=f'{text} (default {default})'
  )
  number('layers', 2, 'of the encoder')
  number('width', 128, 'of the encoder; a head for every 64')
  number('vocabulary', 2048, 'ids')
  number('batch', 16, 'rows a step')
  number('length', 64, 'tokens a row')
  parser.add_argument(
    '--replicas',
    type=int,
    nargs='+',
    default=[1, 2, 4, 8],
    metavar='R',
    help='sizes of population (default 1 2 4 8)',
  )
  number('repetitions', 9, 'turns each gets')


def run(args: argparse.Namespace) -> dict[str, Any]:
  """Prints a line for a run alone and for each size of population; returns their numbers."""
  if min(args.replicas) < 1:
    raise config_lib.UserError(f'--replicas={min(args.replicas)}: must be at least 1')
  shape = contestants.Shape(
    layers=args.layers,
    width=args.width,
    heads=max(1, args.width // 64),
    feed_forward=4 * args.width,
    vocabulary=args.vocabulary,
    batch=args.batch,
    length=args.length,
    documents=1,
    masked=0.15,
    dropout=0.1,
    dtype='float32',
  )
  tasks = {_ALONE: _task(shape, None)} | {f'{R} replicas': _task(shape, R) for R in args.replicas}
  sizes = dict(zip(tasks, [1, *args.replicas]))
  times = clock.take_turns(tasks, args.repetitions)
  print(
    f'{shape.layers} layers x {shape.width}, {shape.batch} rows of {shape.length} tokens, '
    f'{shape.vocabulary} ids, on {len(jax.devices())} x {jax.devices()[0].device_kind}'
  )
  found = measured(times, sizes)
  print('\n'.join(report(found)))
  return found


def measured(
  times: Mapping[str, clock.Times], sizes: Mapping[str, int]
) -> dict[str, dict[str, float]]:
  """Returns {name: {what: number}}: milliseconds a replica and step, and the ratio to a run alone.

  Args:
    times: {name: clock.Times} a step.
    sizes: {name: replicas}.
  """
  # On shared cores wall time says little.
  by_processor = jax.default_backend() == 'cpu'
  spent = {name: each.processor_R if by_processor else each.wall_R for name, each in times.items()}
  share = {name: seconds_R / sizes[name] for name, seconds_R in spent.items()}
  kind = 'processor-ms' if by_processor else 'ms'
  return {
    name: {
      f'{kind} a replica-step': 1e3 * float(np.median(share[name])),
      'ms, wall': 1e3 * float(np.median(each.wall_R / sizes[name])),
      'of a run alone': 1 / clock.ratio(share[_ALONE], share[name]),
    }
    for name, each in times.items()
  }


def report(found: Mapping[str, Mapping[str, float]]) -> list[str]:
  """Returns a line for each of what `measured` found, under a line of headings."""
  heads = next(iter(found.values()))
  lines = [' ' * 14 + ''.join(f'{head:>28}' for head in heads)]
  for name, numbers in found.items():
    lines.append(f'{name:<14}' + ''.join(f'{value:>28.4g}' for value in numbers.values()))
  return lines


def _task(shape: contestants.Shape, replicas: int | None) -> Callable[[], Any]:
  """Returns a function that takes one step of this many replicas; None for a run alone."""
  configs = [_config(shape, r) for r in range(replicas or 1)]
  problems = [_problem(shape, config) for config in configs]
  mesh = sharding.largest_mesh(1)
  compiled = compiled_lib.compile_problem(problems[0], configs[0], mesh)
  state, key = compiled.init(rng.root_key(0)), rng.root_key(0)
  if replicas:
    compiled, key = vectorized.assemble(configs, problems, compiled, population.unify)
    # All replicas start from the same parameters; it is the time that matters.
    state = vectorized.stacked([state] * replicas, compiled)
  batch = compiled.batch(0)

  # The state goes from step to step, as in a run: its buffers are donated to the step.
  def task() -> None:
    nonlocal state
    state, _ = jax.block_until_ready(compiled.steps[0](state, batch, key))

  return task


def _config(shape: contestants.Shape, r: int) -> Any:
  """Returns the config of replica r."""
  # Replicas differ as those of a sweep do: in seed, masking rate and learning rate.
  config = shape.config.copy_and_resolve_references()
  config.seed, config.masking.rate = r, 0.15 + 0.01 * (r % 8)
  config.optim.learning_rate *= 1 + r / 8
  return config


def _problem(shape: contestants.Shape, config: Any) -> problem_lib.Problem:
  """Returns the Problem of a run on one batch, over and over."""
  model = models.make(config.model, shape.vocabulary)
  objective = masked_objective.Objective(model, _PAD, shape.batch)
  policy = masking.make(shape.policy().table, **config.masking.to_dict())
  rows = shape.rows(1)
  stage = problem_lib.Stage(
    0, config, objective, policy, lambda step: rows, lambda step: np.asarray(rows.example_B2)
  )
  return problem_lib.Problem((stage,), model.init, {}, problem_lib.Ranking('reference', 'loss'))
