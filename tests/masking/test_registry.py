"""A unit or a selection is one file: dropped into its folder it can be chosen, and that is all."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import mlm_jax
from mlm_jax import config
from mlm_jax import masking
from mlm_jax.masking import registry
from mlm_jax.masking import schedules
from mlm_jax.masking import selections
from mlm_jax.masking import units

PAIRS = '''"""Two tokens at a time."""

import jax
import jax.numpy as jnp

from mlm_jax.core import trees
from mlm_jax.masking import boundaries
from mlm_jax.masking import units


@trees.dataclass
class PairOfTokens(units.Unit):
  """The first two tokens of a row's every four make a unit, the others one each."""

  needs = ('collocations',)

  def units(self, table, batch, words_BL=None):
    maskable_BL, fresh_BL = boundaries.stretches(table, batch)
    second_L = jnp.arange(batch.tokens_BL.shape[1]) % 4 == 1
    return boundaries.from_starts(fresh_BL | ~second_L[None], maskable_BL)
'''
EVEN = '''"""Even ids before odd ones."""

import jax
import jax.numpy as jnp

from mlm_jax.core import trees
from mlm_jax.masking import selections


@trees.dataclass
class Even(selections.Selection):
  """An even id weighs 1, an odd one as `function_weight` says."""

  odd: jax.Array

  reads = ('function_weight',)

  @classmethod
  def make(cls, masking, table, rate):
    return cls(jnp.float32(masking.function_weight))

  def weights(self, table, batch, units_BL):
    return selections.rounded(jnp.where(batch.tokens_BL % 2 == 0, 1, self.odd))
'''
PROGRAM = """
from mlm_jax import config, masking
from tests.masking import conftest

settings = [('masking.unit', 'pair_of_tokens'), ('masking.selection', 'even')]
try:
  config.override(config.base(), settings)
except config.UserError as error:
  print(error)
c = config.override(
  config.base(), [*settings, ('masking.function_weight', '0.5'), ('data.collocations', '9')]
)
policy = masking.make(conftest.make_table(), **c.masking.to_dict())
print(type(policy.unit).__name__, type(policy.selection).__name__, policy.needs)
print([str(each) for each in masking.check(policy, rows=512, length=64) if not each.passed])
"""


def test_one_new_file_each_is_a_unit_and_a_selection_that_config_takes_and_that_pass(tmp_path):
  """In a copy of the package, so that a file is really all that is added."""
  package = pathlib.Path(mlm_jax.__file__).parent
  compiled = shutil.ignore_patterns('__pycache__')
  shutil.copytree(package, tmp_path / 'mlm_jax', ignore=compiled)
  for name, text in (('units/pairs', PAIRS), ('selections/even', EVEN)):
    (tmp_path / 'mlm_jax' / 'masking' / f'{name}.py').write_text(text)
  tests = tmp_path / 'tests' / 'masking'
  tests.mkdir(parents=True)
  shutil.copy(pathlib.Path(__file__).parent / 'conftest.py', tests)
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM],
    cwd=tmp_path,
    env=os.environ | {'PYTHONPATH': str(tmp_path)},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines() == [
    'config.data.collocations = 0: must be above 0, such as 20000 for 10 million words, for '
    "masking.unit = 'pair_of_tokens'",
    "PairOfTokens Even ('collocations',)",
    '[]',
  ]


@pytest.mark.parametrize(
  'setting, base',
  (
    ('masking.unit', units.Unit),
    ('masking.selection', selections.Selection),
    ('masking.schedule', schedules.Schedule),
  ),
)
def test_what_the_config_reads_of_a_file_is_what_its_class_says(setting, base):
  choices = config.choices(setting)
  assert choices
  for value, choice in choices.items():
    found = registry.find(setting, value)
    assert issubclass(found, base) and found is not base
    for name in ('reads', 'needs', 'many_tokens'):
      assert getattr(choice, name) == getattr(found, name, getattr(choice, name))


def test_every_setting_that_is_read_by_some_choices_exists():
  known = config.base().masking
  for setting in ('masking.unit', 'masking.selection', 'masking.schedule'):
    for choice in config.choices(setting).values():
      assert all(name in known for name in choice.reads)


def test_policies_of_all_units_and_selections_are_made_of_their_classes(table):
  for unit in config.choices('masking.unit'):
    policy = masking.make(table, unit=unit)
    assert type(policy.unit) is registry.find('masking.unit', unit)
  for selection in config.choices('masking.selection'):
    policy = masking.make(table, selection=selection)
    assert type(policy.selection) is registry.find('masking.selection', selection)
