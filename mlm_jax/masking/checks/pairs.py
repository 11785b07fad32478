"""Which units are chosen together: as often as the policy's sampling says, short and long ones.

A sampler may choose every unit with its probability and never two of them together. So pairs of
units of the same row are counted, by the lengths of both and by the distance between them, and
compared with what the definition of the sampling makes of the same rows, drawn anew by numpy
(`expected_pairs`).
"""

from collections.abc import Callable
from collections.abc import Iterator

import numpy as np
from scipy import special

from mlm_jax.masking.checks import expected_pairs
from mlm_jax.masking.checks import results
from mlm_jax.masking.checks import trial as trial_lib

_LONGEST = 9  # lengths up to it have a class each, above it all share one
_FARTHEST = 64  # tokens between the first tokens of two units
_DRAWS = 2  # of the definition, to one of the policy
_LEAST = 100  # pairs that are expected in a cell, for their sum to be as good as normal


def pairs(trial: trial_lib.Trial, name: str = '') -> Iterator[results.Result]:
  """Yields Results about pairs of units.

  Args:
    trial: to look at.
    name: what is said of it behind the name of the test.
  """
  g = np.random.default_rng((trial.seed, 1))  # other numbers than those that the rows are made of
  draws = [expected_pairs.draw(trial, g) for _ in range(_DRAWS)]
  chosen_BL = trial.corrupted_BL & trial.first_BL
  kinds: dict[str, Callable[[np.ndarray], np.ndarray]] = {'distance': _by_distance}
  if trial.policy.unit.many_tokens:
    kinds = {'length': lambda chosen_BL: _by_length(chosen_BL, trial.length_BL), **kinds}
  for kind, count in kinds.items():
    seen_BC = count(chosen_BL).astype(np.float64)
    stated_BC = np.mean([count(each) for each in draws], axis=0)
    yield _same(f'pairs of units by {kind}{name}', seen_BC, stated_BC)


def _by_length(chosen_BL: np.ndarray, length_BL: np.ndarray) -> np.ndarray:
  """Returns int [B, C], chosen pairs of a row by the lengths of the shorter and the longer unit."""
  class_BL = np.minimum(length_BL, _LONGEST)
  classes = range(1, _LONGEST + 1)
  number_BK = np.stack([(chosen_BL & (class_BL == k)).sum(axis=1) for k in classes], axis=1)
  products_BKK = number_BK[:, :, None] * number_BK[:, None]
  # Of units of one length each two are counted twice, and each with itself.
  diagonal = np.arange(_LONGEST)
  products_BKK[:, diagonal, diagonal] = number_BK * (number_BK - 1) // 2
  return products_BKK[:, *np.triu_indices(_LONGEST)]


def _by_distance(chosen_BL: np.ndarray) -> np.ndarray:
  """Returns int [B, C], chosen pairs of a row by doublings of the distance of first tokens."""
  most = min(_FARTHEST, chosen_BL.shape[1] - 1)
  at = [(chosen_BL[:, d:] & chosen_BL[:, :-d]).sum(axis=1) for d in range(1, most + 1)]
  cell = np.log2(np.arange(1, most + 1)).astype(int)
  return np.stack(
    [sum(x_B for x_B, c in zip(at, cell) if c == k) for k in range(cell[-1] + 1)], axis=1
  )


def _same(name: str, seen_BC: np.ndarray, stated_BC: np.ndarray) -> results.Result:
  """Tests that the pairs of rows are as many as stated, in the cell that differs most."""
  used_C = stated_BC.sum(axis=0) >= _LEAST
  seen_BC, stated_BC = seen_BC[:, used_C], stated_BC[:, used_C]
  if not used_C.any():
    return results.exact(name, [], 'nothing to test')
  # Rows share nothing, so what they differ by shows how much their sum may; pairs of a row do.
  apart_BC = seen_BC - stated_BC
  z_C = apart_BC.sum(axis=0) / np.sqrt(np.maximum((apart_BC**2).sum(axis=0), 1e-9))
  worst = np.abs(z_C).argmax()
  # Of so many cells the one that differs most differs more than one would: Sidak's correction.
  p_value = -np.expm1(special.xlog1py(len(z_C), -special.erfc(np.abs(z_C[worst]) / np.sqrt(2))))
  ratio_C = seen_BC.sum(axis=0) / stated_BC.sum(axis=0)
  return results.corrected(
    name,
    z_C[worst],
    p_value,
    f'{len(z_C)} cells, {ratio_C.min():.2f} to {ratio_C.max():.2f} of the stated',
  )
