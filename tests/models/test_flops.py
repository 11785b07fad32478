"""FLOPs: equal to the products in the traced program, and close to XLA's own count."""

from collections.abc import Callable
import functools
import math
from typing import Any

import jax
from jax.extend import core
import jax.numpy as jnp
import numpy as np
import pytest

from mlm_jax import models
from mlm_jax.models import flops
from tests import toys


def program(rows, length, predicted, **settings) -> tuple[Callable, tuple, Any]:
  """Returns (loss(params, tokens_BL, index_P), its abstract arguments, the architecture)."""
  model = models.make(toys.config(model__max_positions=length, **settings).model, 256)

  def loss(params, tokens_BL, index_P):
    ones_BL = jnp.ones_like(tokens_BL)
    decoded_BLD = model.apply(params, tokens_BL, ones_BL, ones_BL).decoded_BLD
    logits_PV = model.head(params, decoded_BLD.reshape(rows * length, -1)[index_P])
    return jax.nn.logsumexp(logits_PV, axis=1).sum()

  arguments = (
    jax.eval_shape(model.init, jax.random.key(0)),
    jax.ShapeDtypeStruct((rows, length), jnp.int32),
    jax.ShapeDtypeStruct((predicted,), jnp.int32),
  )
  return loss, arguments, model.architecture


def products(jaxpr):
  """Returns the FLOPs of the matrix products that a traced program holds, in its loops too."""
  total = 0
  for equation in jaxpr.eqns:
    if equation.primitive.name == 'dot_general':
      (contracted, _), _ = equation.params['dimension_numbers']
      shape = equation.invars[0].aval.shape
      total += 2 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
    inner = sum(products(each) for each in core.jaxprs_in_params(equation.params))
    total += inner * equation.params.get('length', 1)
  return total


SIZES = (
  dict(model__width=32, model__heads=2, model__feed_forward=64),
  pytest.param(
    dict(model__layers=3, model__width=48, model__heads=4, model__feed_forward=80),
    marks=pytest.mark.slow,
  ),
)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('family', ('bert', 'roberta', 'electra'))
def test_counts_are_those_of_the_products_in_the_program(family, size):
  loss, arguments, architecture = program(2, 24, 7, **toys.FAMILIES[family] | size)
  counts = dict(tokens=2 * 24, attended=2 * 24 * 24, predicted=7)
  traced = jax.make_jaxpr(loss)(*arguments).jaxpr
  assert products(traced) == architecture.flops(**counts)
  traced = jax.make_jaxpr(jax.value_and_grad(loss))(*arguments).jaxpr
  assert products(traced) == flops.training(architecture, **counts)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('family', ('deberta', 'deberta_v2', 'deberta_v2_own', 'deberta_v3'))
def test_counts_of_relative_positions_leave_out_the_shared_table_and_what_the_shift_adds(
  family, size
):
  """A row of L positions in one block is multiplied with 2 L distances, of which each pair uses
  one.
  """
  rows, length = 2, 24
  loss, arguments, architecture = program(rows, length, 7, **toys.FAMILIES[family] | size)
  counts = dict(tokens=rows * length, attended=rows * length**2, predicted=7)
  a = architecture
  of_table = a.layers * 2 * 2 * (2 * a.span) * a.width**2  # projected twice, for all rows
  of_shift = a.layers * rows * 2 * 2 * length * length * a.width
  assert (
    products(jax.make_jaxpr(loss)(*arguments).jaxpr)
    == architecture.flops(**counts) + of_table + of_shift
  )


@pytest.mark.parametrize('size', SIZES)
def test_counts_of_local_layers_leave_out_what_is_too_far_and_what_blocks_add(size):
  rows, length, reach = 2, 24, 3
  loss, arguments, architecture = program(rows, length, 7, **toys.FAMILIES['modernbert'] | size)
  pairs = architecture.pairs(np.arange(length)).sum()
  a, block = architecture, 32
  of_pairs = lambda each: 4 * a.width * rows * each  # of a layer
  whole = -(-a.layers // 3)
  local = sum(min(length - 1, i + reach) - max(0, i - reach) + 1 for i in range(length))
  found = products(jax.make_jaxpr(loss)(*arguments).jaxpr) - architecture.flops(
    tokens=rows * length, attended=rows * pairs, predicted=7
  )
  # One block of 32 positions sees three, of which two are outside the row.
  assert found == pytest.approx(
    (a.layers - whole) * (of_pairs(block * 3 * block) - of_pairs(local))
  )
  assert pairs == pytest.approx((whole * length**2 + (a.layers - whole) * local) / a.layers)


def test_xlas_own_count_is_larger_by_the_elementwise_part_only():
  loss, arguments, architecture = program(
    2, 128, 40, model__width=512, model__heads=8, model__feed_forward=2048
  )
  counts = dict(tokens=2 * 128, attended=2 * 128 * 128, predicted=40)
  for function, expected, excess in (
    (loss, architecture.flops, 0.03),
    (jax.value_and_grad(loss), functools.partial(flops.training, architecture), 0.02),
  ):
    found = jax.jit(function).lower(*arguments).compile().cost_analysis()['flops']
    assert 1 < found / expected(**counts) < 1 + excess


def test_peaks_are_known_by_the_exact_name_of_a_whole_device():
  assert flops.peak('NVIDIA H200') == 989.5e12
  assert flops.peak('TPU v5 lite') == flops.peak('TPU v5e') == 197e12
  assert flops.peak('NVIDIA H200 MIG 1g.18gb') is None
  assert flops.peak(jax.devices()[0].device_kind) is None
