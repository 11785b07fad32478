"""Adapters begin as nothing, and merged kernels are those of the definition, layer by layer."""

import jax
import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.models import low_rank
from tests import toys

RANK, ALPHA = 3, 6.0
ALL = low_rank.Adapters(RANK, ALPHA, ('layers/.*',))


def parameters(family='bert'):
  random = np.random.default_rng(0)
  shapes = jax.eval_shape(toys.model(**toys.FAMILIES[family]).init, rng.root_key(0))
  made = jax.tree.map(lambda x: random.normal(size=x.shape).astype(np.float32), shapes)
  return {name: each for name, each in made.items() if name != 'head'}


def drawn(params):
  """Returns the parameters with every B drawn too."""
  random = np.random.default_rng(0)
  leaves = [
    random.normal(size=leaf.shape).astype(np.float32) if path.endswith(low_rank.B) else leaf
    for path, leaf in trees.paths(params).items()
  ]
  return jax.tree.unflatten(jax.tree.structure(params), leaves)


@pytest.mark.parametrize('family', toys.FAMILIES)
def test_at_the_start_the_model_is_the_same(family):
  params = parameters(family)
  added = ALL.add(rng.root_key(1), params)
  kernels = [path for path in trees.paths(params) if path.endswith('kernel') and 'layers/' in path]
  has = {path.rpartition('/')[0] for path in trees.paths(added) if path.endswith(low_rank.A)}
  assert has == {path.rpartition('/')[0] for path in kernels}
  merged = ALL.merged(added)
  assert jax.tree.structure(merged) == jax.tree.structure(params)
  for path, leaf in trees.paths(merged).items():
    np.testing.assert_array_equal(leaf, trees.paths(params)[path])


def test_a_merged_kernel_is_that_of_the_definition_in_each_layer():
  params = drawn(ALL.add(rng.root_key(1), parameters()))
  merged = ALL.merged(params)
  there, found = params['layers']['feed_forward']['in'], merged['layers']['feed_forward']['in']
  for n, kernel_FH in enumerate(np.asarray(there['kernel'], np.float64)):
    change = np.asarray(there[low_rank.A][n], np.float64) @ there[low_rank.B][n]
    np.testing.assert_allclose(found['kernel'][n], kernel_FH + ALPHA / RANK * change, atol=1e-5)
    assert np.abs(change).max() > 0.1
  np.testing.assert_array_equal(found['bias'], there['bias'])


def test_a_draw_depends_on_its_kernel_alone_and_is_scaled_by_its_input():
  params = parameters()
  few = low_rank.Adapters(RANK, ALPHA, ('.*/query/kernel',)).add(rng.root_key(1), params)
  layers, every = few['layers'], ALL.add(rng.root_key(1), params)['layers']
  assert low_rank.A not in layers['attention']['key']
  a_NDr = every['attention']['query'][low_rank.A]
  np.testing.assert_array_equal(layers['attention']['query'][low_rank.A], a_NDr)
  assert not np.array_equal(a_NDr, every['attention']['key'][low_rank.A])
  assert not np.array_equal(a_NDr[0], a_NDr[1])
  # Of 192 numbers the standard error is 5 %.
  for wide in (a_NDr, every['feed_forward']['out'][low_rank.A]):
    assert np.std(wide) * np.sqrt(wide.shape[1]) == pytest.approx(1, abs=0.25)


def test_a_rule_that_matches_no_kernel_is_refused_and_some_are_named():
  rules = ('.*/query/kernel', '.*/bias')
  with pytest.raises(config_lib.UserError) as error:
    low_rank.Adapters(RANK, ALPHA, rules).check(parameters())
  said = str(error.value)
  assert "'.*/bias'" in said and 'layers/attention/key/kernel' in said and '\n' not in said
  low_rank.Adapters(RANK, ALPHA, rules[:1]).check(parameters())


def test_a_model_without_adapters_is_left_alone():
  params = parameters()
  none = low_rank.Adapters()
  assert none.add(rng.root_key(1), params) is params and none.merged(params) is params
  assert low_rank.of(config_lib.base()) == none
