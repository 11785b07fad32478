"""Strict dtypes, and the small vocabulary and batch that masking is tested on."""

import jax
import numpy as np
import pytest

from mlm_jax import batches
from mlm_jax import vocabulary

PAD, UNK, CLS, SEP, MASK = range(5)


@pytest.fixture(autouse=True)
def strict_dtypes():
  with jax.numpy_dtype_promotion('strict'):
    yield


def make_table(size=200):
  g = np.random.default_rng(7)
  return vocabulary.table(size, MASK, (PAD, UNK, CLS, SEP, MASK), g.random(size) < 0.5, g.random(size) < 0.1)


def make_batch(rows=6, length=32, size=200, seed=0):
  """Two documents a row, padding in every second."""
  g = np.random.default_rng(seed)
  tokens_BL = g.integers(5, size, (rows, length))
  tokens_BL[:, 0], tokens_BL[:, length // 2] = CLS, CLS
  tokens_BL[:, length // 2 - 1], tokens_BL[:, -1] = SEP, SEP
  tokens_BL[::2, -4], tokens_BL[::2, -3:] = SEP, PAD
  starts_B3 = np.broadcast_to([0, length // 2, -1], (rows, 3))
  example_B2 = np.stack([np.zeros(rows), np.arange(rows)], axis=1)
  return batches.Batch(tokens_BL.astype(np.uint16), starts_B3.astype(np.int32),
                       example_B2.astype(np.uint32), np.full(rows, 3, np.uint32))


@pytest.fixture
def table():
  return make_table()


@pytest.fixture
def batch():
  return make_batch()
