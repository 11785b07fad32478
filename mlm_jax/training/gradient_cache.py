"""The gradient of a loss that compares all rows of a batch, in the memory of a micro-batch.

First the outputs of each micro-batch, without a gradient; then the loss of all of them and its
gradient with respect to the outputs; then each micro-batch once more, through which that gradient
goes on to the parameters. Source: arXiv:2101.06983, section 3.2.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mlm_jax.training import problem as problem_lib
from mlm_jax.training import sharding

PyTree = Any


def gradient(
  objective: problem_lib.Objective,
  total: Callable[[dict[str, jax.Array]], jax.Array],
  params: PyTree,
  inputs: PyTree,
  key: jax.Array,
) -> tuple[PyTree, tuple[problem_lib.Sums, PyTree]]:
  """Returns (gradient, (metrics, counts)) of a batch, as of `objective.loss` of the whole of it.

  Args:
    objective: with `outputs(params, inputs, key)`, arrays [rows, ...], and `loss_of(outputs,
      inputs)`, which returns what `loss` does. What it drops out of a row depends on the key and
      that row alone, so both passes see the same.
    total: ({term: sum}) -> the loss.
    params: of the model.
    inputs: micro-batches, as `sharding.split_rows` gives them.
    key: of the step's dropout.
  """
  found: Any = objective  # see the class: not every objective has the two functions
  outputs_of = lambda params, part: found.outputs(params, part, key)
  outputs = jax.lax.map(lambda part: outputs_of(params, part), inputs)
  whole = sharding.join_rows(inputs)

  def loss(outputs: PyTree) -> tuple[jax.Array, PyTree]:
    sums, metrics, counts = found.loss_of(sharding.join_rows(outputs), whole)
    return total(sums), (metrics, counts)

  of_outputs, said = jax.grad(loss, has_aux=True)(outputs)

  def add(grads: PyTree, part: PyTree) -> tuple[PyTree, None]:
    inputs, of_outputs = part
    _, back = jax.vjp(lambda params: outputs_of(params, inputs), params)
    return jax.tree.map(jnp.add, grads, back(of_outputs)[0]), None

  zeros = jax.tree.map(jnp.zeros_like, params)
  return jax.lax.scan(add, zeros, (inputs, of_outputs))[0], said
