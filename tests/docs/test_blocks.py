"""Every command and every Python block of the guides runs, on tiny data, in order.

Each guide has a folder of its own, in which the recipes are shrunk to a few steps, MY holds a text
and runs/mine is a finished run. A Python block that begins with `# FILE.py` is saved as that file.
"""

import pathlib
import shlex
import shutil
import sys

import pytest

import mlm_jax
from mlm_jax import __main__ as program
from mlm_jax import config as config_lib
from tests import toys
from tests.docs import blocks

# Commands that cannot run here, by how they begin, and why.
NOT_RUN = {
  'make ': 'makes environments, or runs this very suite',
  'srun ': 'needs SLURM',
  'mlm-jax import --from=answerdotai/': 'needs the network',
}
# What runs in place of a flag: the processes of --jobs have their own tests.
INSTEAD = {'--jobs=2': '--population'}
# Blocks of Python that need a library that `make test` does without; `make parity` has it.
NEEDS = {'import torch': 'torch'}
SMALL = {
  'total_steps': 4,
  'batch_size': 4,
  'stages': (),
  'data.source': 'text:MY/*.txt',
  'data.document': 'lines',
  'data.vocab_size': 320,
  'data.row_length': 32,
  'data.validation_fraction': 0.1,
  'model.layers': 1,
  'model.width': 32,
  'model.heads': 2,
  'model.feed_forward': 64,
  'model.max_positions': 32,
  'optim.warmup_steps': 1,
  'evaluation.every': 2,
  'evaluation.rows': 8,
  'evaluation.batch_size': 4,
  'checkpoint.every': 2,
  'log.every': 2,
  'log.tensorboard': False,
  'mesh.devices': 1,
}
RECIPE = """from mlm_jax import config


def get_config(variant=None):
  c = config.load({path!r} + (f':{{variant}}' if variant else ''))
  return config.overlay(c, {small!r})
"""


def furnish(folder):
  """Puts into a folder what a reader has: recipes (small ones), experiments and a text."""
  for name in ('MY', 'configs', 'experiments'):
    (folder / name).mkdir()
  toys.write_corpus(folder / 'MY' / 'text.txt')
  for path in (blocks.ROOT / 'configs').glob('*.py'):
    recipe = RECIPE.format(path=str(path), small=SMALL)
    (folder / 'configs' / path.name).write_text(recipe)
  return folder


@pytest.fixture(scope='module')
def furnished(tmp_path_factory):
  """A folder with all that and a finished run."""
  folder = furnish(tmp_path_factory.mktemp('guides'))
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    assert mlm_jax.train(config_lib.load('configs/novels_small.py'), 'runs/mine', lambda line: None)
  return folder


def run_command(line):
  """Runs a line of a shell block, unless it cannot run here."""
  if any(line.startswith(start) for start in NOT_RUN):
    return
  words = [INSTEAD.get(word, word) for word in shlex.split(line)]
  assert words[0] == 'mlm-jax', f'neither run nor named in NOT_RUN: {line}'
  if any(word.endswith('/config.json') for word in words):  # of an imported run: no small recipe
    words += [f'--config.{key}={value}' for key, value in SMALL.items() if _is_of_training(key)]
  program.main(words[1:])


def _is_of_training(key):
  return not key.startswith(('model.', 'data.source', 'data.vocab_size'))


def run_python(block, names):
  """Executes a Python block among the names that those before it have made."""
  for statement, library in NEEDS.items():
    if statement in block.text and not _is_installed(library):
      return
  first = block.text.splitlines()[0]
  if first.startswith('# ') and first.endswith('.py'):
    path = pathlib.Path(first.removeprefix('# '))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text)
  exec(compile(block.text, block.where, 'exec'), names)  # the guides are ours


def _is_installed(library):
  try:
    __import__(library)
  except ImportError:
    return False
  return True


@pytest.mark.slow
@pytest.mark.parametrize('guide', blocks.GUIDES, ids=lambda guide: guide.stem)
def test_everything_in_a_guide_runs(guide, furnished, tmp_path, monkeypatch):
  folder = tmp_path / 'guide'
  shutil.copytree(furnished, folder)
  if guide.name == 'README.md':
    shutil.rmtree(folder / 'runs')  # it trains this run itself
  monkeypatch.chdir(folder)
  monkeypatch.setattr(sys, 'path', [*sys.path, str(folder)])
  names = {}
  for block in blocks.of(guide):
    print(block.where)  # shown where it fails
    if block.language == 'sh':
      for line in block.commands:
        run_command(line)
    elif block.language == 'python':
      run_python(block, names)


def test_every_block_says_what_it_is():
  found = [block for guide in blocks.PAGES for block in blocks.of(guide)]
  assert {block.language for block in found} <= {'sh', 'python', 'text'}


def test_everything_that_is_not_run_is_in_a_guide():
  lines = [
    line
    for guide in blocks.GUIDES
    for block in blocks.of(guide)
    if block.language == 'sh'
    for line in block.commands
  ]
  for start in NOT_RUN:
    assert any(line.startswith(start) for line in lines), start
  for flag in INSTEAD:
    assert any(flag in line.split() for line in lines), flag


def test_an_unknown_command_is_not_passed_over():
  with pytest.raises(AssertionError, match='neither run nor named'):
    run_command('mlm-jux train')
