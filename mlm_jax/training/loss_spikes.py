"""Loss spikes: steps whose loss stands out from those before them."""

import collections
from collections.abc import Iterable
import statistics

import numpy as np

_KEPT = 64  # losses with whose median a new one is compared
_ENOUGH = 16  # with fewer, a median says too little: nothing stands out yet


class Watch:
  """Compares each step's loss with the median of the last 64.

  Args:
    share: how far above the median, as a share of it, a loss stands out; 0 = never.
    losses_M: what `losses_M` gave before, to continue from there.
  """

  def __init__(self, share: float, losses_M: Iterable[float] = ()):
    self._share = share
    # Negative ones fill the array up, see `losses_M`; NaN is left out too.
    self._recent = collections.deque([float(loss) for loss in losses_M if loss >= 0], maxlen=_KEPT)

  def add(self, loss: float) -> float | None:
    """Notes a step's loss; returns the median before it if it stands out, else None."""
    # A median and not a mean: one spike must not hide the next.
    median = statistics.median(self._recent) if len(self._recent) >= _ENOUGH else None
    self._recent.append(float(np.float32(loss)))  # as it comes back from a checkpoint
    return median if median and self._share and loss > (1 + self._share) * median else None

  @property
  def losses_M(self) -> np.ndarray:
    """float32 [64]: the last losses, then -1."""
    return np.array([*self._recent] + [-1] * (_KEPT - len(self._recent)), np.float32)
