"""The notebooks that read sweeps and runs, on ones that are not done; tests/notebooks runs them on
ones that are.
"""

import json
import pathlib
import shutil

import matplotlib
from matplotlib import pyplot
import pytest

from mlm_jax import config as config_lib
from tests.report import fake

NOTEBOOKS = pathlib.Path(__file__).parents[2] / 'notebooks'


@pytest.fixture
def execute(monkeypatch):
  """(notebook, folder of a sweep or a run) -> what its cells leave, as {name: value}."""
  monkeypatch.chdir(NOTEBOOKS)

  def execute(name, folder):
    for variable in ('MLM_JAX_SWEEP', 'MLM_JAX_RUN'):
      monkeypatch.setenv(variable, str(folder))
    left = {}
    for cell in json.loads((NOTEBOOKS / name).read_text())['cells']:
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
  execute('03_a_sweep.ipynb', folder)
  assert len(pyplot.get_fignums()) == figures
  assert ('nothing to subtract' in capsys.readouterr().out) == ('rate=0.15' in absent)


def test_the_notebook_of_a_sweep_without_a_finished_run_says_so(tmp_path, execute):
  folder = fake.sweep(tmp_path / 'sweep', seeds=1)
  for run in (folder / 'runs').iterdir():
    (run / 'finished.json').unlink()
  with pytest.raises(config_lib.UserError, match='no run of .* is done yet'):
    execute('03_a_sweep.ipynb', folder)


@pytest.mark.parametrize('evaluated', (True, False))
def test_the_notebook_shows_what_there_is_of_a_run_without_a_checkpoint(
  tmp_path, capsys, execute, evaluated
):
  run = tmp_path / 'run'
  fake.run(run, 4.0, 0.15, until=4)
  if not evaluated:
    (run / 'evaluations.jsonl').unlink()
  left = execute('02_a_run.ipynb', run)
  out = capsys.readouterr().out
  assert left['run'] is None and len(pyplot.get_fignums()) == 2
  assert 'It has no checkpoint yet' in out and 'slices.json is written at the end' in out
  assert ('not been evaluated yet' in out) != evaluated
