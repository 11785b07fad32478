import jax
import numpy as np
import pytest

from mlm_jax.masking import units
from tests.masking import conftest


def words_by_loop(table, batch):
  """The definition, token by token."""
  units_BL = np.full(batch.tokens_BL.shape, -1)
  for b, row in enumerate(batch.tokens_BL):
    for i, token in enumerate(row):
      if token in table.special_ids:
        continue
      alone = i == 0 or row[i - 1] in table.special_ids or i in batch.starts_BS[b]
      new = alone or table.starts_V[token] or table.ends_V[row[i - 1]]
      units_BL[b, i] = i if new else units_BL[b, i - 1]
  return units_BL


@pytest.mark.parametrize('seed', range(3))
def test_words_equal_their_definition(table, seed):
  batch = conftest.make_batch(rows=20, seed=seed)
  assert np.array_equal(units.words(table, batch), words_by_loop(table, batch))


def test_words_end_with_their_document_without_special_tokens_between(table):
  batch = conftest.make_batch(rows=1)
  inner = np.flatnonzero(~table.starts_V & ~table.ends_V)[-1]  # a piece inside a word
  batch.tokens_BL[:] = inner
  units_BL = np.asarray(units.words(table, batch))
  assert units_BL[0].tolist() == [0] * 16 + [16] * 16


def test_every_token_is_its_own_unit(table, batch):
  units_BL = np.asarray(units.tokens(table, batch))
  special_BL = np.isin(batch.tokens_BL, table.special_ids)
  assert np.array_equal(units_BL, np.where(special_BL, -1, np.arange(32)))


@pytest.mark.parametrize('make', (units.tokens, units.words))
def test_lengths_stand_at_first_tokens_and_count_every_token_once(table, make):
  units_BL = np.asarray(make(table, conftest.make_batch(rows=20)))
  lengths_BL = np.asarray(jax.jit(units.lengths)(units_BL))
  for row, lengths in zip(units_BL, lengths_BL):
    assert np.array_equal(np.bincount(row[row >= 0], minlength=32), lengths)
