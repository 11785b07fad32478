"""Strict dtypes, and the small vocabulary and batch that masking is tested on."""

import jax
import numpy as np
import pytest

from mlm_jax.core import batches
from mlm_jax.core import vocabulary

PAD, UNK, CLS, SEP, MASK = range(5)
CLASSES = ('NOUN', 'VERB', 'DET', 'PUNCT')


@pytest.fixture(autouse=True)
def strict_dtypes():
  with jax.numpy_dtype_promotion('strict'):
    yield


def make_table(size=200):
  g = np.random.default_rng(7)
  starts_V, ends_V, closes_V = (g.random(size) < share for share in (0.5, 0.1, 0.06))
  counts_V = np.where(np.arange(size) % 7 == 3, 0, 10_000 / (1 + np.arange(size)))
  return vocabulary.table(
    size, MASK, (PAD, UNK, CLS, SEP, MASK), starts_V, ends_V, counts_V, closes_V, CLASSES
  )


def make_batch(rows=6, length=32, size=200, seed=0):
  """Two documents a row, padding in every second; joins and classes are anywhere."""
  g = np.random.default_rng(seed)
  tokens_BL = g.integers(5, size, (rows, length))
  tokens_BL[:, 0], tokens_BL[:, length // 2] = CLS, CLS
  tokens_BL[:, length // 2 - 1], tokens_BL[:, -1] = SEP, SEP
  tokens_BL[::2, -4], tokens_BL[::2, -3:] = SEP, PAD
  starts_B3 = np.broadcast_to([0, length // 2, -1], (rows, 3))
  example_B2 = np.stack([np.zeros(rows), np.arange(rows)], axis=1)
  return batches.Batch(
    tokens_BL.astype(np.uint16),
    starts_B3.astype(np.int32),
    example_B2.astype(np.uint32),
    np.full(rows, 3, np.uint32),
    {
      'joins_BL': g.random((rows, length)) < 0.3,
      'classes_BL': g.integers(0, len(CLASSES) + 1, (rows, length)).astype(np.uint8),
    },
  )


def learned(policy, seed=0):
  """Returns the policy with something learned, where it learns."""
  g = np.random.default_rng(seed)
  what = {
    name: g.exponential(size=x.shape).astype(np.float32) for name, x in policy.learned.items()
  }
  return policy.with_learned(what)


@pytest.fixture
def table():
  return make_table()


@pytest.fixture
def batch():
  return make_batch()
