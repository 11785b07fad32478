"""Rows to try a policy on, and what became of them."""

import dataclasses
from typing import Any

import jax
import numpy as np

from mlm_jax.core import batches
from mlm_jax.core import vocabulary
from mlm_jax.masking import policy as policy_lib
from mlm_jax.masking.checks import expected
from mlm_jax.masking.checks import expected_units


@dataclasses.dataclass(frozen=True)
class Trial:
  """A masked batch beside what its policy states about it; numpy throughout.

  Attributes:
    policy: Policy.
    batch: batches.Batch.
    masked: policy.Masked.
    seed: of the masks.
    text_BL: int, what units_BL should be, see expected_units; None where that is not known.
    rate_B: float64, the rate of each row.
    length_BL: at a unit's first token its number of tokens, elsewhere 0.
    pi_BL: float64, at a unit's first token the probability that it is corrupted, elsewhere 0.
    certain_BL: bool, units that must be corrupted.
  """

  policy: policy_lib.Policy
  batch: batches.Batch
  masked: policy_lib.Masked
  seed: int
  text_BL: np.ndarray | None
  rate_B: np.ndarray
  length_BL: np.ndarray
  pi_BL: np.ndarray
  certain_BL: np.ndarray

  def rows(self, part: Any) -> 'Trial':
    """Returns the Trial of a part of the rows."""
    names = [each.name for each in dataclasses.fields(self) if each.name not in ('policy', 'seed')]
    arrays = {name: getattr(self, name) for name in names}
    return dataclasses.replace(self, **jax.tree.map(lambda x: x[part], arrays))

  @property
  def first_BL(self) -> np.ndarray:
    """bool, units' first tokens."""
    return self.length_BL > 0

  @property
  def corrupted_BL(self) -> np.ndarray:
    """bool, tokens that were chosen, be they predicted or not."""
    return self.masked.action_BL > 0

  @property
  def excess_BL(self) -> np.ndarray:
    """float64, at a unit's first token corrupted minus its probability, elsewhere 0."""
    return np.where(self.first_BL, self.corrupted_BL - self.pi_BL, 0)

  @property
  def variance_BL(self) -> np.ndarray:
    """float64, of excess_BL."""
    return self.pi_BL * (1 - self.pi_BL)


def trial(
  policy: policy_lib.Policy,
  batch: batches.Batch,
  masked: policy_lib.Masked,
  seed: int,
  progress: float,
) -> Trial:
  """Returns the Trial of a batch that was masked."""
  return Trial(
    policy,
    batch,
    masked,
    seed,
    text_BL=expected_units.units(policy.unit, policy.table, batch),
    length_BL=expected.lengths(masked.units_BL),
    **_stated(policy, batch, masked, seed, progress),
  )


def with_policy(
  trial: Trial, policy: policy_lib.Policy, masked: policy_lib.Masked, progress: float
) -> Trial:
  """Returns the Trial of the same rows under a policy with the same units, as `masked` has them."""
  stated = _stated(policy, trial.batch, masked, trial.seed, progress)
  return dataclasses.replace(trial, policy=policy, masked=masked, **stated)


def _stated(
  policy: policy_lib.Policy,
  batch: batches.Batch,
  masked: policy_lib.Masked,
  seed: int,
  progress: float,
) -> dict[str, Any]:
  """Returns the fields of a Trial that say how probable units are."""
  rate_B = expected.rates(policy, seed, batch, progress)
  demand_BL = expected.demand(policy, batch, masked.units_BL, rate_B)
  # The device's probabilities are exact to some 1e-5: none that close to 1 is asked to be certain.
  return {
    'rate_B': rate_B,
    'pi_BL': np.minimum(demand_BL, 1),
    'certain_BL': demand_BL > 1.001,
  }


def synthetic_batch(table: vocabulary.Table, rows: int, length: int, seed: int) -> batches.Batch:
  """Returns a Batch of several documents a row, some with padding.

  Its tokens favour low ids and leave out the highest quarter, so that
  replacements drawn from the batch or only up to its largest id show. Joins and
  classes are random, without regard to words and documents.
  """
  # Not by the package's own draws, which are what is tested.
  g = np.random.default_rng(seed)
  ordinary = np.setdiff1d(np.arange(table.size), table.special_ids)
  ordinary = ordinary[: max(1, 3 * len(ordinary) // 4)]
  others = [each for each in table.special_ids if each != table.mask_id] or [table.mask_id]
  tokens_BL = ordinary[(g.random((rows, length)) ** 1.5 * len(ordinary)).astype(int)]
  index_L = np.arange(length)
  cut_B2 = np.sort(g.integers(3, length - 1, (rows, 2)), axis=1)
  filled_B = np.where(g.random(rows) < 0.25, g.integers(4, length, rows), length)
  starts_B3 = np.concatenate([np.zeros((rows, 1), int), cut_B2], axis=1)
  starts_B3 = np.where(starts_B3 < filled_B[:, None], starts_B3, -1)
  # Each document opens and closes with special tokens; whatever is left is padding.
  opens_BL = (starts_B3[:, :, None] == index_L).any(axis=1)
  closes_BL = np.roll(opens_BL, -1, axis=1) | (index_L == filled_B[:, None] - 1)
  tokens_BL = np.where(opens_BL, others[0], np.where(closes_BL, others[-1], tokens_BL))
  tokens_BL = np.where(index_L < filled_B[:, None], tokens_BL, others[0])
  example_B2 = np.stack([np.zeros(rows), np.arange(rows)], axis=1)
  return batches.Batch(
    tokens_BL.astype(np.int32),
    starts_B3.astype(np.int32),
    example_B2.astype(np.uint32),
    np.zeros(rows, np.uint32),
    {
      'joins_BL': g.random((rows, length)) < 0.3,
      'classes_BL': g.integers(0, len(table.classes) + 1, (rows, length)).astype(np.uint8),
    },
  )
