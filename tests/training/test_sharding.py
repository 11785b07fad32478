"""The mesh: its axes make up the devices, its rules share out what is large, its rows go where they
belong.
"""

import jax
import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.training import optim
from mlm_jax.training import sharding
from mlm_jax.training import step as step_lib
from tests import toys


def state_of(**settings):
  config = toys.config(**settings)
  init = step_lib.make_init(toys.model().init, optim.make(config.optim, config.total_steps))
  return jax.eval_shape(init, rng.root_key(0))


@pytest.mark.parametrize(
  'settings, shape',
  (
    (dict(), (2, 1, 1)),
    (dict(mesh__fsdp=2), (1, 2, 1)),
    (dict(mesh__tensor=2), (1, 1, 2)),
    (dict(mesh__devices=1), (1, 1, 1)),
    (dict(mesh__devices=1, mesh__data=1), (1, 1, 1)),
  ),
)
def test_data_takes_the_devices_that_are_left(settings, shape):
  assert sharding.make_mesh(toys.config(**settings).mesh).devices.shape == shape


@pytest.mark.parametrize(
  'settings, says',
  (
    (
      dict(mesh__data=1),
      r'1 x 1 x 1 = 1 does not make up the 2 devices; set config.mesh.devices = 1',
    ),
    (
      dict(mesh__data=2, mesh__fsdp=2),
      r'2 x 2 x 1 = 4 does not make up the 2 devices; there are 2 devices',
    ),
    (dict(mesh__tensor=3), r'1 x 1 x 3 = 3 does not make up'),
    (dict(mesh__devices=3), r'config.mesh.devices = 3: there are 2 devices \(cpu\)'),
  ),
)
def test_a_mesh_that_does_not_make_up_the_devices_is_refused(settings, says):
  with pytest.raises(config_lib.UserError, match=says):
    sharding.make_mesh(toys.config(**settings).mesh)


@pytest.mark.parametrize(
  'axis, model, says',
  (
    ('tensor', dict(model__heads=1), 'config.mesh.tensor = 2: must divide config.model.heads = 1'),
    ('tensor', dict(model__feed_forward=63), 'must divide config.model.feed_forward = 63'),
    (
      'fsdp',
      dict(model__width=33, model__heads=3),
      'config.mesh.fsdp = 2: must divide config.model.width = 33',
    ),
  ),
)
def test_a_model_that_cannot_be_shared_out_is_refused(axis, model, says):
  config = toys.config(**model, **{f'mesh__{axis}': 2})
  with pytest.raises(config_lib.UserError, match=says):
    sharding.check_model(sharding.make_mesh(config.mesh), config.model)


@pytest.mark.parametrize('axis', ('fsdp', 'tensor'))
@pytest.mark.parametrize('optimizer', ('adamw', 'lamb', 'stable_adamw'))
def test_both_moments_and_parameters_are_shared_out(axis, optimizer):
  """Position table, norms and biases of the width are small; everything else is halved."""
  mesh = sharding.make_mesh(toys.config(**{f'mesh__{axis}': 2}).mesh)
  state = state_of(optim__name=optimizer)
  held = lambda tree: sum(
    np.prod(place.shard_shape(x.shape))
    for x, place in zip(jax.tree.leaves(tree), jax.tree.leaves(sharding.by_rules(mesh, tree)))
  )
  large = {
    path: x for path, x in trees.paths(state).items() if path.endswith('kernel') or 'token' in path
  }
  assert held(list(large.values())) == trees.count(
    list(large.values())
  )  # lists have no paths to go by
  for path, x in large.items():
    place = jax.tree.leaves(sharding.by_rules(mesh, {path: x}))[0]
    if not path.endswith('transform/kernel') or axis == 'fsdp':
      assert np.prod(place.shard_shape(x.shape)) == x.size // 2, path
  assert held(state) < 0.7 * trees.count(state)


@pytest.mark.parametrize(
  'settings', (dict(), dict(mesh__fsdp=2), dict(mesh__tensor=2), dict(mesh__devices=1))
)
def test_rows_arrive_in_their_order_whatever_the_mesh(settings):
  mesh = sharding.make_mesh(toys.config(**settings).mesh)
  batch = toys.batch()
  np.testing.assert_array_equal(sharding.local_rows(mesh, 8), np.arange(8))
  placed = sharding.put(batch, mesh, 8)
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(placed), batch)
  assert len(placed.tokens_BL.addressable_shards[0].data) == 8 // sharding.row_parts(mesh)


def test_no_row_changes_its_device_when_a_batch_is_split():
  mesh = sharding.make_mesh(toys.config().mesh)
  rows = jax.device_put(np.arange(8), sharding.by_rows(mesh))
  halves = np.asarray(sharding.split_rows(rows, 2))
  assert sorted(halves[0].tolist() + halves[1].tolist()) == list(range(8))
  assert all(sorted(row // 4 for row in part.tolist()) == [0, 0, 1, 1] for part in halves)
