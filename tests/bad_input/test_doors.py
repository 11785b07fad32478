"""What Python is given wrongly is named in one line, and is no error from the depths."""

import dataclasses
import inspect
import itertools
import pathlib
import traceback
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import jax
import numpy as np
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax import sweeps
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.core import vocabulary
from tests import shared_runs
from tests import toys
from tests.bad_input import hostile

pytestmark = pytest.mark.slow
_config: Any = config_lib
LIBRARY = (vocabulary.table, batches.from_rows)
TABLE = vocabulary.table(20, 3, (0, 1, 2, 3))
MASKING = sorted(config_lib.flatten(config_lib.base().masking))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return shared_runs.from_the_command_line(tmp_path_factory)


@pytest.fixture(scope='module')
def run(folder):
  return mlm_jax.open_run(folder)


def tried(door, *arguments, **named):
  """Calls a door: what it returns does not matter, what it raises is one line of this package."""
  try:
    with hostile.bounded():
      door(*arguments, **named)
  except (config_lib.UserError, ValueError) as error:
    # Arrays as a library takes them are refused as NumPy does, by ValueError.
    assert type(error) is config_lib.UserError or door in LIBRARY, repr(error)
    assert type(error) in (config_lib.UserError, ValueError), repr(error)
    _assert_said_here(error)
    assert '\n' not in str(error) and 5 < len(str(error)) < 1_600


def _assert_said_here(error):
  """Asserts that a line of this package raised it, and not a library that the line calls."""
  innermost = traceback.extract_tb(error.__traceback__)[-1]
  assert pathlib.Path(mlm_jax.__path__[0]) in pathlib.Path(innermost.filename).parents, repr(error)
  assert (innermost.line or '').startswith('raise'), (innermost.line, error)


arrays = st.sampled_from(
  [
    np.zeros(3),
    np.zeros((0, 4), int),
    np.zeros((2, 3, 4), int),
    np.full((2, 3), np.nan),
    np.full((2, 3), -1),
    np.full((2, 3), 10**6),
    np.array([['a', 'b']]),
    np.ones((2, 3), bool),
    np.array(None),
  ]
)
anything = hostile.odd_values | arrays | st.binary(max_size=4)


@hostile.drill(100)
@given(
  door=st.sampled_from(['fill', 'embed', 'pseudo_log_likelihood', 'masked']),
  texts=anything,
  named=st.dictionaries(
    st.sampled_from(['top_k', 'pooling', 'layers', 'too_long', 'policy', 'seed']),
    anything,
    max_size=1,
  ),
)
def test_of_a_run(run, door, texts, named):
  function = getattr(run, door)
  known = inspect.signature(function).parameters
  tried(function, texts, **{name: value for name, value in named.items() if name in known})


@hostile.drill(200)
@given(settings=st.dictionaries(st.sampled_from(MASKING), anything, min_size=1, max_size=2))
def test_of_a_policy(settings):
  tried(masking.make, TABLE, **settings)


@hostile.drill(150)
@given(size=anything, mask_id=anything, special_ids=anything, counts=anything)
def test_of_a_vocabulary(size, mask_id, special_ids, counts):
  tried(vocabulary.table, size, mask_id, special_ids)
  tried(vocabulary.table, 20, 3, special_ids, counts_V=counts)


@hostile.drill(150)
@given(tokens=anything, rows=anything, visit=anything)
def test_of_a_batch(tokens, rows, visit):
  tried(batches.from_rows, tokens)
  tried(batches.from_rows, np.zeros((2, 4), int), rows, visit)


POLICY = masking.make(TABLE)
BATCH = batches.from_rows(np.full((2, 8), 5))


@hostile.drill(100)
@given(
  which=st.integers(0, 7),
  other=anything | st.sampled_from([BATCH, POLICY, TABLE, rng.root_key(0), jax.random.key(0)]),
)
def test_of_masking_a_batch(which, other):
  """One of the four arguments, or one array of the batch, is another thing."""
  arguments = [POLICY, rng.root_key(0), BATCH, 0.5]
  if which < 4:
    arguments[which] = other
  else:
    name = ('tokens_BL', 'starts_BS', 'example_B2', 'visit_B')[which - 4]
    arguments[2] = dataclasses.replace(BATCH, **{name: other})
  tried(masking.mask_batch, *arguments)


@hostile.drill(60)
@given(name=st.sampled_from(['policy', 'seed', 'rows', 'length']), other=anything)
def test_of_checking_a_policy(name, other):
  tried(masking.check, **{'policy': POLICY, 'rows': 64, 'length': 16} | {name: other})


settings_lists = st.lists(
  st.dictionaries(st.sampled_from(['seed', 'masking.rate', 'x', 'masking']), anything, max_size=2),
  max_size=3,
)


@hostile.drill(150)
@given(lists=st.lists(anything | settings_lists, max_size=3), n=st.integers(1, 60))
def test_of_lists_of_settings(lists, n):
  for door in (sweeps.product, sweeps.zip, sweeps.chain):
    tried(door, *lists)
    tried(door, *[[{'seed': i} for i in range(60)]] * n)
  tried(sweeps.param, 'seed', itertools.count())


@hostile.drill(100)
@given(
  parts=st.dictionaries(
    st.sampled_from(
      [each.name for each in dataclasses.fields(sweeps.Sweep)] + ['experiment', 'workdir', 'sweep']
    ),
    anything | settings_lists,
    min_size=1,
    max_size=2,
  )
)
def test_of_a_plan(tmp_path_factory, parts):
  base = toys.config()
  sweep = {'base': base, 'runs': sweeps.param('masking.rate', [0.1, 0.2]), 'question': 'Why?'}
  where = {'experiment': 'here', 'workdir': tmp_path_factory.getbasetemp() / 'none'}
  where |= {name: parts.pop(name) for name in list(parts) if name in where}
  planned = parts.pop('sweep', None)
  planned = sweeps.Sweep(**sweep | parts) if planned is None else planned
  tried(sweeps.plan, planned, where['experiment'], where['workdir'], lambda line: None)


@hostile.drill(60)
@given(
  name=st.sampled_from(['config', 'workdir', 'log', 'changed_code', 'allow_code']), other=anything
)
def test_of_a_training(folder, name, other):
  """Of a run that is finished."""
  before = hostile.names(folder)
  arguments = {'config': None, 'workdir': folder, 'log': lambda line: None} | {name: other}
  tried(mlm_jax.train, **arguments)
  assert hostile.names(folder) == before


@hostile.drill(150)
@given(key=anything, values=anything, settings=anything)
def test_of_settings_and_sweeps(key, values, settings):
  tried(sweeps.param, key, values)
  tried(sweeps.seeds, values)
  tried(_config, None, settings)
  tried(masking.preset, key, TABLE)
  tried(mlm_jax.open_run, key, values)
