"""Prepared data and trained runs that tests share: each is made once a session, by the worker that
asks first, and read by all.

A test that changes a folder copies it first.
"""

import contextlib
import fcntl
import os
import shutil
from unittest import mock

import jax

from mlm_jax import __main__
from mlm_jax.evaluation import score_run
from mlm_jax.tasks import pretraining
from tests import toys

QUIET = lambda line: None


def once(tmp_path_factory, name, make):
  """Returns a folder that make(folder) filled, the same one for all workers of a session.

  Args:
    tmp_path_factory: of pytest.
    name: of the folder; who asks for one name gives one `make`.
    make: function (path of an empty folder).
  """
  session = tmp_path_factory.getbasetemp()
  if 'PYTEST_XDIST_WORKER' in os.environ:  # the workers' folders are in one of the session
    session = session.parent
  folder = session / 'shared' / name
  done = folder.with_name(f'{name}.done')
  folder.parent.mkdir(exist_ok=True)
  with folder.with_name(f'{name}.lock').open('w') as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not done.exists():
      shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed while making it
      folder.mkdir()
      make(folder)
      done.touch()
  return folder


def corpus(tmp_path_factory):
  """Returns the path of a text file: 300 documents of made-up words."""
  make = lambda folder: toys.write_corpus(folder / 'corpus.txt')
  return once(tmp_path_factory, 'corpus', make) / 'corpus.txt'


def trained(tmp_path_factory, name, **settings):
  """Returns the folder of a run of six steps on `corpus`; settings as those of toys.config."""
  config = toys.training_config(corpus(tmp_path_factory), **settings)
  make = lambda folder: pretraining.run(config, folder / 'run', QUIET)
  return once(tmp_path_factory, name, make) / 'run'


def to_continue(tmp_path_factory):
  """Returns the folder of a run for others to start from: with rows of up to 128, and a dropout."""
  return trained(tmp_path_factory, 'to_continue', model__max_positions=128, model__dropout=0.2)


def from_the_command_line(tmp_path_factory):
  """Returns the folder of a run of six steps on `corpus`, with rows of 32 and seed 3, that
  `mlm-jax train` made; beside it is what it printed, printed.txt.
  """
  text = corpus(tmp_path_factory)

  def make(folder):
    recipe = folder / 'recipe.py'
    recipe.write_text(
      'from tests import toys\n'
      'def get_config(variant=None):\n'
      f'  return toys.training_config({str(text)!r}, data__row_length=32, mesh__devices=1)\n'
    )
    with (folder / 'printed.txt').open('w') as file, contextlib.redirect_stdout(file):
      __main__.main(
        ['train', f'--config={recipe}', '--config.seed=3', f'--workdir={folder / "run"}']
      )

  return once(tmp_path_factory, 'command_line', make) / 'run'


@contextlib.contextmanager
def without_scores():
  """Runs are trained and not evaluated: where no test reads the scores, whose programs take most
  of the time of a few steps.
  """
  with (
    mock.patch.object(score_run.HeldOut, 'evaluators', lambda self, eval_step: {}),
    mock.patch.object(score_run.HeldOut, 'reports', lambda self, params, aux: {}),
  ):
    yield


def compilation_cache() -> str:
  """Returns the folder of JAX's compilation cache, for the processes that a test starts."""
  # JAX adds its options when it is imported.
  return jax.config.jax_compilation_cache_dir  # pyrefly: ignore[missing-attribute]
