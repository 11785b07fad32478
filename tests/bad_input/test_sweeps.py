"""A finished sweep in whose folder any file is damaged is refused in a line, or goes on."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from tests.bad_input import damage
from tests.bad_input import finished
from tests.bad_input import hostile

pytestmark = pytest.mark.slow

COMMANDS = (
  ['sweep', '{experiment}', '--workdir={copy}'],
  ['sweep', '{experiment}', '--workdir={copy}', '--plan'],
  ['report', '{copy}'],
  ['report', '{copy}/runs/unit=token_seed=3', '--out={copy}/curve.svg'],
)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return finished.sweep(tmp_path_factory)


@pytest.fixture(scope='module')
def place(tmp_path_factory):
  return tmp_path_factory.mktemp('place')


@pytest.fixture(autouse=True)
def refusing_runs(monkeypatch):
  finished.refuse_runs(monkeypatch)


@hostile.drill(60)
@given(
  command=st.sampled_from(COMMANDS),
  number=st.integers(0, 10**6),
  change=damage.changes,
  share=damage.shares,
)
def test_a_damaged_sweep(folder, place, command, number, change, share):
  with damage.changed_copy(folder / 'work', place, number, change, share) as copy:
    before = hostile.names(copy)
    names = {'experiment': folder / 'experiment', 'copy': copy}
    # 1 = a run that has to be trained again, which `refusing_runs` does not do.
    status = hostile.call([each.format(**names) for each in command], also=(1,))
    assert status != 2 or hostile.names(copy) == before
