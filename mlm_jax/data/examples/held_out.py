"""Which examples are kept for validation or test, where no file names them."""

from collections.abc import Hashable
from collections.abc import Sequence

import numpy as np

from mlm_jax import config


def held_out(groups: Sequence[Hashable], fraction: float, path: str, use: str) -> set[int]:
  """Returns the numbers of about a fraction of the examples; those of one group are on one side.

  Args:
    groups: of each example.
    fraction: as said; at least one example is kept.
    path: of their file, for messages.
    use: what they are kept for, likewise.

  Raises:
    UserError: all examples would be.
  """
  members: dict[Hashable, list[int]] = {}
  for number, group in enumerate(groups):
    members.setdefault(group, []).append(number)
  listed = list(members.values())
  wanted, found = max(1, round(fraction * len(groups))), set()
  # Of no seed: runs that differ in it are ranked by the same examples.
  for each in np.random.default_rng(0).permutation(len(listed)).tolist():
    if len(found) < wanted:
      found.update(listed[each])
  if len(found) == len(groups):
    what = f' in {len(listed)} groups' if len(listed) < len(groups) else ''
    raise config.UserError(
      f'{path} has {len(groups)} examples{what}: too few to keep some for {use}'
    )
  return found
