"""A training step of each run of this experiment: tokens a second, side by side.

  taskset -c 0 python experiments/families/speed.py RUNS

RUNS is a folder of runs. All take turns in one process; the ratio by processor time is the one
to quote.
"""

import argparse
from collections.abc import Callable
from collections.abc import Sequence
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
  parser.add_argument('runs', type=pathlib.Path)
  parser.add_argument('--repetitions', type=int, default=9, help='turns of each run')
  args = parser.parse_args(arguments)
  tasks, tokens = {}, 0
  for folder in sorted(each.parent for each in args.runs.glob('*/config.json')):
    config = workdir.read_config(folder)
    (prepared,) = pretraining.prepare_data(config, folder)
    train, parameters = task(config, prepared)
    tasks[f'{folder.name}, {parameters:,} parameters'] = train
    tokens = config.batch_size * config.data.row_length
  times = clock.take_turns(tasks, args.repetitions)
  # The ratios are to BERT, the family that the others are measured against.
  reference = next(name for name in tasks if name.startswith('bert,'))
  print('\n'.join(clock.table(times, tokens / 1e3, 'ktok', reference)))


if __name__ == '__main__':
  main()
