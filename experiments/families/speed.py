"""A training step of each run of this experiment: tokens a second, side by side.

  taskset -c 0 python experiments/families/speed.py runs/families/runs/*_seed=0 \
    --out=experiments/families/speed.csv

All runs take turns in one process; the ratio to the first by processor time is the one to quote.
"""

import argparse
from collections.abc import Callable
from collections.abc import Sequence
import csv
import pathlib
from typing import Any

import jax

from mlm_jax.benchmarks import clock
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.tasks import pretraining
from mlm_jax.training import compiled
from mlm_jax.training import sharding
from mlm_jax.training import workdir


def task(config: Any, prepared: Any) -> tuple[Callable[[], None], int]:
  """Returns (function that trains a step, number of parameters)."""
  mesh = sharding.make_mesh(config.mesh)
  problem = pretraining.problem(config, [prepared], mesh)
  stage = problem.stages[0]
  # The state is donated, as in the loop: it is updated in place.
  train_step = jax.jit(compiled.optimizer_step(stage.objective, config), donate_argnums=0)
  key = rng.root_key(config.seed)
  state = jax.jit(compiled.initial_state(problem.init, config))(key)
  batch = sharding.put(stage.batch(0), mesh, config.batch_size)

  def train():
    nonlocal state
    state, metrics = train_step(state, stage.hparams, batch, key)
    jax.block_until_ready((state, metrics))  # else only the dispatch is timed

  return train, trees.count(state.params)


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('runs', type=pathlib.Path, nargs='+', help='their folders')
  parser.add_argument('--repetitions', type=int, default=9, help='turns of each run')
  parser.add_argument('--out', type=pathlib.Path, required=True, help='the table to write, .csv')
  args = parser.parse_args(arguments)
  tasks, parameters, tokens = {}, {}, 0
  for folder in args.runs:
    config = workdir.read_config(folder)
    (prepared,) = pretraining.prepare_data(config, folder)
    tasks[folder.name], parameters[folder.name] = task(config, prepared)
    tokens = config.batch_size * config.data.row_length
  times = clock.take_turns(tasks, args.repetitions)
  found = clock.measured(times, tokens / 1e3, 'ktok', args.runs[0].name)
  print('\n'.join(clock.table(found)))
  with args.out.open('w', newline='') as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(['run', 'parameters', *next(iter(found.values()))])
    for name, numbers in found.items():
      writer.writerow([name, parameters[name], *(f'{each:.4g}' for each in numbers.values())])


if __name__ == '__main__':
  main()
