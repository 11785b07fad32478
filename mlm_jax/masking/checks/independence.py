"""What a row's masks may depend on: its own source, number, visit and seed, and no other row."""

from collections.abc import Callable
from collections.abc import Iterator
import dataclasses
from typing import Any

import jax
import numpy as np

from mlm_jax.masking.checks import results
from mlm_jax.masking.checks import span_lengths
from mlm_jax.masking.checks import trial as trial_lib

# A visit that is the first again with any 1 to 22 copies; with 23 it would not fit 32 bits.
_FAR = int(np.lcm.reduce(np.arange(1, 23)))


def independence(
  trial: trial_lib.Trial, attempt: Callable, mask: Callable
) -> Iterator[results.Result]:
  """Yields Results about rows that should share nothing.

  Args:
    trial: to compare with.
    attempt: (batch, seed) -> Trial.
    mask: the same -> its `masked` alone.
  """
  policy, batch, rows = trial.policy, trial.batch, len(trial.rate_B)
  at = lambda visits: dataclasses.replace(batch, visit_B=np.resize(np.uint32(visits), rows))
  paired = rows // 2 * 2
  pairs = {
    'the neighbouring row': (trial.rows(slice(0, paired, 2)), trial.rows(slice(1, paired, 2)))
  }
  # Too few copies would be back at one of these visits; each is tried in its share of the rows.
  others = (
    [k for k in range(1, policy.static_copies) if policy.static_copies % k == 0]
    if policy.static_copies
    else [1, _FAR]
  )
  if others:
    pairs['other visits'] = trial, attempt(at(others))
  if policy.static_copies:
    again = mask(at([policy.static_copies]))
    yield results.exact('copies return', trial.masked.inputs_BL != again.inputs_BL)
  elsewhere_B2 = batch.example_B2 + np.array([1, 0], np.uint32)
  elsewhere = attempt(dataclasses.replace(batch, example_B2=elsewhere_B2))
  pairs['the same row of another source'] = trial, elsewhere
  pairs['another seed'] = trial, attempt(batch, seed=(trial.seed + 1) % 2**32)
  for name, (ours, theirs) in pairs.items():
    # Units that both have: how often they are chosen in both.
    both_BL = ours.first_BL & theirs.first_BL
    yield _unrelated(
      f'independent of {name}',
      np.where(both_BL, ours.excess_BL, 0),
      np.where(both_BL, theirs.excess_BL, 0),
      np.where(both_BL, ours.variance_BL * theirs.variance_BL, 0),
    )
    if policy.unit.draws_lengths:
      yield _unrelated(f'spans independent of {name}', *span_lengths.at_both(ours, theirs))
    if policy.schedule.per_row:
      a, b = map(float, policy.schedule.ends())
      ours_B1, theirs_B1 = (each.rate_B[:, None] - (a + b) / 2 for each in (ours, theirs))
      # A uniform number between a and b has the variance (a - b)^2 / 12.
      variance_B1 = np.full(ours_B1.shape, ((a - b) ** 2 / 12) ** 2)
      yield _unrelated(f'rates independent of {name}', ours_B1, theirs_B1, variance_B1)


def _unrelated(
  name: str, ours_BN: np.ndarray, theirs_BN: np.ndarray, variance_BN: np.ndarray
) -> results.Result:
  """Tests that two scores of mean 0 are uncorrelated; variance_BN is that of their product."""
  product_B = (ours_BN * theirs_BN).sum(axis=1)
  # Under an exact budget the units of a row depend on each other, at most where each length
  # occurs once: then what rows show counts.
  variance = max(variance_BN.sum(), np.sum(product_B**2))
  return results.normal(
    name,
    product_B.sum(),
    variance,
    f'correlation {product_B.sum() / max(np.sqrt(variance_BN).sum(), 1e-9):.5f}',
  )


def determinism(trial: trial_lib.Trial, mask: Callable) -> Iterator[results.Result]:
  """Yields Results about the same rows, masked beside other rows; mask(batch) -> Masked."""
  # A draw that depended on a row's place in its batch would change with either of these.
  order = np.random.default_rng(0).permutation(len(trial.rate_B))

  def differ(part: Any) -> int:
    ours = trial.rows(part)
    pairs = zip(jax.tree.leaves(ours.masked), jax.tree.leaves(mask(ours.batch)), strict=True)
    return sum(int(np.sum(a != b)) for a, b in pairs)

  yield results.exact('the same in any row order', differ(order))
  half = len(order) // 2
  yield results.exact(
    'the same in any batch split', [differ(slice(0, half)), differ(slice(half, 2 * half))]
  )
