"""The recipes are part of the package that is installed."""

import pathlib
import shutil
import subprocess
import sys
import sysconfig
import venv

import pytest

from mlm_jax.config import shipped

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = ('mlm_jax', 'configs', 'setup.py', 'setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE')


def run(*words, **settings):
  """Returns what a command prints."""
  return subprocess.run(words, check=True, capture_output=True, text=True, **settings).stdout


def installed(folder):
  """Returns the program of a fresh environment in which a wheel of this tree is installed."""
  # A copy, since setuptools leaves folders of its own beside what it builds.
  (folder / 'tree').mkdir()
  for name in SOURCES:
    copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
    copy(ROOT / name, folder / 'tree' / name)
  pip = (sys.executable, '-m', 'pip')
  run(*pip, 'wheel', '--no-deps', f'--wheel-dir={folder}', folder / 'tree')
  (wheel,) = folder.glob('*.whl')
  shutil.rmtree(folder / 'tree')
  venv.create(folder / 'environment')
  # What the package depends on is that of this environment; its own mlm_jax comes second.
  python = folder / 'environment' / 'bin' / 'python'
  packages = run(python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))').strip()
  (pathlib.Path(packages) / 'others.pth').write_text(sysconfig.get_path('purelib') + '\n')
  run(*pip, f'--python={python}', 'install', '--no-deps', '--ignore-installed', wheel)
  return folder / 'environment' / 'bin' / 'mlm-jax'


@pytest.mark.slow
def test_an_installed_package_knows_the_recipes_in_any_folder(tmp_path, monkeypatch):
  program = installed(tmp_path)
  (tmp_path / 'empty').mkdir()
  monkeypatch.chdir(tmp_path / 'empty')
  monkeypatch.delenv('PYTHONPATH', raising=False)
  listed = run(program, 'config', '--list')
  assert str(tmp_path / 'environment') in listed  # those of the wheel
  assert {line.split()[0] for line in listed.splitlines() if line} >= set(shipped.names())
  assert '* total_steps = 1000000   (default 1000)' in run(program, 'config', '--config=bert_base')
  python = "import mlm_jax; c = mlm_jax.config('bert_base:smoke', {'seed': 3}); print(c.seed)"
  assert run(program.with_name('python'), '-c', python) == '3\n'
  assert not list(pathlib.Path().iterdir())
