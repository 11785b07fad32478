"""A small invented corpus, prepared once for all processes of the suite."""

import fcntl
import os
import pathlib

import pytest

from mlm_jax.data import prepare
from tests.data.invented import sentences
from tests.data.invented import settings


@pytest.fixture(scope='session')
def invented(tmp_path_factory):
  """Returns (the path of a file of 600 lines, that corpus prepared); nothing may write to them."""
  folder = tmp_path_factory.getbasetemp()
  if 'PYTEST_XDIST_WORKER' in os.environ:
    folder = folder.parent  # of all workers
  folder = folder / 'invented'
  folder.mkdir(exist_ok=True)
  path = folder / 'lines.txt'
  with open(folder / 'lock', 'w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not path.exists():
      path.write_text('\n'.join(sentences(600)) + '\n', encoding='utf-8')
    data = settings(source=f'text:{path}')
    return path, prepare.prepare(data, folder / 'data', log=lambda line: None)


@pytest.fixture(scope='session')
def corpus(invented):
  """Returns the path of a file of 600 lines."""
  return invented[0]


@pytest.fixture(scope='session')
def prepared(invented):
  """Returns that corpus prepared."""
  return invented[1]


@pytest.fixture(scope='session')
def shared():
  """Returns the folder of shared corpora; the test is skipped where it is absent."""
  folder = pathlib.Path(__file__).parents[3] / 'shared' / 'data'
  if not folder.is_dir():
    pytest.skip('needs the corpora of ../shared/data beside the repository')
  return folder
