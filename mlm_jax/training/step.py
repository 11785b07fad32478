"""One optimizer step: prepare, total the weights, differentiate, update. Pure."""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mlm_jax.core import metrics as metrics_lib
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.training import gradient_cache
from mlm_jax.training import problem as problem_lib
from mlm_jax.training import sharding

PyTree = Any


@trees.dataclass
class TrainState:
  """Everything that a step changes.

  Attributes:
    step: int32, updates tried so far.
    params: nested dict of float32 arrays.
    opt_state: the optimizer's.
    skipped: int32, non-finite gradients in a row up to now.
    aux: what else a task learns, such as the statistics of an adaptive masking policy; the
      step and the loop do not look inside.
  """

  step: jax.Array
  params: PyTree
  opt_state: PyTree
  skipped: jax.Array
  aux: PyTree = dataclasses.field(default_factory=dict)


def make_init(
  init_params: Callable[[jax.Array], PyTree],
  optimizer: optax.GradientTransformation,
  aux: PyTree | None = None,
) -> Callable[[jax.Array], TrainState]:
  """Returns init(key) -> TrainState, from init_params(key) -> params and the first `aux`."""

  def init(key: jax.Array) -> TrainState:
    params = init_params(key)
    return TrainState(jnp.int32(0), params, optimizer.init(params), jnp.int32(0), aux or {})

  return init


def make_train_step(
  objective: problem_lib.Objective,
  optimizer: optax.GradientTransformationExtraArgs,
  learning_rate: Callable[[jax.Array], jax.Array],
  total_steps: int,
  grad_accumulation_steps: int = 1,
) -> Callable:
  """Returns train_step(state, hparams, batch, root_key) -> (state, metrics), pure.

  The weights of all micro-batches and devices are totalled first; then the sum over terms of
  coefficient x sum / total is differentiated. So the gradient is that of the whole batch,
  however it is divided; where its rows are compared with each other, see gradient_cache.py.
  """

  def train_step(
    state: TrainState, hparams: PyTree, batch: PyTree, root_key: jax.Array
  ) -> tuple[TrainState, problem_lib.Sums]:
    # Traced, so that all steps share one program.
    progress = state.step / total_steps
    parts = sharding.split_rows(batch, grad_accumulation_steps)
    inputs = jax.vmap(lambda part: objective.prepare(hparams, state.aux, part, root_key, progress))(
      parts
    )
    # All weights come before any loss: a mean of the micro-batches' means would count predictions
    # in a part that has few of them more than those in another one.
    totals = jax.tree.map(jnp.sum, jax.vmap(objective.weights)(inputs))

    def part_gradient(part: Any) -> Any:
      number, inputs = part
      # By the number of the step and the part: a resumed run draws what an unbroken one draws.
      key = rng.step_key(root_key, 'dropout', state.step, number)

      def mean_loss(params: PyTree) -> tuple[jax.Array, PyTree]:
        sums, metrics, counts = objective.loss(params, inputs, key)
        return combine(objective.coefficients, sums, totals), (metrics, counts)

      return jax.grad(mean_loss, has_aux=True)(state.params)

    if grad_accumulation_steps > 1 and getattr(objective, 'crosses_rows', False):
      key = rng.step_key(root_key, 'dropout', state.step, 0)
      loss = lambda sums: combine(objective.coefficients, sums, totals)
      grads, (metrics, counts) = gradient_cache.gradient(objective, loss, state.params, inputs, key)
    else:
      grads, (metrics, counts) = _sum_over_parts(part_gradient, inputs, grad_accumulation_steps)
    # One number tells it of all: the norm is not finite if any element is not.
    norm = optax.tree.norm(grads)
    finite = jnp.isfinite(norm)
    one = jnp.float32(1)
    metrics['gradient_norm'] = (norm, one)
    # A skipped step is counted and nothing else: one NaN would hide its neighbours.
    metrics = jax.tree.map(lambda x: jnp.where(finite, x, 0), metrics)
    metrics['learning_rate'] = (learning_rate(state.step), one)
    metrics['skipped'] = (1 - finite.astype(jnp.float32), one)
    aux = objective.adapt(hparams, state.aux, counts, state.step, progress)
    return _apply(state, grads, aux, finite, totals, optimizer), metrics

  return train_step


def make_eval_step(objective: problem_lib.Objective) -> Callable:
  """Returns eval_step(params, aux, hparams, batch, root_key, progress) -> metrics.

  Metrics are {name: (sum, weight)}; nothing is dropped out.
  """

  def eval_step(
    params: PyTree, aux: PyTree, hparams: PyTree, batch: PyTree, root_key: jax.Array, progress: Any
  ) -> problem_lib.Sums:
    inputs = objective.prepare(hparams, aux, batch, root_key, progress)
    return objective.loss(params, inputs, None)[1]

  return eval_step


def combine(
  coefficients: dict[str, float], sums: dict[str, jax.Array], totals: dict[str, jax.Array]
) -> jax.Array:
  """Returns the loss: the sum over terms of coefficient x sum / total; 0 / 0 counts as 0."""
  # Not by `where`: the gradient of the branch that is not taken would still be NaN.
  loss: Any = sum(
    coefficients[term] * sums[term] / jnp.maximum(totals[term], 1e-9) for term in sums
  )
  return loss


def _sum_over_parts(part_gradient: Callable, inputs: PyTree, grad_accumulation_steps: int) -> Any:
  """Returns the sums of gradients and metrics over the leading axis of inputs."""
  if grad_accumulation_steps == 1:  # no loop, which would hold the gradients twice
    return part_gradient((0, jax.tree.map(lambda x: x[0], inputs)))
  parts = (jnp.arange(grad_accumulation_steps), inputs)
  zeros = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype),
    jax.eval_shape(part_gradient, jax.tree.map(lambda x: x[0], parts)),
  )
  total, _ = jax.lax.scan(
    lambda total, part: (metrics_lib.add(total, part_gradient(part)), None), zeros, parts
  )
  return total


def _apply(
  state: TrainState,
  grads: PyTree,
  aux: PyTree,
  finite: jax.Array,
  totals: dict[str, jax.Array],
  optimizer: optax.GradientTransformationExtraArgs,
) -> TrainState:
  """Returns the state after one update, or unchanged but for its counters.

  Nothing is updated when the gradient is not finite or when all weights are 0.
  """
  updates, opt_state = optimizer.update(grads, state.opt_state, state.params, step=state.step)
  params = optax.apply_updates(state.params, updates)
  use = finite & (sum(totals.values()) > 0)
  # `where` and not `cond`: under vmap over runs a branch becomes a `where` anyway.
  keep = lambda new, old: jax.tree.map(lambda a, b: jnp.where(use, a, b), new, old)
  return TrainState(
    state.step + 1,
    keep(params, state.params),
    keep(opt_state, state.opt_state),
    jnp.where(finite, 0, state.skipped + 1),
    keep(aux, state.aux),
  )
