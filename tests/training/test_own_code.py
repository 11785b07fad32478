"""Code of a researcher's own: kept with the run, compared when it resumes, never run to compare."""

import hashlib
import sys

import pytest

from mlm_jax import config as config_lib
from mlm_jax.config import custom
from mlm_jax.training import own_code
from mlm_jax.training import workdir as workdir_lib
from tests.training import toy

SOURCE = 'raise SystemExit("this was executed")\n'


@pytest.fixture
def module(tmp_path, monkeypatch):
  """The file of a module that may be found and must not be imported."""
  place = tmp_path / 'code_of_mine'
  (place / 'package').mkdir(parents=True)
  for file in (place / 'mine_alone.py', place / 'package' / '__init__.py'):
    file.write_text(SOURCE)
  (place / 'package' / 'inner.py').write_text(SOURCE)
  monkeypatch.syspath_prepend(place)
  return place / 'mine_alone.py'


def config():
  return toy.config(masking__selection='mine_alone:Mine')


def test_a_module_is_found_without_being_executed(module):
  assert custom.source('mine_alone') == module
  assert custom.source('package.inner') == module.parent / 'package' / 'inner.py'
  assert custom.source('package.absent') is custom.source('absent.too') is None
  assert not {'mine_alone', 'package', 'package.inner'} & set(sys.modules)


def test_the_source_and_its_hash_are_kept(tmp_path, module):
  assert toy.train(config(), tmp_path / 'run')
  digest = hashlib.sha256(SOURCE.encode()).hexdigest()
  (start,) = workdir_lib.read_environment(tmp_path / 'run')
  assert start['code'] == {'mine_alone': digest}
  (kept,) = (tmp_path / 'run' / own_code.FOLDER).iterdir()
  assert kept.name == f'mine_alone.{digest[:8]}.py' and kept.read_text() == SOURCE


def test_a_run_does_not_go_on_with_other_code_unless_told(tmp_path, monkeypatch, module):
  toy.train_until(config(), tmp_path / 'run', 2, monkeypatch)
  module.write_text(SOURCE + '# another\n')
  says = f'{module} is not the code that {tmp_path}/run was trained with, which is in .*/code/mine'
  with pytest.raises(config_lib.UserError, match=says):
    toy.train(config(), tmp_path / 'run')
  toy.train_until(config(), tmp_path / 'run', 4, monkeypatch, changed_code=True)
  assert len(list((tmp_path / 'run' / own_code.FOLDER).iterdir())) == 2
  assert toy.train(config(), tmp_path / 'run')  # the new code is now the run's


def test_code_that_is_not_found_here_is_not_called_another(tmp_path, module):
  toy.train(config(), tmp_path / 'run')
  assert own_code.differing(tmp_path / 'run', config()) == []
  module.unlink()
  assert own_code.differing(tmp_path / 'run', config()) == []
