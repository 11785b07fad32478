"""Prepared data and trained runs that tests share: each is made once a session, by the worker that
asks first, and read by all.

A test that changes a folder copies it first.
"""

import fcntl
import os
import shutil

import jax

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


def compilation_cache() -> str:
  """Returns the folder of JAX's compilation cache, for the processes that a test starts."""
  # JAX adds its options when it is imported.
  return jax.config.jax_compilation_cache_dir  # pyrefly: ignore[missing-attribute]
