"""Positions: which row of the table a token has."""

import jax
import numpy as np
import pytest

from mlm_jax import config as config_lib
from mlm_jax.core import batches
from mlm_jax.models import embeddings
from tests import toys


def test_positions_count_inside_each_document_what_is_not_skipped():
  batch = toys.batch(rows=40, length=24, documents=3)
  is_skipped_BL = np.random.default_rng(0).random(batch.tokens_BL.shape) < 0.3
  found_BL = jax.jit(embeddings.counted)(batches.positions(batch.starts_BS, 24), is_skipped_BL)
  for b, starts_S in enumerate(batch.starts_BS):
    count = 0
    for n in range(24):
      count = 0 if n in starts_S else count
      assert found_BL[b, n] == (-1 if is_skipped_BL[b, n] else count)
      count += not is_skipped_BL[b, n]


def test_a_token_that_is_not_counted_has_the_row_before_the_first():
  model = toys.model(model__family='roberta', model__uncounted_id=7)
  params = toys.start(model)
  tokens_BL = np.array([[2, 7, 9, 3]])
  encode = lambda params: (
    toys.apply(model, params, tokens_BL, np.ones((1, 4), int), np.arange(4)[None]).hidden_BLD
  )
  gradient = jax.grad(lambda params: (encode(params) ** 3).sum())(params)
  used_P = np.abs(gradient['embeddings']['position']['embedding']).max(1) > 0
  # Rows 2, 3 and 4 are of the three that are counted, row 1 is of the one that is not.
  assert used_P.nonzero()[0].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize('family', ('bert', 'deberta', 'modernbert'))
def test_a_token_without_a_position_needs_a_row_before_the_first(family):
  with pytest.raises(config_lib.UserError, match='uncounted_id = 3: must be -1 unless'):
    toys.config(**toys.FAMILIES[family] | {'model__uncounted_id': 3})
