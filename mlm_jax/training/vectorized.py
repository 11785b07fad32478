"""R runs as one: the step of a run vmapped over those that differ in numbers.

States, metrics and the numbers that differ have a leading axis R; what is the same for all,
such as the masks of runs with one seed and one policy, is computed once. Over several
devices the replicas are divided, and no row leaves its replica.
"""

from collections.abc import Callable
import types
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np

from mlm_jax.core import rng
from mlm_jax.training import compiled as compiled_lib
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import sharding

PyTree = Any
_DIVIDED = PartitionSpec('data')  # the replicas, over all devices


def assemble(
  configs: list,
  problems: list[problem_lib.Problem],
  compiled: compiled_lib.Compiled,
  unify: Callable[[list], list] = lambda hparams: hparams,
) -> tuple[compiled_lib.Compiled, jax.Array]:
  """Returns (Compiled, root keys) of R runs as one.

  Args:
    configs: resolved.
    problems: of each run alone on one device.
    compiled: of the first of them.
    unify: gives the hparams of several runs one structure, whatever static numbers they hold.
  """
  config, R = configs[0], len(configs)
  mesh = sharding.largest_mesh(R, config.mesh.devices or config.mesh.data)
  whole, divided = (NamedSharding(mesh, spec) for spec in (PartitionSpec(), _DIVIDED))
  # What a run is saved and reported from lies where the run alone has it.
  alone = sharding.replicated(sharding.largest_mesh(1))
  # The order of the data and all keys depend on the seed alone: S of each serve R runs.
  seeds = sorted({each.seed for each in configs})
  stage = problems[0].stages[0]
  hparams = unify([each.stages[0].hparams for each in problems])
  own = [
    {
      'hparams': each_hparams,
      'seed': np.int32(seeds.index(each.seed)),
      'learning_rate': np.float32(each.optim.learning_rate),
      'weight_decay': np.float32(each.optim.weight_decay),
    }
    for each, each_hparams in zip(configs, hparams, strict=True)
  ]
  # One batch a seed goes to the devices; each replica takes its own there.
  batch_of = [
    problems[[each.seed for each in configs].index(seed)].stages[0].batch for seed in seeds
  ]
  stack = lambda *rows: np.stack(rows)
  batch = lambda step: jax.device_put(
    jax.tree.map(stack, *(of_seed(step) for of_seed in batch_of)), whole
  )
  over = Replicated(own, mesh)
  step = jax.jit(
    over.vmap(_step(config, stage.objective), 1), out_shardings=divided, donate_argnums=1
  )
  # r is an argument and not a constant, or each run would compile a program of its own.
  part = jax.jit(lambda tree, r: jax.tree.map(lambda x: x[r], tree), out_shardings=whole)
  shape = lambda x: jax.ShapeDtypeStruct((R, *x.shape), x.dtype, sharding=divided)
  together = compiled_lib.Compiled(
    init=compiled.init,
    steps=(lambda state, batch_S, keys_S: step(over.leaves, state, batch_S, keys_S),),
    batch=batch,
    state=jax.tree.map(shape, compiled.state),
    metrics=jax.tree.map(shape, compiled.metrics),
    evaluators={
      name: _evaluator([each.evaluators[name] for each in problems], mesh, unify)
      for name in problems[0].evaluators
    },
    steps_ahead=compiled.steps_ahead,
    peak=compiled.peak and compiled.peak * mesh.devices.size,
    runs=R,
    part=lambda tree, r: jax.device_put(part(tree, np.int32(r)), alone),
    parts=lambda tree: [jax.tree.map(lambda x: x[r], tree) for r in range(R)],
  )
  return together, jax.device_put(jnp.stack([rng.root_key(seed) for seed in seeds]), whole)


def stacked(trees: list, compiled: compiled_lib.Compiled) -> PyTree:
  """Returns trees of runs alone as one tree of the runs together, on the devices of `compiled`."""
  place = compiled.state.step.sharding
  return jax.tree.map(lambda *x: jax.device_put(np.stack(jax.device_get(x)), place), *trees)


def _step(config: Any, objective: problem_lib.Objective) -> Callable:
  """Returns step(own, state, batch_S, keys_S) -> (state, metrics) of a run with its own numbers."""

  def step(own: Any, state: Any, batch_S: PyTree, keys_S: jax.Array) -> tuple[Any, Any]:
    at_seed = lambda x: x[own['seed']]
    # A ConfigDict refuses traced numbers in place of floats; the optimizer reads attributes only.
    numbers = types.SimpleNamespace(
      **config.optim.to_dict() | {name: own[name] for name in ('learning_rate', 'weight_decay')}
    )
    # Made inside of the trace: the optimizer then closes over the run's own traced numbers.
    one = compiled_lib.optimizer_step(objective, config, optim_config=numbers)
    return one(state, own['hparams'], jax.tree.map(at_seed, batch_S), at_seed(keys_S))

  return step


class Replicated:
  """Trees of R runs as one, on the devices.

  Leaves that differ have a leading axis R, the others none.

  Attributes:
    leaves: list of arrays.
  """

  def __init__(self, trees: list, mesh: jax.sharding.Mesh):
    # A leaf that is equal in all runs is held once, and what depends on such leaves alone, such
    # as the masks of one policy, is then computed once under vmap.
    self._mesh, self._structure = mesh, jax.tree.structure(trees[0])
    columns = list(zip(*map(jax.tree.leaves, jax.device_get(trees)), strict=True))
    self._axes = [
      None if all(np.array_equal(x, column[0]) for x in column) else 0 for column in columns
    ]
    values = [
      np.stack(column) if axis == 0 else column[0]
      for column, axis in zip(columns, self._axes, strict=True)
    ]
    self._specs = [PartitionSpec() if axis is None else _DIVIDED for axis in self._axes]
    self.leaves = [
      jax.device_put(x, NamedSharding(mesh, spec))
      for x, spec in zip(values, self._specs, strict=True)
    ]

  def vmap(self, function: Callable, states: int) -> Callable:
    """Returns f(leaves, *arguments) = function(a run's tree, *arguments), of each of the R runs.

    Each device computes its share of R. Of the arguments the first `states` have a leading axis
    R, as has all that is returned.
    """

    def one(leaves: list, *arguments: PyTree) -> PyTree:
      return function(jax.tree.unflatten(self._structure, leaves), *arguments)

    def all_of_them(leaves: list, *arguments: PyTree) -> PyTree:
      axes = [0 if i < states else None for i in range(len(arguments))]
      specs = [_DIVIDED if axis == 0 else PartitionSpec() for axis in axes]
      # Left to the compiler, the division would cost communication that no replica needs.
      return jax.shard_map(
        jax.vmap(one, in_axes=(self._axes, *axes)),
        mesh=self._mesh,
        in_specs=(self._specs, *specs),
        out_specs=_DIVIDED,
        check_vma=False,
      )(leaves, *arguments)

    return all_of_them


def _evaluator(
  evaluators: list, mesh: jax.sharding.Mesh, unify: Callable[[list], list]
) -> Callable:
  """Returns (params, aux, progress) -> [{metric: value} of each run], from the runs' own.

  Evaluators that say how they score a batch (see evaluation/heldout.py) are vmapped; others
  are called one run after another.
  """
  first, R = evaluators[0], len(evaluators)
  if not hasattr(first, 'score'):
    # On the host, since an evaluator of its own may expect a run's arrays on one device.
    return lambda params, aux, progress: [
      each(*jax.tree.map(lambda x: x[r], jax.device_get((params, aux))), progress)
      for r, each in enumerate(evaluators)
    ]
  over = Replicated(unify([each.hparams for each in evaluators]), mesh)
  whole = sharding.replicated(mesh)
  score = jax.jit(over.vmap(_with_arguments(first.score), 2))
  put = lambda batch: jax.device_put(batch, whole)

  def evaluate(params: PyTree, aux: PyTree, progress: Any) -> list[dict[str, float]]:
    progress = jax.device_put(np.float32(progress), whole)
    sums = first.sums(lambda batch: score(over.leaves, params, aux, batch, progress), put)
    return [first.means(jax.tree.map(lambda x: x[r], sums)) for r in range(R)]

  return evaluate


def _with_arguments(score: Callable) -> Callable:
  """Returns score with the hparams first, where `Replicated.vmap` puts what differs."""
  return lambda hparams, params, aux, batch, progress: score(params, aux, hparams, batch, progress)
