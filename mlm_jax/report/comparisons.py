"""Which arms of a sweep are compared, and under which masks: decided before its results are seen.

Every arm with the baseline under the masks of every policy, all tested together; or the contrasts
that the sweep names, and then those alone. The negative control is tested on its own, so that it
takes no share of the error of the others.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any
from typing import NamedTuple

REFERENCE = ''  # the name of the reference policy, which no arm can have
CHANGED = 'changed after results'


class Comparison(NamedTuple):
  """An arm minus another one, under the masks of a policy."""

  arm: str
  other: str
  under: str = REFERENCE

  @property
  def words(self) -> str:
    """It as text, such as 'rate=0.3 against rate=0.15'."""
    masks = f' under the masks of {self.under}' if self.under != REFERENCE else ''
    return f'{self.arm} against {self.other}{masks}'


@dataclasses.dataclass(frozen=True)
class Named:
  """The contrasts that a sweep names.

  Attributes:
    before: those named before any run had a result: they are tested.
    later: those named afterwards: they are shown, and nothing is claimed of them.
    removed: of those before, the ones that the sweep no longer names; they are tested all the
      same, where there are such arms.
  """

  before: tuple[Comparison, ...] = ()
  later: tuple[Comparison, ...] = ()
  removed: tuple[Comparison, ...] = ()


def read(plan: Mapping[str, Any]) -> Named:
  """Returns the Named of what sweep.json holds; TypeError where it is damaged."""
  # A sweep of an earlier version names none.
  now = [Comparison(*map(str, each)) for each in plan.get('contrasts', ())]
  before = [Comparison(*map(str, each)) for each in plan.get('contrasts_before_results', ())]
  return Named(
    tuple(before),
    tuple(each for each in now if each not in before),
    tuple(each for each in before if each not in now),
  )


def family(
  arms: Iterable[str],
  baseline: str,
  control: str | None,
  policies: Iterable[str],
  contrasts: Sequence[Comparison],
) -> list[Comparison]:
  """Returns the comparisons that are tested together.

  Args:
    arms: those that can be compared.
    baseline: one of them, or none if it cannot.
    control: the negative control, or None.
    policies: beside the reference policy, those that the arms are scored under.
    contrasts: those named; empty for every arm with the baseline under every policy.
  """
  arms = list(arms)
  under = [REFERENCE, *policies]
  if not contrasts:
    others = [arm for arm in arms if arm not in (baseline, control)]
    return [Comparison(arm, baseline, policy) for policy in under for arm in others]
  return [
    each
    for each in contrasts
    if {each.arm, each.other} <= set(arms)
    and each.under in under
    and not (each.under == REFERENCE and {each.arm, each.other} == {baseline, control})
  ]
