"""Notebooks: kept without outputs, short, of one kind; they run on a tiny run and a tiny sweep."""

import ast
import contextlib
import pathlib
import shutil
from typing import Any

import nbclient
import nbformat
import pytest

from mlm_jax import sweeps
from mlm_jax import tasks
from mlm_jax.sweeps import vectorized_runner
from tests import toys
from tests.tasks import test_finetuning

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
  assert [name[:2] for name in NOTEBOOKS] == ['01', '02', '03', '04', '05']


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


@pytest.fixture(scope='module')
def classifier(sweep):
  """The folder of a run that was fine-tuned."""
  corpus, folder = sweep.parent / 'corpus.txt', sweep.parent / 'labelled'
  train, test = (
    test_finetuning.write_examples(sweep.parent / f'{name}.csv', corpus, number, seed)
    for seed, (name, number) in enumerate((('train', 60), ('test', 40)))
  )
  start = sweep / 'runs' / 'rate=0.15_seed=0'
  config = test_finetuning.config(start, train, **{'task.test': test, 'data.row_length': 64})
  assert tasks.of(config).run(config, folder, lambda line: None)
  return folder


@pytest.fixture
def execute(monkeypatch):
  """(name, folder of a sweep or a run) -> the outputs of a notebook, until an error ends it."""
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(FOLDER.parent / '.cache' / 'jax'))
  monkeypatch.setenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.3')

  def execute(name, folder):
    for variable in ('MLM_JAX_SWEEP', 'MLM_JAX_RUN'):
      monkeypatch.setenv(variable, str(folder))
    notebook = read(name)
    client = nbclient.NotebookClient(
      notebook, timeout=600, resources={'metadata': {'path': str(FOLDER)}}
    )
    with contextlib.suppress(nbclient.exceptions.CellExecutionError):  # seen in the outputs
      client.execute()
    return [output for cell in notebook.cells for output in cell.get('outputs', ())]

  return execute


@pytest.mark.slow
@pytest.mark.parametrize('name', NOTEBOOKS)
def test_a_notebook_runs_without_a_warning(name, sweep, classifier, execute):
  own = {'03': sweep, '05': classifier}
  folder = own.get(name[:2], sweep / 'runs' / 'rate=0.15_seed=0')
  outputs = execute(name, folder)
  assert not [output for output in outputs if output.output_type == 'error']
  assert not [output.text for output in outputs if output.get('name') == 'stderr']
  assert sum('image/png' in output.get('data', {}) for output in outputs) >= 3


def stopped(sweep, folder, *absent):
  """Returns a copy of a run of the sweep as one that was stopped is, without some of its files."""
  shutil.copytree(sweep / 'runs' / 'rate=0.15_seed=0', folder)
  for name in ('finished.json', 'slices.json', 'scores.json', *absent):
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
  return folder


def said(outputs):
  return ''.join(output.text for output in outputs if output.get('name') == 'stdout')


@pytest.mark.slow
@pytest.mark.parametrize('name', ('02_a_run.ipynb', '04_inside_a_model.ipynb'))
def test_a_notebook_runs_on_a_run_that_was_stopped(name, sweep, execute, tmp_path):
  run = stopped(sweep, tmp_path / 'run', 'evaluations.jsonl')
  outputs = execute(name, run)
  assert not [output for output in outputs if output.output_type == 'error']
  assert not [output.text for output in outputs if output.get('name') == 'stderr']
  if name.startswith('02'):
    assert 'The run is not finished' in said(outputs) and 'not been evaluated yet' in said(outputs)
  assert sum('image/png' in output.get('data', {}) for output in outputs) >= 3


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in NOTEBOOKS if name[:2] != '01'])
def test_a_notebook_says_in_a_sentence_what_is_not_there(name, sweep, execute, tmp_path):
  folder = stopped(sweep, tmp_path / 'run', 'evaluations.jsonl', 'checkpoints')
  if name.startswith('03'):  # a sweep of which no run has been evaluated
    folder = tmp_path / 'sweep'
    shutil.copytree(sweep, folder)
    shutil.rmtree(folder / 'runs')
  outputs = execute(name, folder)
  errors = [output for output in outputs if output.output_type == 'error']
  # What can be shown without a model is; a notebook about the model ends, in one line.
  assert len(errors) == (not name.startswith('02'))
  for error in errors:
    assert len(error.traceback) == 1 and error.traceback[0].startswith('UserError: ')
    says = ('no intact checkpoint', 'been evaluated yet', 'no finished run of classification')
    assert any(each in error.traceback[0] for each in says)
  if not errors:
    assert 'It has no checkpoint yet' in said(outputs)
    assert sum('image/png' in output.get('data', {}) for output in outputs) == 2
