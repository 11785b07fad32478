"""A small invented corpus, prepared."""

import pathlib

import pytest

from mlm_jax.data import prepare
from tests.data.invented import sentences
from tests.data.invented import settings


@pytest.fixture(scope='session')
def corpus(tmp_path_factory):
  """Returns the path of a file of 600 lines."""
  path = tmp_path_factory.mktemp('corpus') / 'lines.txt'
  path.write_text('\n'.join(sentences(600)) + '\n', encoding='utf-8')
  return path


@pytest.fixture(scope='session')
def prepared(corpus, tmp_path_factory):
  """Returns that corpus prepared."""
  directory = tmp_path_factory.mktemp('prepared') / 'data'
  return prepare.prepare(settings(source=f'text:{corpus}'), directory, log=lambda line: None)


@pytest.fixture(scope='session')
def shared():
  """Returns the folder of shared corpora; the test is skipped where it is absent."""
  folder = pathlib.Path(__file__).parents[3] / 'shared' / 'data'
  if not folder.is_dir():
    pytest.skip('needs the corpora of ../shared/data beside the repository')
  return folder
