"""Notebooks: kept without outputs, short, of one kind; they run on a tiny run and a tiny sweep."""

import ast
import pathlib
from typing import Any

import nbclient
import nbformat
import pytest

from mlm_jax import sweeps
from mlm_jax.sweeps import vectorized_runner
from tests import toys

FOLDER = pathlib.Path(__file__).parents[2] / 'notebooks'
NOTEBOOKS = sorted(path.name for path in FOLDER.glob('*.ipynb'))
STRIP = 'strip it: nbstripout --extra-keys=metadata.language_info notebooks/*.ipynb'
METADATA = {'kernelspec': {'display_name': 'Python 3', 'language': 'python', 'name': 'python3'}}
CELLS, LINES, WIDTH = 10, 25, 110  # of code
DEFINITION = 5  # lines of what is defined in a notebook, at most


def read(name) -> Any:
  return nbformat.read(FOLDER / name, nbformat.NO_CONVERT)


def code(name):
  return [cell for cell in read(name).cells if cell.cell_type == 'code']


def test_there_are_notebooks():
  assert [name[:2] for name in NOTEBOOKS] == ['01', '02', '03', '04']


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_a_notebook_is_kept_without_what_running_it_left(name):
  notebook = read(name)
  nbformat.validate(notebook)
  assert not any(cell.outputs or cell.execution_count for cell in code(name)), STRIP
  assert notebook.metadata == METADATA and not any(cell.metadata for cell in notebook.cells), STRIP
  assert [cell.id for cell in notebook.cells] == [str(n) for n in range(len(notebook.cells))], STRIP


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_a_notebook_tells_one_short_story(name):
  cells = read(name).cells
  assert cells[0].source.startswith('# ') and '?' in cells[0].source  # its title, and its question
  assert cells[-1].cell_type == 'markdown' and 'What to look for' in cells[-1].source
  assert len(code(name)) <= CELLS
  for cell in code(name):
    lines = cell.source.splitlines()
    assert len(lines) <= LINES and max(map(len, lines)) <= WIDTH, cell.source


@pytest.mark.parametrize('name', NOTEBOOKS)
def test_a_notebook_uses_the_package_and_defines_nothing_reusable(name):
  nodes = [node for cell in code(name) for node in ast.walk(ast.parse(cell.source))]
  modules = [node.module or '' for node in nodes if isinstance(node, ast.ImportFrom)]
  modules += [each.name for node in nodes if isinstance(node, ast.Import) for each in node.names]
  assert 'mlm_jax' in {module.split('.')[0] for module in modules}
  assert 'tests' not in {module.split('.')[0] for module in modules}
  defined = [
    node
    for node in nodes
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
  ]
  long = [node.name for node in defined if node.end_lineno - node.lineno >= DEFINITION]
  assert not long, f'{long} belong into mlm_jax'


@pytest.fixture(scope='module')
def sweep(tmp_path_factory):
  """The folder of a sweep of two rates and three seeds."""
  folder = tmp_path_factory.mktemp('notebooks')
  base = toys.training_config(
    toys.write_corpus(folder / 'corpus.txt'),
    data__row_length=96,
    mesh__devices=1,
    model__max_positions=96,
  )
  rates = sweeps.product(sweeps.param('masking.rate', [0.15, 0.3]), sweeps.seeds(3))
  plan = sweeps.plan(
    sweeps.Sweep(base, rates, 'Does the rate matter?'), 'experiments/rate', folder / 'sweep'
  )
  assert vectorized_runner.run(plan, folder / 'sweep', log=lambda line: None)
  return folder / 'sweep'


@pytest.mark.slow
@pytest.mark.parametrize('name', NOTEBOOKS)
def test_a_notebook_runs_without_a_warning(name, sweep, monkeypatch):
  monkeypatch.setenv('MLM_JAX_SWEEP', str(sweep))
  monkeypatch.setenv('MLM_JAX_RUN', str(sweep / 'runs' / 'rate=0.15_seed=0'))
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(FOLDER.parent / '.cache' / 'jax'))
  monkeypatch.setenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.3')
  notebook = read(name)
  nbclient.NotebookClient(
    notebook, timeout=600, resources={'metadata': {'path': str(FOLDER)}}
  ).execute()
  outputs = [output for cell in notebook.cells for output in cell.get('outputs', ())]
  assert not [output.text for output in outputs if output.get('name') == 'stderr']
  assert sum('image/png' in output.get('data', {}) for output in outputs) >= 3
