"""The notebook that reads a sweep, on sweeps that are not done; tests/notebooks runs it on one that
is.
"""

import json
import pathlib
import shutil

import matplotlib
from matplotlib import pyplot
import pytest

from tests.report import fake

NOTEBOOK = pathlib.Path(__file__).parents[2] / 'notebooks' / '03_a_sweep.ipynb'


@pytest.fixture
def execute(monkeypatch):
  """(folder of a sweep) -> what the cells of the notebook leave, as {name: value}."""
  monkeypatch.chdir(NOTEBOOK.parent)

  def execute(folder):
    monkeypatch.setenv('MLM_JAX_SWEEP', str(folder))
    left = {}
    for cell in json.loads(NOTEBOOK.read_text())['cells']:
      if cell['cell_type'] == 'code':
        exec(''.join(cell['source']), left)
    return left

  matplotlib.use('Agg')
  with matplotlib.rc_context():  # the notebook sets its style
    yield execute
  pyplot.close('all')


@pytest.mark.parametrize(
  'absent, figures', (((), 4), (('rate=0.15',), 3), (('rate=0.3', 'rate=0.8'), 4))
)
def test_the_notebook_shows_what_there_is_of_a_sweep(tmp_path, capsys, execute, absent, figures):
  folder = fake.sweep(tmp_path / 'sweep')
  for arm in absent:
    for run in (folder / 'runs').glob(f'{arm}_*'):
      shutil.rmtree(run)
  execute(folder)
  assert len(pyplot.get_fignums()) == figures
  assert ('nothing to subtract' in capsys.readouterr().out) == ('rate=0.15' in absent)
