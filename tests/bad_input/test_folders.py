"""A folder in which any file is damaged is refused in one line, or is of use still."""

import pathlib
import shutil

from hypothesis import given
from hypothesis import strategies as st
import pytest

from mlm_jax import __main__
from tests import shared_runs
from tests.bad_input import damage
from tests.bad_input import hostile

pytestmark = pytest.mark.slow
numbers = st.integers(0, 10**6)

OF_A_RUN = (
  ['evaluate', '--workdir={}'],
  ['evaluate', '--workdir={}', '--step=6', '--baselines'],
  ['fill', '--workdir={}', '--text=a [MASK] b', '--top-k=3'],
  ['mask', '--workdir={}', '--row=0'],
  ['report', '{}', '--out={}/curve.svg'],
  ['report', '{}', '--out={}/curve.csv'],
  ['report', '{}', '--out={}/report.html'],
  ['export', '--workdir={}', '--to={}/exported'],
  ['train', '--config={}/config.json', '--workdir={}'],
  ['prepare', '--config={}/config.json', '--workdir={}'],
  ['prepare', '--verify={}/data'],
)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  return shared_runs.from_the_command_line(tmp_path_factory)


@pytest.fixture(scope='module')
def exported(run, tmp_path_factory):
  folder = tmp_path_factory.mktemp('exported') / 'model'
  __main__.main(['export', f'--workdir={run}', f'--to={folder}'])
  return folder


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  return tmp_path_factory.mktemp('place')


@hostile.drill(60)
@given(
  command=st.sampled_from(OF_A_RUN), number=numbers, change=damage.changes, share=damage.shares
)
def test_of_a_run(run, place, command, number, change, share):
  with damage.changed_copy(run, place, number, change, share) as copy:
    before = hostile.names(copy)
    status = hostile.call([each.format(copy) for each in command])
    # What is refused leaves the folder as it was.
    assert status != 2 or hostile.names(copy) == before


@hostile.drill(40)
@given(number=numbers, change=damage.changes, share=damage.shares)
def test_of_a_model(exported, place, number, change, share):
  with damage.changed_copy(exported, place, number, change, share) as copy:
    into = pathlib.Path(place) / 'imported'
    status = hostile.call(['import', f'--from={copy}', f'--workdir={into}'])
    assert into.exists() == (status == 0)
    if into.exists():
      shutil.rmtree(into)
