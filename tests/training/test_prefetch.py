"""Batches made ahead of the steps that use them."""

import threading
import time
from typing import Any

import pytest

from mlm_jax.training import prefetch


def wait_until_gone():
  deadline = time.monotonic() + 5
  while (
    any(t.name.startswith('prefetch') for t in threading.enumerate())
    and time.monotonic() < deadline
  ):
    time.sleep(0.01)
  return not any(t.name.startswith('prefetch') for t in threading.enumerate())


def test_prefetching_changes_nothing_and_stays_ahead():
  made = []

  def batch_at(i):
    made.append((i, threading.current_thread().name))
    return i

  batches = prefetch.prefetch(batch_at, 3, 9, depth=2)
  assert next(batches) == 3
  time.sleep(0.1)
  assert [i for i, _ in made] == [3, 4, 5]
  assert list(batches) == [4, 5, 6, 7, 8]
  assert [i for i, _ in made] == [3, 4, 5, 6, 7, 8]
  assert all(name.startswith('prefetch') for _, name in made)
  assert list(prefetch.prefetch(batch_at, 4, 4)) == []
  assert wait_until_gone()


def test_an_error_ahead_is_raised_at_its_batch_and_ends_the_thread():
  def batch_at(i):
    if i == 2:
      raise OSError('disk gone')
    return i

  batches = prefetch.prefetch(batch_at, 0, 9)
  assert [next(batches), next(batches)] == [0, 1]
  with pytest.raises(OSError, match='disk gone'):
    next(batches)
  assert wait_until_gone()


def test_closing_ends_the_thread():
  batches: Any = prefetch.prefetch(lambda i: i, 0, 10**9)
  next(batches)
  batches.close()
  assert wait_until_gone()
