"""The rate of a policy, as a function of the training's progress.

Each class here that derives from `Schedule` is a value of config.masking.schedule, by its name
in small letters. Below, t from 0 to 1 is the share of the training that is done, a is the
setting `rate` and b is `final_rate`.

Sources of schedules: arXiv:2208.10806 (masking ratio decay), arXiv:2305.15096.
"""

import dataclasses
from typing import Any
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.core import trees
from mlm_jax.core.batches import Array
from mlm_jax.masking import registry

# Rates that are computed are multiples of 1 / _STEPS: functions like the cosine end in other
# digits from one processor to the next, and the masks must not.
_STEPS = 2.0**16


@dataclasses.dataclass(frozen=True)
class Schedule:
  """The base of all schedules: from a to b by the share of the way that is done.

  Attributes:
    rate, final_rate: a and b, float32 scalars.
    reads: settings of the group `masking` that only this schedule reads; a plain literal.
    per_row: whether each row has its own rate.
  """

  rate: Array
  final_rate: Array

  reads: ClassVar[tuple[str, ...]] = ()
  per_row: ClassVar[bool] = False

  def share(self, t: jax.Array, word_B: jax.Array) -> jax.Array:
    """Returns how much of the way from a to b is done: a scalar, or one a row."""
    raise NotImplementedError

  def mean_share(self) -> float:
    """Returns the mean of `share` over the training."""
    return 0.5

  def at(self, progress: Any, word_B: jax.Array) -> jax.Array:
    """Returns rate_B, float32.

    Args:
      progress: scalar in [0, 1].
      word_B: uniform uint32, one a row at each visit.
    """
    a, b = self.rate, self.final_rate
    # float32 whatever it was given as: else the same progress could give two rates.
    share = self.share(jnp.asarray(progress, jnp.float32), word_B)
    rate = jnp.round((a + (b - a) * share) * _STEPS) / _STEPS
    # Rounding must not pass the ends: the prediction buffer is sized by them.
    return jnp.broadcast_to(jnp.clip(rate, jnp.minimum(a, b), jnp.maximum(a, b)), word_B.shape)

  def mean_at(self, progress: Any) -> jax.Array:
    """Returns the rate at a share of the training; where each row has its own, their mean."""
    # 2**31 is the middle of the words, for a schedule that draws its rate by one.
    return self.at(progress, jnp.full(1, 1 << 31, jnp.uint32))[0]

  def ends(self) -> tuple[Array, Array]:
    """Returns (a, b), the first and the last rate."""
    return self.rate, self.final_rate

  def mean(self) -> float:
    """Returns the mean of the rate over the training."""
    return float(np.float64(self.rate) + (self.final_rate - self.rate) * self.mean_share())


@trees.dataclass
class Constant(Schedule):
  """a."""

  def at(self, progress: Any, word_B: jax.Array) -> jax.Array:
    # Not rounded as the others are: nothing is computed, so the rate is the setting itself.
    return jnp.broadcast_to(jnp.asarray(self.rate), word_B.shape)

  def ends(self) -> tuple[Array, Array]:
    return self.rate, self.rate

  def mean(self) -> float:
    return float(self.rate)


@trees.dataclass
class Linear(Schedule):
  """a + (b - a) t."""

  def share(self, t: jax.Array, word_B: jax.Array) -> jax.Array:
    return t


@trees.dataclass
class Cosine(Schedule):
  """b + (a - b) (1 + cos(pi t)) / 2."""

  def share(self, t: jax.Array, word_B: jax.Array) -> jax.Array:
    return (1 - jnp.cos(jnp.pi * t)) / 2


@trees.dataclass
class Polynomial(Schedule):
  """a + (b - a) t ** rate_power, slow at first."""

  rate_power: Array

  reads = ('rate_power',)

  def share(self, t: jax.Array, word_B: jax.Array) -> jax.Array:
    return t**self.rate_power

  def mean_share(self) -> float:
    return 1 / (self.rate_power + 1)


@trees.dataclass
class EarlyPolynomial(Schedule):
  """b + (a - b) (1 - t) ** rate_power, fast at first."""

  rate_power: Array

  reads = ('rate_power',)

  def share(self, t: jax.Array, word_B: jax.Array) -> jax.Array:
    return 1 - (1 - t) ** self.rate_power

  def mean_share(self) -> float:
    return self.rate_power / (self.rate_power + 1)


@trees.dataclass
class Step(Schedule):
  """a in the first half, b in the second."""

  def share(self, t: jax.Array, word_B: jax.Array) -> jax.Array:
    return (t >= 0.5).astype(jnp.float32)


@trees.dataclass
class Row(Schedule):
  """Each row at each visit has its own rate, uniform between a and b."""

  per_row = True

  def share(self, t: jax.Array, word_B: jax.Array) -> jax.Array:
    # A float32 holds 24 bits exactly; a whole word would be rounded, and could become 1.
    return (word_B >> 8).astype(jnp.float32) * 2.0**-24


def make(masking: Any) -> Schedule:
  """Returns the schedule of a config's group `masking`, scaled to mean_rate; Python floats.

  Raises:
    UserError: the scaled rate would pass 1.
  """
  # The fields of a schedule are named as the settings that they come from.
  kind = registry.find('masking.schedule', masking.schedule)
  schedule = kind(*(float(masking[field.name]) for field in dataclasses.fields(kind)))
  if not masking.mean_rate:
    return schedule
  # Every schedule is linear in its two ends, so scaling both of them scales the mean.
  factor = masking.mean_rate / schedule.mean()
  a, b = (rate * factor for rate in schedule.ends())
  if max(a, b) > 1:
    raise config_lib.UserError(
      f'masking.mean_rate = {masking.mean_rate}: with masking.schedule = {masking.schedule!r} '
      f'from {masking.rate} to {masking.final_rate} the rate would reach {max(a, b):.3g}; lower it'
    )
  return dataclasses.replace(schedule, rate=a, final_rate=b)


def mean_rate(masking: Any) -> float:
  """Returns the mean over the training of the rate of a config's group `masking`."""
  return make(masking).mean()
