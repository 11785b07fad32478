"""`python -m mlm_jax` in a folder that somebody else has filled."""

import os
import pathlib
import subprocess
import sys

import pytest

import mlm_jax

ROOT = pathlib.Path(mlm_jax.__file__).parents[1]
# Of Python's own, of what is installed, and of what is looked for and is not installed.
HOSTILE = ('typing', 'pkgutil', 'numpy', 'jax', 'ml_collections', 'jax_plugins', 'libtpu')
OWN = """
class Even:
  def __init__(self, table):
    pass
  def weights(self, row):
    return row.tokens_L * 0.0 + 1
"""


@pytest.fixture
def folder(tmp_path):
  for name in HOSTILE:
    (tmp_path / f'{name}.py').write_text(
      f'open({str(tmp_path / "executed")!r}, "a").write("{name} ")'
    )
  return tmp_path


def call(folder, *argv):
  """Returns (status, output) of the module run there; it is found as if it were installed."""
  environment = os.environ | {'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}
  command = [sys.executable, '-m', 'mlm_jax', *argv]
  done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
  return done.returncode, done.stdout + done.stderr


def executed(folder):
  path = folder / 'executed'
  # `python -m` itself looks for what it needs there, before it runs anything of ours.
  return [name for name in path.read_text().split() if name != 'pkgutil'] if path.exists() else []


def test_nothing_that_lies_in_the_folder_is_imported(folder):
  status, said = call(folder, 'train', '--config=absent.py', '--workdir=x')
  assert (status, executed(folder)) == (2, []), said
  assert said.startswith('mlm-jax train: no such config file: absent.py')


@pytest.mark.slow
def test_a_class_of_ones_own_is_imported_from_there_where_it_is_named(folder):
  (folder / 'mine.py').write_text(OWN)
  (folder / 'a.txt').write_text('a text of a few words\n' * 50)
  settings = ('--config.masking.selection=mine:Even',)
  status, said = call(folder, 'mask', '--text=a text of a few words', *settings)
  assert (status, executed(folder)) == (0, []), said
