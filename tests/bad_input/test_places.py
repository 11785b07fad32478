"""Places that nothing can be read from or written to, given to every command that takes one."""

import os

from hypothesis import given
from hypothesis import strategies as st
import pytest

from tests import shared_runs
from tests.bad_input import finished
from tests.bad_input import hostile

pytestmark = pytest.mark.slow

READS = (
  ['evaluate', '--workdir={place}'],
  ['evaluate', '--workdir={run}', '--data={place}'],
  ['fill', '--workdir={place}', 'a [MASK] b'],
  ['mask', '--workdir={place}', '--row=0'],
  ['mask', '--config={place}', '--text=a b'],
  ['report', '{place}', '--out={new}.svg'],
  ['export', '--workdir={place}', '--to={new}'],
  ['import', '--from={place}', '--workdir={new}'],
  ['train', '--config={place}', '--workdir={new}'],
  ['train', '--config={place}/config.json', '--workdir={new}'],
  ['train', '--config={run}/config.json', '--config.data.source=text:{place}', '--workdir={new}'],
  ['train', '--config={run}/config.json', '--config.init_from={place}', '--workdir={new}'],
  ['prepare', '--config={run}/config.json', '--config.data.source=hf:{place}', '--workdir={new}'],
  [
    'prepare', '--config={run}/config.json', '--config.data.tokenizer={place}', '--workdir={new}'
  ],
  ['prepare', '--verify', '--workdir={place}'],
  ['sweep', '{place}', '--workdir={new}'],
)  # fmt: skip
WRITES = (
  ['report', '{run}', '--out={place}'],
  ['report', '{run}', '--out={place}/a.png'],
  ['report', '{sweep}', '--out={place}'],
  ['export', '--workdir={run}', '--to={place}'],
  ['import', '--from={model}', '--workdir={place}'],
  ['train', '--config={run}/config.json', '--workdir={place}'],
  [
    'prepare', '--config={run}/config.json', '--config.data.prepared={place}', '--workdir={new}'
  ],
  ['prepare', '--config={run}/config.json', '--workdir={place}'],
  ['sweep', '{experiment}', '--workdir={place}'],
  ['bench', 'masking', '--rows=2', '--out={place}/a.json'],
)  # fmt: skip


@pytest.fixture(scope='module')
def names(tmp_path_factory):
  folder = tmp_path_factory.mktemp('places')
  run, sweep = (
    shared_runs.from_the_command_line(tmp_path_factory),
    finished.sweep(tmp_path_factory),
  )
  assert hostile.call(['export', f'--workdir={run}', f'--to={folder / "model"}']) == 0
  return {
    'run': run,
    'sweep': sweep / 'work',
    'experiment': sweep / 'experiment',
    'model': folder / 'model',
    'new': folder / 'new',
  }


@pytest.fixture(scope='module')
def places(names):
  """Paths of which none is a folder, or a file of anything."""
  folder = names['new'].parent
  (folder / 'file').write_text('x')
  os.mkfifo(folder / 'pipe')
  (folder / 'loop').symlink_to('loop')
  (folder / 'dangling').symlink_to('nowhere/at all')
  return [
    *(str(folder / each) for each in ('file', 'file/below', 'pipe', 'pipe/below', 'loop')),
    *(str(folder / each) for each in ('loop/below', 'dangling', 'x' * 300, 'x' * 300 + '/below')),
    *('/dev/full', '/dev/zero', '/dev/null/below', '/proc/self/mem', '/proc/none', '\0', 'a\0b'),
  ]


@pytest.fixture(autouse=True)
def refusing_runs(monkeypatch):
  finished.refuse_runs(monkeypatch)


@hostile.drill(120)
@given(command=st.sampled_from(READS), number=st.integers(0, 15))
def test_to_read(names, places, command, number):
  _refused(names, command, places[number])


# What a link that leads nowhere names can be made.
@hostile.drill(80)
@given(command=st.sampled_from(WRITES), number=st.integers(0, 15).filter(lambda n: n != 6))
def test_to_write(names, places, command, number):
  _refused(names, command, places[number])


def _refused(names, command, place):
  folder = names['new'].parent
  watched = names['run'], names['sweep'], folder
  before = list(map(hostile.names, watched))
  assert hostile.call([each.format(**names, place=place) for each in command]) == 2, place
  assert list(map(hostile.names, watched)) == before, place
