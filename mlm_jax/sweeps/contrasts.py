"""The contrasts that a sweep names, checked before anything runs."""

from collections.abc import Collection
from collections.abc import Sequence
import difflib
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.evaluation import cross_scores
from mlm_jax.report.comparisons import Comparison


def check(
  given: Any, arms: Sequence[str], policies: dict[str, dict[str, Any]]
) -> tuple[Comparison, ...]:
  """Returns the contrasts of a Sweep as comparisons.

  Args:
    given: (arm, other) or (arm, other, policy) of each.
    arms: of the sweep.
    policies: {name: settings} of those that the arms train with; empty where all hide the same.

  Raises:
    UserError: no such list, no such arm or policy, an arm with itself, one contrast twice.
  """
  is_contrast = lambda each: (
    isinstance(each, (tuple, list))
    and len(each) in (2, 3)
    and all(isinstance(name, str) for name in each)
  )
  if not isinstance(given, (tuple, list)) or not all(map(is_contrast, given)):
    raise config_lib.UserError(
      f'contrasts = {given!r}: must be a list of pairs of arms, such as '
      f'[({arms[-1]!r}, {arms[0]!r})]; a third name is the policy that they are scored under'
    )
  found: list[Comparison] = []
  for arm, other, *under in given:
    for each in (arm, other):
      check_name('contrasts', 'arm', each, arms)
    if arm == other:
      raise config_lib.UserError(f'contrasts: {arm!r} cannot be compared with itself')
    if under and not policies:
      raise config_lib.UserError(
        f'contrasts: {under[0]!r} is no policy to be scored under: all arms hide the same'
      )
    for each in under:
      check_name('contrasts', 'policy', each, policies)
    # An arm's policy that is the reference policy is known by that name.
    own = [each for each in under if each in cross_scores.beside_reference(policies)]
    comparison = Comparison(arm, other, *own)
    if any({arm, other} == {c.arm, c.other} and c.under == comparison.under for c in found):
      raise config_lib.UserError(f'contrasts: {arm!r} against {other!r} is there twice')
    found.append(comparison)
  return tuple(found)


def check_name(setting: str, kind: str, name: Any, names: Collection[str]) -> None:
  """Raises UserError where there is no arm or policy of a name, with the nearest one."""
  if name not in names:
    near = difflib.get_close_matches(str(name), names, 1, 0)  # cutoff 0: always one
    raise config_lib.UserError(
      f'{setting} = {name!r}: there is no such {kind}; did you mean {near[0]!r}?'
    )
