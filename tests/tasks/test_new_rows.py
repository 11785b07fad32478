"""Tables of a trained model with rows of new pieces: all tables of tokens, and nothing else."""

import jax
import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax import objectives
from mlm_jax.core import trees
from mlm_jax.tasks import adaptation
from mlm_jax.tasks import new_rows
from mlm_jax.training import saved
from tests import toys
from tests.huggingface import builders

RTD = {'objective__name': 'rtd', 'objective__generator_width': 1.0, 'model__embedding_width': 32}
CASES = {
  'bert': {},
  'deberta_v3': toys.FAMILIES['deberta_v3'],
  'modernbert': toys.FAMILIES['modernbert'],
  'own_table': {'model__tied_head': False},
  'rtd': RTD | {'objective__sharing': 'gdes'},
}
PIECES = builders.PIECES
PARTS = [(5, 30, 31)] * 99 + [(7, 8)]


@pytest.mark.parametrize('case', CASES)
def test_tables_of_tokens_grow_and_nothing_else_changes(case, tmp_path):
  config = builders.write_run(tmp_path / 'run', **CASES[case])
  model = saved.open_model(tmp_path / 'run')
  found = trees.paths(new_rows.NewRows(PIECES, PARTS).put(model, 0))
  made = objectives.make(config, PIECES + len(PARTS), pad_id=0, sep_id=0, head_rows=1)
  wanted = trees.paths(jax.eval_shape(made.init, jax.random.key(0)))
  assert {path: x.shape for path, x in found.items()} == {p: x.shape for p, x in wanted.items()}
  grown = 0
  for path, before in trees.paths(model.params).items():
    after, before = np.asarray(found[path]), np.asarray(before)
    if after.shape == before.shape:
      np.testing.assert_array_equal(after, before)
      continue
    grown += 1
    np.testing.assert_array_equal(after[:PIECES], before[:PIECES])
    np.testing.assert_allclose(after[PIECES], (before[5] + before[30] + before[31]) / 3, rtol=1e-5)
    np.testing.assert_allclose(after[PIECES + 99], (before[7] + before[8]) / 2, rtol=1e-5)
  assert grown >= 2


@pytest.mark.parametrize('count, rows', ((10, 64), (19, 64), (20, 0)))
def test_spare_rows_of_an_imported_table_are_used_first(count, rows, tmp_path):
  """Such tables are padded for the hardware; one that is too short gets a row a piece."""
  builders.write_run(tmp_path / 'run', model__vocab_size=64)
  settings = {
    **{'init_from': str(tmp_path / 'run'), 'data.row_length': 16, 'batch_size': 8},
    **{'adapt.new_pieces': count, 'adapt.general': 'text:absent.txt'},
  }
  config = adaptation.resolve(config_lib.overlay(config_lib.load('adaptation'), settings))
  assert config.model.vocab_size == rows
  model = saved.open_model(tmp_path / 'run')
  new = new_rows.NewRows(PIECES, [(7, 8)] * count).put(model, config.model.vocab_size)
  table, before = (
    np.asarray(each['embeddings']['token']['embedding']) for each in (new, model.params)
  )
  np.testing.assert_allclose(table[PIECES : PIECES + count], [(before[7] + before[8]) / 2] * count)
  # What scores in the softmax beside the pieces stays what it was.
  np.testing.assert_array_equal(table[PIECES + count : 64], before[PIECES + count : 64])
