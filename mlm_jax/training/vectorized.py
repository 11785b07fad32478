"""R runs as one: the step of a run vmapped over those that differ in numbers.

States, metrics and the numbers that differ have a leading axis R; what is the same for all,
such as the masks of runs with one seed and one policy, is computed once. Over several
devices the replicas are divided, and no row leaves its replica.
"""

import dataclasses
import types

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec
import numpy as np

from mlm_jax.core import rng
from mlm_jax.evaluation import heldout as masked_evaluation
from mlm_jax.training import optim
from mlm_jax.training import sharding
from mlm_jax.training import step as step_lib

_DIVIDED = PartitionSpec('data')  # the replicas, over all devices


def assemble(configs, problems, compiled):
  """Returns (Problem, train.Compiled, root keys) of R runs as one.

  Args:
    configs: resolved.
    problems: of each run alone on one device.
    compiled: train.Compiled of the first of them.
  """
  config, R = configs[0], len(configs)
  mesh = sharding.largest_mesh(R, config.mesh.devices or config.mesh.data)
  whole, divided = (NamedSharding(mesh, spec) for spec in (PartitionSpec(), _DIVIDED))
  whole_of_one = sharding.replicated(sharding.largest_mesh(1))
  seeds = sorted({each.seed for each in configs})
  stage = problems[0].stages[0]
  policies = alike([each.stages[0].policy for each in problems])
  own = [
    {
      'policy': policy,
      'seed': np.int32(seeds.index(each.seed)),
      'learning_rate': np.float32(each.optim.learning_rate),
      'weight_decay': np.float32(each.optim.weight_decay),
    }
    for each, policy in zip(configs, policies)
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
  part = jax.jit(lambda run_state, r: jax.tree.map(lambda x: x[r], run_state), out_shardings=whole)
  shape = lambda x: jax.ShapeDtypeStruct((R, *x.shape), x.dtype, sharding=divided)
  together = dataclasses.replace(
    compiled,
    init=None,
    batch=batch,
    state=jax.tree.map(shape, compiled.state),
    replicas=R,
    steps=(lambda state, leaves, batch_S, keys_S: step(leaves, state, batch_S, keys_S),),
    part=lambda run_state, r: part(run_state, np.int32(r)),
    peak=compiled.peak and compiled.peak * mesh.devices.size,
  )
  problem = dataclasses.replace(
    problems[0],
    init=None,
    stages=(dataclasses.replace(stage, policy=over.leaves, batch=None, examples=None),),
    slices=[
      lambda params, adapted, score=each.slices: score(
        *jax.device_put((params, adapted), whole_of_one)
      )
      for each in problems
    ],
    evaluators={
      name: _evaluator([each.evaluators[name] for each in problems], mesh)
      for name in problems[0].evaluators
    },
  )
  return problem, together, jax.device_put(jnp.stack([rng.root_key(seed) for seed in seeds]), whole)


def _step(config, objective):
  """Returns step(own, state, batch_S, keys_S) -> (state, metrics) of one run with numbers of its
  own.
  """

  def step(own, state, batch_S, keys_S):
    at_seed = lambda x: x[own['seed']]
    numbers = types.SimpleNamespace(
      **config.optim.to_dict() | {name: own[name] for name in ('learning_rate', 'weight_decay')}
    )
    train_step = step_lib.make_train_step(
      objective,
      optim.make(numbers, config.total_steps),
      optim.schedule(numbers, config.total_steps),
      config.total_steps,
      config.grad_accumulation_steps,
    )
    return train_step(state, own['policy'], jax.tree.map(at_seed, batch_S), at_seed(keys_S))

  return step


def alike(policies):
  """Returns the policies with one structure; their masks stay as they are."""
  rate, fraction = (
    max(getattr(each, name) for each in policies) for name in ('max_rate', 'max_predict_fraction')
  )
  if any(each.max_predict_fraction < 1 for each in policies):
    fraction = min(fraction, float(np.nextafter(1, 0)))  # at 1 all would be predicted, by everyone
  return [
    dataclasses.replace(each, max_rate=rate, max_predict_fraction=fraction) for each in policies
  ]


class Replicated:
  """Trees of R runs as one, on the devices: leaves that differ have a leading axis R, the others
  none.

  Attributes:
    leaves: list of arrays.
  """

  def __init__(self, trees, mesh):
    self._mesh, self._structure = mesh, jax.tree.structure(trees[0])
    columns = list(zip(*map(jax.tree.leaves, jax.device_get(trees))))
    self._axes = [
      None if all(np.array_equal(x, column[0]) for x in column) else 0 for column in columns
    ]
    stacked = [
      np.stack(column) if axis == 0 else column[0] for column, axis in zip(columns, self._axes)
    ]
    self._specs = [PartitionSpec() if axis is None else _DIVIDED for axis in self._axes]
    self.leaves = [
      jax.device_put(x, NamedSharding(mesh, spec)) for x, spec in zip(stacked, self._specs)
    ]

  def vmap(self, function, states):
    """Returns f(leaves, *arguments) = R times function(a run's tree, *arguments), each device its
    share of R.

    Of the arguments the first `states` have a leading axis R, as has all that is returned.
    """

    def one(leaves, *arguments):
      return function(jax.tree.unflatten(self._structure, leaves), *arguments)

    def all_of_them(leaves, *arguments):
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


def _evaluator(evaluators, mesh):
  """Returns (params, progress, adapted) -> [{metric: mean} of each run], from the runs' own
  Evaluators.
  """
  first, R = evaluators[0], len(evaluators)
  over = Replicated(alike([each.policy for each in evaluators]), mesh)
  whole = sharding.replicated(mesh)

  def score(policy, params, adapted, batch, key, progress):
    return first.eval_step(params, policy.with_learned(adapted), batch, key, progress)

  score = jax.jit(over.vmap(score, 2))
  put = lambda batch: jax.device_put(batch, whole)

  def evaluate(params, progress, adapted):
    key, progress = jax.device_put((masked_evaluation.reference_key(), np.float32(progress)), whole)
    sums = masked_evaluation.sums(
      lambda batch: score(over.leaves, params, adapted, batch, key, progress), first.loaders, put
    )
    part = lambda r: jax.tree.map(lambda x: x[r], sums)
    return [masked_evaluation.means(part(r), len(first.loaders) > 1) for r in range(R)]

  return evaluate
