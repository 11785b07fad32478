"""A folder of a published model, for all tests here."""

import pytest

from tests.data.conftest import shared  # noqa: F401 -- a fixture
from tests.huggingface import builders


@pytest.fixture(scope='session')
def theirs(tmp_path_factory):
  """A folder of a BERT."""
  folder = tmp_path_factory.mktemp('theirs') / 'bert'
  builders.write_published(folder, 'bert')
  return folder
