"""Loss spikes: steps whose loss stands out from those before them."""

import collections
import statistics

import numpy as np

_KEPT = 64  # losses whose median a new one is held against
_ENOUGH = 16  # before there are so many nothing stands out


class Watch:
  """Holds each step's loss against the median of the last 64.

  Args:
    share: how far above the median, as a share of it, a loss stands out; 0 = never.
    losses_M: what `losses` gave, to go on from there.
  """

  def __init__(self, share, losses_M=()):
    self._share = share
    self._recent = collections.deque([float(loss) for loss in losses_M if loss >= 0], maxlen=_KEPT)

  def add(self, loss):
    """Notes a step's loss; returns the median before it if it stands out, else None."""
    median = statistics.median(self._recent) if len(self._recent) >= _ENOUGH else None
    self._recent.append(float(np.float32(loss)))  # as it comes back from a checkpoint
    return median if median and self._share and loss > (1 + self._share) * median else None

  @property
  def losses_M(self):
    """float32 [64]: the last losses, then -1."""
    return np.array([*self._recent] + [-1] * (_KEPT - len(self._recent)), np.float32)
