"""What is counted over the training rows."""

import io
import os

import numpy as np


class Unigrams:
  """Counts how often each piece stands in the rows that it is shown.

  Attributes:
    counts_V: int64; special pieces and padding are counted like any other.
  """

  def __init__(self, size):
    self.counts_V = np.zeros(size, np.int64)

  def add(self, tokens_RL):
    self.counts_V += np.bincount(tokens_RL.reshape(-1), minlength=len(self.counts_V))


def write(path, counts_V):
  """Writes statistics.npz: the same bytes for the same counts, since no time is in it."""
  with open(path, 'wb') as file:
    np.savez(file, counts_V=counts_V)
    file.flush()
    os.fsync(file.fileno())


def read(data):
  """Returns counts_V from the bytes of statistics.npz."""
  with np.load(io.BytesIO(data)) as arrays:
    return arrays['counts_V']
