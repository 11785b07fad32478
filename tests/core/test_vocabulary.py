import jax
import numpy as np
import pytest

from mlm_jax.core import vocabulary


def test_special_ids_are_sorted_and_unique():
  assert vocabulary.table(10, 4, (4, 0, 4, 2)).special_ids == (0, 2, 4)


def test_without_columns_every_piece_is_a_word_and_counts_are_equal():
  table = vocabulary.table(6, 0, (0,))
  assert table.starts_V.all() and not table.ends_V.any() and (table.counts_V == 1).all()
  assert (table.starts_V.dtype, table.counts_V.dtype) == (bool, np.float32)


@pytest.mark.parametrize(
  'mask_id, special_ids, message',
  ((3, (0, 1), 'mask_id 3 is not among'), (0, (-1, 0), 'do not fit'), (0, (0, 6), 'do not fit')),
)
def test_ids_that_do_not_fit_are_refused(mask_id, special_ids, message):
  with pytest.raises(ValueError, match=message):
    vocabulary.table(6, mask_id, special_ids)


def test_columns_of_another_size_are_refused():
  with pytest.raises(ValueError, match='does not fit a vocabulary of 6'):
    vocabulary.table(6, 0, (0,), starts_V=np.ones(5, bool))


def test_columns_are_leaves_and_ids_are_structure():
  a, b = vocabulary.table(6, 0, (0,)), vocabulary.table(6, 0, (0, 1))
  assert len(jax.tree.leaves(a)) == 4
  assert jax.tree.structure(a) != jax.tree.structure(b)
