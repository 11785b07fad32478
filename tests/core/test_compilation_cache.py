"""Where compiled programs are kept, when they are not, and that no number depends on it."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest

from mlm_jax.core import compilation_cache
from tests import toys

OPTIONS = (
  'jax_compilation_cache_dir',
  'jax_compilation_cache_max_size',
  'jax_persistent_cache_min_compile_time_secs',
)


@pytest.fixture
def without_one(monkeypatch, tmp_path):
  """A process whose JAX has no cache, and a user whose cache directory is an empty one."""
  before = {name: getattr(jax.config, name) for name in OPTIONS}
  jax.config.update('jax_compilation_cache_dir', None)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  yield tmp_path / 'cache'
  for name, value in before.items():
    jax.config.update(name, value)


def in_use(option='jax_compilation_cache_dir'):
  return getattr(jax.config, option)


def test_programs_are_kept_in_the_users_cache_directory_and_bounded(without_one):
  compilation_cache.use('user')
  place = pathlib.Path(in_use())
  assert place.is_relative_to(without_one / 'mlm_jax') and place.stat().st_mode & 0o777 == 0o700
  assert in_use('jax_compilation_cache_max_size') == 1 << 30


def test_where_the_users_cache_directory_is(monkeypatch, tmp_path):
  monkeypatch.setenv('HOME', str(tmp_path))
  for given, system, expected in (
    ('/x', 'linux', '/x'),
    ('not/absolute', 'linux', f'{tmp_path}/.cache'),
    ('', 'darwin', f'{tmp_path}/Library/Caches'),
    ('/x', 'darwin', '/x'),
  ):
    monkeypatch.setenv('XDG_CACHE_HOME', given)
    monkeypatch.setattr(sys, 'platform', system)
    assert compilation_cache.folder().parent == pathlib.Path(expected, 'mlm_jax', 'compiled')


def test_processors_with_other_instructions_do_not_share_programs(monkeypatch):
  def place(flags):
    text = f'model name\t: any\nflags\t\t: {flags}\nbugs\t: none\n'
    monkeypatch.setattr(pathlib.Path, 'read_text', lambda path: text)
    return compilation_cache.folder()

  assert place('fpu avx2') == place('avx2 fpu') != place('fpu avx2 avx512f')


def test_nothing_is_kept_where_the_setting_says_so_or_jax_has_a_cache(without_one, tmp_path):
  compilation_cache.use('')
  assert in_use() is None
  jax.config.update('jax_compilation_cache_dir', str(tmp_path / 'own'))
  compilation_cache.use('user')
  assert in_use() == str(tmp_path / 'own') and not without_one.exists()


def test_a_folder_that_cannot_be_written_is_one_line_and_no_end(without_one, monkeypatch):
  lines = []
  with toys.read_only_folder() as folder:
    monkeypatch.setenv('XDG_CACHE_HOME', str(folder))
    compilation_cache.use('user', lines.append)
  assert in_use() is None and len(lines) == 1
  assert f'not kept: {folder}/mlm_jax' in lines[0] and 'Permission denied' in lines[0]


def test_what_a_killed_process_left_half_written_is_removed(without_one):
  place = compilation_cache.folder()
  place.mkdir(parents=True)
  for name in ('jit_a-1-cache', 'jit_a-1-atime', 'jit_b-2-cache'):
    (place / name).write_bytes(b'x')
  compilation_cache.use('user')
  assert {each.name for each in place.iterdir()} >= {'jit_a-1-cache', 'jit_a-1-atime'}
  assert not (place / 'jit_b-2-cache').exists()


_PROGRAM = """
import sys
import jax
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))
from tests import toys
from mlm_jax.tasks import pretraining
corpus, workdir, setting, data = sys.argv[1:]
config = toys.training_config(corpus, compilation_cache=setting, data__prepared=data)
pretraining.run(config, workdir, lambda line: None)
print(hits.count('/jax/compilation_cache/cache_hits'))
"""


@pytest.mark.slow
def test_a_run_is_the_same_whether_its_programs_were_kept_or_not(tmp_path):
  corpus = toys.write_corpus(tmp_path / 'corpus.txt')
  environment = {**os.environ, 'XDG_CACHE_HOME': str(tmp_path / 'cache')}
  del environment['JAX_COMPILATION_CACHE_DIR']
  found, logs = {}, {}
  for name, setting in (('off', ''), ('missed', 'user'), ('found', 'user')):
    arguments = [corpus, tmp_path / name, setting, tmp_path / 'data']
    done = subprocess.run(
      [sys.executable, '-c', _PROGRAM, *map(str, arguments)],
      env=environment,
      capture_output=True,
      text=True,
      check=True,
    )
    found[name] = int(done.stdout)
    files = ('metrics.jsonl', 'evaluations.jsonl', 'slices.json')
    logs[name] = [(tmp_path / name / file).read_bytes() for file in files]
  assert found['off'] == found['missed'] == 0 and found['found'] > 3
  assert logs['off'] == logs['missed'] == logs['found']
