"""Checkpoints: complete or absent, and the newest intact one is found."""

import json

import jax
import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax.training import checkpoint
from tests import toys

PARTS = {
  'params': {'w': np.arange(6, dtype=np.float32).reshape(2, 3)},
  'counters': {'step': np.int32(0)},
}
ABSTRACT = jax.tree.map(
  lambda x: jax.ShapeDtypeStruct(
    np.shape(x), x.dtype, sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0])
  ),
  PARTS,
)


def parts(step):
  return jax.tree.map(lambda x: jax.numpy.asarray(x + np.asarray(step, x.dtype)), PARTS)


@pytest.fixture
def saved(tmp_path):
  """Checkpoints of steps 1, 2, 3 and the lines that were logged."""
  lines = []
  checkpoints = checkpoint.Checkpoints(
    tmp_path, toys.config(checkpoint__keep_latest=5).checkpoint, lines.append
  )
  for step in (1, 2, 3):
    checkpoints.save(step, parts(step))
  checkpoints.wait()
  return checkpoints, tmp_path, lines


def flip_a_byte(path):
  """Alters one byte in the largest file below path."""
  file = max(
    (each for each in path.rglob('*') if each.is_file() and each.name != checkpoint.MANIFEST),
    key=lambda each: each.stat().st_size,
  )
  data = bytearray(file.read_bytes())
  data[len(data) // 2] ^= 1
  file.write_bytes(data)


def assert_restores(checkpoints, step):
  found, tree = checkpoints.restore_newest(ABSTRACT)
  assert found == step
  jax.tree.map(np.testing.assert_array_equal, tree, parts(step))


def test_the_newest_step_comes_back_bit_for_bit(saved):
  checkpoints, _, lines = saved
  assert_restores(checkpoints, 3)
  assert lines == []


@pytest.mark.parametrize(
  'damage',
  (
    flip_a_byte,
    lambda path: next(
      each for each in path.rglob('*') if each.is_file() and 'ocdbt' in str(each)
    ).unlink(),
    lambda path: (path / checkpoint.MANIFEST).write_text('{'),
    lambda path: (path / checkpoint.MANIFEST).write_text('{"files": [1]}'),
    lambda path: (path / checkpoint.MANIFEST).unlink(),
  ),
)
def test_a_broken_step_is_set_aside_by_name_and_the_one_before_it_serves(saved, damage):
  checkpoints, folder, lines = saved
  damage(folder / '3')
  assert_restores(checkpoints, 2)
  assert any(str(folder / '3') in line and 'warning' in line for line in lines)
  assert (folder / '3.broken').is_dir() and not (folder / '3').exists()
  checkpoints.save(3, parts(3))
  checkpoints.wait()
  assert_restores(checkpoints, 3)


def test_an_unverified_step_serves_only_where_nothing_verified_is_intact(saved):
  checkpoints, folder, lines = saved
  for step in (1, 2):
    flip_a_byte(folder / str(step))
  (folder / '3' / checkpoint.MANIFEST).unlink()
  assert_restores(checkpoints, 3)
  assert any('no verified step is intact' in line for line in lines)


def test_where_nothing_can_be_restored_nothing_is_moved_and_the_steps_are_named(saved):
  checkpoints, folder, _ = saved
  for step in (1, 2, 3):
    flip_a_byte(folder / str(step))
  before = sorted(folder.rglob('*'))
  with pytest.raises(
    config_lib.UserError, match='can be restored: step 3 has an altered .*; step 2 .*; step 1'
  ):
    checkpoints.restore_newest(ABSTRACT)
  assert sorted(folder.rglob('*')) == before
  with pytest.raises(config_lib.UserError, match='no intact checkpoint'):
    checkpoint.read_model(folder)


def test_an_intact_step_that_does_not_load_is_not_called_broken(saved):
  checkpoints, folder, _ = saved
  with pytest.raises(config_lib.UserError, match='3 does not load'):
    checkpoints.restore_newest({**ABSTRACT, 'more': ABSTRACT['params']})
  assert checkpoint.steps(folder) == [1, 2, 3]


def test_a_damaged_manifest_of_an_old_step_does_not_stop_the_next_save(saved):
  checkpoints, folder, _ = saved
  (folder / '1' / checkpoint.MANIFEST).write_text('{}')
  checkpoints.save(4, parts(4))
  checkpoints.wait()
  assert_restores(checkpoints, 4)


def test_no_step_at_all_means_a_new_start(tmp_path):
  checkpoints = checkpoint.Checkpoints(tmp_path, toys.config().checkpoint)
  assert checkpoints.restore_newest(ABSTRACT) == (None, None)


def test_what_a_crash_left_behind_is_ignored_and_removed(saved):
  checkpoints, folder, _ = saved
  for name in ('4.orbax-checkpoint-tmp', '1.removing'):
    (folder / name).mkdir()
  assert_restores(checkpoints, 3)
  assert sorted(each.name for each in folder.iterdir()) == ['1', '2', '3']


def test_params_are_read_alone_and_reading_changes_nothing(saved):
  _, folder, _ = saved
  flip_a_byte(folder / '3')
  before = sorted(folder.rglob('*'))
  lines = []
  step, params, _ = checkpoint.read_model(folder, log=lines.append)
  assert step == 2 and 'using step 2' in lines[0] and 'step 3 has an altered' in lines[0]
  np.testing.assert_array_equal(params['w'], parts(2)['params']['w'])
  assert sorted(folder.rglob('*')) == before
  with pytest.raises(
    config_lib.UserError, match=r'no checkpoint of step 9 .*there are \[1, 2, 3\]'
  ):
    checkpoint.read_model(folder, 9)
  with pytest.raises(config_lib.UserError, match='has an altered'):
    checkpoint.read_model(folder, 3)


def test_latest_best_and_log_spaced_steps_stay():
  losses = {0: None, 1: None, 2: 5.0, 3: 4.0, 4: 1.0, 5: 2.0, 6: 3.0, 7: None, 8: 9.0, 9: None}
  keep = lambda **settings: checkpoint.kept(
    losses, toys.config(**{f'checkpoint__{k}': v for k, v in settings.items()}).checkpoint
  )
  assert keep(keep_latest=2, keep_best=0) == {8, 9}
  assert keep(keep_latest=1, keep_best=2) == {9, 4, 5}
  assert keep(keep_latest=1, keep_best=0, log_spaced=True) == {0, 1, 2, 4, 8, 9}
  losses[4] = float('nan')
  assert keep(keep_latest=1, keep_best=1) == {9, 5}


def test_pruned_steps_are_gone_from_the_disk(tmp_path):
  checkpoints = checkpoint.Checkpoints(
    tmp_path, toys.config(checkpoint__keep_latest=2, checkpoint__keep_best=1).checkpoint
  )
  for step, loss in ((1, 3.0), (2, 1.0), (3, 2.0), (4, 2.5)):
    checkpoints.save(step, parts(step), loss)
  checkpoints.wait()
  assert checkpoint.steps(tmp_path) == [2, 3, 4]
  assert json.loads((tmp_path / '2' / checkpoint.MANIFEST).read_text())['score'] == 1.0


def test_a_restored_checkpoint_takes_the_sharding_it_is_asked_for(saved):
  checkpoints, _, _ = saved
  mesh = jax.sharding.Mesh(np.array(jax.devices()), ('data',))
  whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  abstract = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), ABSTRACT
  )
  _, tree = checkpoints.restore_newest(abstract)
  assert tree['params']['w'].sharding == whole


@pytest.mark.parametrize(
  'changes',
  [
    {'files': []},
    {'logs': {'metrics.jsonl': 3}},
    {'logs': {'metrics.jsonl': [3, None]}},
    {'logs': []},
    {'score': 'low'},
  ],
)
def test_a_manifest_of_another_form_is_damaged(saved, changes):
  _, folder, _ = saved
  path = folder / '3' / checkpoint.MANIFEST
  assert checkpoint.verify(path.parent) == ''
  path.write_text(json.dumps(json.loads(path.read_text()) | changes))
  assert checkpoint.verify(path.parent) == 'has a damaged sha256.json'
  assert checkpoint.logged(path.parent) == {}
