"""What is refused before a run starts, and what that leaves behind: nothing."""

import pytest

from mlm_jax import config as config_lib
from mlm_jax.training import workdir as workdir_lib
from tests import toys
from tests.training import toy


def test_another_config_is_refused_by_key_and_an_operational_one_is_not(tmp_path):
  toy.train(toy.config(total_steps=2), tmp_path / 'run')
  with pytest.raises(config_lib.UserError, match='config.seed is 3 here, 0 there'):
    toy.train(toy.config(total_steps=2, seed=3), tmp_path / 'run')
  assert toy.train(toy.config(total_steps=2, checkpoint__every=1, log__every=1), tmp_path / 'run')


def test_other_fingerprints_are_refused(tmp_path, monkeypatch):
  toy.train_until(toy.config(), tmp_path / 'run', 2, monkeypatch)
  with pytest.raises(config_lib.UserError, match='trained with another data fingerprint'):
    toy.train(toy.config(), tmp_path / 'run', fingerprints={'data_fingerprint': 'other'})


def test_two_processes_do_not_share_a_work_directory(tmp_path):
  with workdir_lib.locked(tmp_path / 'run'):
    with pytest.raises(config_lib.UserError, match='another process is at work'):
      toy.train(toy.config(), tmp_path / 'run')


def test_a_work_directory_that_cannot_be_written_is_named(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(config_lib.UserError, match='cannot write to work directory'):
    toy.train(toy.config(), tmp_path / 'file' / 'run')


def test_a_read_only_work_directory_is_named():
  with toys.read_only_folder() as folder:
    for workdir in (folder, folder / 'run'):
      with pytest.raises(
        config_lib.UserError, match=f'cannot write to work directory {workdir}: Permission denied'
      ):
        with workdir_lib.locked(workdir):
          pass
    assert list(folder.iterdir()) == []


def refuse(*unused, **settings):
  raise config_lib.UserError('wrong input')


def test_wrong_input_leaves_nothing_behind_but_a_folder_of_the_users(tmp_path):
  (tmp_path / 'users').mkdir()
  for name in ('users', 'new'):
    with pytest.raises(config_lib.UserError, match='wrong input'):
      toy.launch.run(toy.config(), tmp_path / name, refuse, toy.silent)
  assert [each.name for each in tmp_path.iterdir()] == ['users']
  assert list((tmp_path / 'users').iterdir()) == []


def test_devices_that_are_not_there_are_refused(tmp_path):
  with pytest.raises(config_lib.UserError, match='there are 2 devices'):
    toy.train(toy.config(mesh__devices=9), tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_artifacts_are_copied_into_the_runs_folder(tmp_path):
  (tmp_path / 'vocabulary').mkdir()
  (tmp_path / 'vocabulary' / 'words').write_text('a b')
  (tmp_path / 'counts').write_text('1 2')
  artifacts = {'vocabulary': tmp_path / 'vocabulary', 'counts': tmp_path / 'counts'}
  toy.train(toy.config(total_steps=2), tmp_path / 'run', artifacts=artifacts)
  assert (tmp_path / 'run' / 'vocabulary' / 'words').read_text() == 'a b'
  assert (tmp_path / 'run' / 'counts').read_text() == '1 2'
