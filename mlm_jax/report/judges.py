"""The judges of a sweep, as sweep.json names them, and what they have found of its runs."""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import pathlib
from typing import Any

from mlm_jax.evaluation import judgements


@dataclasses.dataclass(frozen=True)
class Judge:
  """A judge of a sweep.

  Attributes:
    name: as the sweep names it.
    score: what it compares arms by.
    direction: 'min' where less of it is better, else 'max'.
    same_tokens: whether only arms with the same text and tokenizer can be compared by it.
    asked: what it has evaluated.
    removed: whether it has judged runs and the sweep no longer names it.
  """

  name: str
  score: str
  direction: str
  same_tokens: bool
  asked: dict[str, Any]
  removed: bool = False

  @property
  def unit(self) -> str:
    """What its differences are counted in."""
    if self.score.endswith('loss'):
      return 'nats'
    return self.score.replace('_', ' ')


def read(plan: Mapping[str, Any]) -> tuple[Judge, ...]:
  """Returns the judges of what sweep.json holds; TypeError, KeyError or ValueError if damaged."""
  found = []
  for each in plan.get('judges', ()):  # a sweep of an earlier version has none
    name, score, direction = (str(each[key]) for key in ('name', 'score', 'direction'))
    if not name or direction not in ('min', 'max'):
      raise ValueError(f'a judge {name!r} with the direction {direction!r}')
    same, removed = bool(each['same_tokens']), bool(each.get('removed'))
    found.append(Judge(name, score, direction, same, dict(each['asked']), removed))
  return tuple(found)


def values(workdir: pathlib.Path, step: int, judges: Iterable[Judge]) -> dict[str, float]:
  """Returns {judge: score} of a run that has ended at a step, without judges that have none."""
  judges = list(judges)
  entries = judgements.read(workdir, step) if judges else []
  found = {each.name: judgements.find(entries, each.asked) for each in judges}
  return {
    each.name: scores[each.score]
    for each in judges
    if (scores := found[each.name]) is not None and each.score in scores
  }
