"""The pure functions of training: init, one step, one evaluation step."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mlm_jax.core import metrics as metrics_lib
from mlm_jax.core import rng
from mlm_jax.training import sharding


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
  """Everything that a step changes.

  Attributes:
    step: int32, updates tried so far.
    params: nested dict of float32 arrays.
    opt_state: the optimizer's.
    skipped: int32, non-finite gradients in a row up to now.
    adapted: dict of what the masking policy has learned; {} where it learns nothing.
  """

  step: jax.Array
  params: Any
  opt_state: Any
  skipped: jax.Array
  adapted: Any = dataclasses.field(default_factory=dict)


def make_init(init_params, optimizer, adapted=None):
  """Returns init(key) -> TrainState, from init_params(key) -> params and the policy's first
  `adapted`.
  """

  def init(key):
    params = init_params(key)
    return TrainState(jnp.int32(0), params, optimizer.init(params), jnp.int32(0), adapted or {})

  return init


def make_train_step(objective, optimizer, learning_rate, total_steps, grad_accumulation_steps=1):
  """Returns train_step(state, policy, batch, root_key) -> (state, metrics), pure.

  The weights of all micro-batches and devices are totalled first; then the sum
  over terms of coefficient x sum / total is differentiated. So the gradient is
  that of the whole batch, however it is divided.
  """

  def train_step(state, policy, batch, root_key):
    progress = state.step / total_steps
    policy = policy.with_learned(state.adapted)
    parts = sharding.split_rows(batch, grad_accumulation_steps)
    inputs = jax.vmap(lambda part: objective.prepare(policy, part, root_key, progress))(parts)
    totals = jax.tree.map(jnp.sum, jax.vmap(objective.weights)(inputs))

    def part_gradient(part):
      number, inputs = part
      key = rng.step_key(root_key, 'dropout', state.step, number)

      def mean_loss(params):
        sums, metrics, counts = objective.loss(params, inputs, key)
        return combine(objective.coefficients, sums, totals), (metrics, counts)

      return jax.grad(mean_loss, has_aux=True)(state.params)

    grads, (metrics, counts) = _sum_over_parts(part_gradient, inputs, grad_accumulation_steps)
    norm = optax.tree.norm(grads)
    finite = jnp.isfinite(norm)
    one = jnp.float32(1)
    metrics['gradient_norm'] = (norm, one)
    # A skipped step is counted and nothing else: one NaN would hide its neighbours.
    metrics = jax.tree.map(lambda x: jnp.where(finite, x, 0), metrics)
    metrics['learning_rate'] = (learning_rate(state.step), one)
    metrics['skipped'] = (1 - finite.astype(jnp.float32), one)
    adapted = objective.adapt(policy, counts, state.step, progress)
    return _apply(state, grads, adapted, finite, totals, optimizer), metrics

  return train_step


def make_eval_step(objective):
  """Returns eval_step(params, policy, batch, root_key, progress) -> {metric: (sum, weight)}."""

  def eval_step(params, policy, batch, root_key, progress):
    return objective.loss(params, objective.prepare(policy, batch, root_key, progress))[1]

  return eval_step


def combine(coefficients, sums, totals):
  """Returns the loss: the sum over terms of coefficient x sum / total; 0 / 0 counts as 0."""
  return sum(coefficients[term] * sums[term] / jnp.maximum(totals[term], 1e-9) for term in sums)


def _sum_over_parts(part_gradient, inputs, grad_accumulation_steps):
  """Returns the sums of gradients and metrics over the leading axis of inputs."""
  if grad_accumulation_steps == 1:
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


def _apply(state, grads, adapted, finite, totals, optimizer):
  """Returns the state after one update, or unchanged but for its counters.

  Nothing is updated when the gradient is not finite or when nothing was predicted.
  """
  updates, opt_state = optimizer.update(grads, state.opt_state, state.params, step=state.step)
  params = optax.apply_updates(state.params, updates)
  use = finite & (sum(totals.values()) > 0)
  keep = lambda new, old: jax.tree.map(lambda a, b: jnp.where(use, a, b), new, old)
  return TrainState(
    state.step + 1,
    keep(params, state.params),
    keep(opt_state, state.opt_state),
    jnp.where(finite, 0, state.skipped + 1),
    keep(adapted, state.adapted),
  )
