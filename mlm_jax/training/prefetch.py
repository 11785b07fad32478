"""Batches made ahead of the steps that use them."""

import collections
from collections.abc import Callable
from collections.abc import Generator
import concurrent.futures
from typing import Any


def prefetch(
  batch_at: Callable[[int], Any], start: int, stop: int, depth: int = 2
) -> Generator[Any, None, None]:
  """Yields batch_at(i) for i in [start, stop), `depth` of them made ahead.

  It runs in one background thread; what it raises is raised here, at the batch it belongs to.
  Closing the generator ends the thread.
  """
  # One worker, so that batches are made in order and never two at a time.
  executor = concurrent.futures.ThreadPoolExecutor(1, 'prefetch')
  ahead = collections.deque()
  try:
    for i in range(start, min(start + depth, stop)):
      ahead.append(executor.submit(batch_at, i))
    for i in range(start, stop):
      batch = ahead.popleft().result()
      if i + depth < stop:
        ahead.append(executor.submit(batch_at, i + depth))
      yield batch
  finally:
    executor.shutdown(wait=True, cancel_futures=True)
