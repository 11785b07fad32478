"""A model folder of any kind in which a file is damaged is refused in a line, or imports."""

import pathlib
import shutil

from hypothesis import given
from hypothesis import strategies as st
import pytest

from tests.bad_input import damage
from tests.bad_input import hostile
from tests.bad_input import models

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
  """{maker: folder}, each of which imports as it is."""
  place = tmp_path_factory.mktemp('models')
  made = {make: place / make.__name__ for make in models.ALL}
  for make, folder in made.items():
    make(folder)
    assert hostile.call(['import', f'--from={folder}', f'--workdir={place / "run"}']) == 0
    shutil.rmtree(place / 'run')
  return made


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  return tmp_path_factory.mktemp('place')


@hostile.drill(80)
@given(
  make=st.sampled_from(models.ALL),
  number=st.integers(0, 10**6),
  change=damage.changes,
  share=damage.shares,
)
def test_a_damaged_model(folders, place, make, number, change, share):
  with damage.changed_copy(folders[make], place, number, change, share) as copy:
    before = hostile.names(copy)
    into = pathlib.Path(place) / 'imported'
    status = hostile.call(['import', f'--from={copy}', f'--workdir={into}'])
    assert into.exists() == (status == 0)
    assert hostile.names(copy) == before
    shutil.rmtree(into, ignore_errors=True)
