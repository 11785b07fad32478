"""What the judges of a sweep say of its arms: all arms by all judges, tested together.

Each judge has its own direction and unit. The cells are one family (see `statistics`), beside that
of the comparisons by the metric of the sweep.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math

from mlm_jax.report import statistics
from mlm_jax.report.answer import joined
from mlm_jax.report.comparisons import Comparison
from mlm_jax.report.judges import Judge
from mlm_jax.report.sweep_results import Run
from mlm_jax.report.sweep_results import Sweep

_CONTROL = 'the negative control is tested under the reference masks alone'
_Differences = Mapping[Comparison, statistics.Difference]


@dataclasses.dataclass(frozen=True)
class Judged:
  """What the judges say.

  Attributes:
    family: {Comparison: statistics.Difference} of the cells, tested together; `under` is the name
      of the judge.
    other: the same of differences to the baseline that are shown and not tested.
    answer: sentences.
    warnings: sentences on what is not judged.
  """

  family: dict[Comparison, statistics.Difference] = dataclasses.field(default_factory=dict)
  other: dict[Comparison, statistics.Difference] = dataclasses.field(default_factory=dict)
  answer: list[str] = dataclasses.field(default_factory=list)
  warnings: list[str] = dataclasses.field(default_factory=list)

  @property
  def all(self) -> dict[Comparison, statistics.Difference]:
    """Those of the family, and the others."""
    return self.family | self.other


def cells(
  arms: Iterable[str],
  baseline: str | None,
  control: str | None,
  contrasts: Sequence[Comparison],
  judges: Iterable[str],
) -> list[Comparison]:
  """Returns the comparisons that are tested together: each pair of arms by each judge.

  Args:
    arms, baseline, control, contrasts: as those of comparisons.family.
    judges: their names.
  """
  others = [(arm, str(baseline)) for arm in arms if arm not in (baseline, control)]
  pairs = dict.fromkeys((each.arm, each.other) for each in contrasts) if contrasts else others
  return [Comparison(*pair, judge) for judge in judges for pair in pairs]


def find(sweep: Sweep, refused: Mapping[str, str]) -> Judged:
  """Returns the Judged of a sweep, empty where it has no judges.

  Args:
    sweep: Sweep.
    refused: {arm: why} of the arms whose text or tokenizer is another than the baseline's.
  """
  if not sweep.judges:
    return Judged()
  tables = {
    judge.name: {
      arm: {run.seed: _final(run, judge) for run in sweep.of(arm)}
      for arm in sweep.arms
      if not (judge.same_tokens and arm in refused)
    }
    for judge in sweep.judges
  }
  can_be = lambda each: {each.arm, each.other} <= tables[each.under].keys()
  asked = (sweep.arms, sweep.baseline, sweep.negative_control)
  wanted = cells(*asked, sweep.contrasts.before, tables)
  family = statistics.together(tables, [each for each in wanted if can_be(each)])
  why = lambda arm: _CONTROL if arm == sweep.negative_control else 'not among the contrasts'
  other = {
    each: statistics.described(tables, each, why(arm))
    for judge in tables
    for arm in sweep.arms
    if arm != sweep.baseline
    and (each := Comparison(arm, sweep.baseline, judge)) not in family
    and can_be(each)
  }
  return Judged(family, other, _answer(sweep, family), _unjudged(sweep) + _removed(sweep))


def _final(run: Run, judge: Judge) -> float | None:
  """Returns what a judge has found of a run; None while nothing, NaN where there will be none."""
  if run.state in ('failed', 'diverged'):
    return math.nan
  return run.judged.get(judge.name) if run.state == 'done' else None


def means(sweep: Sweep, judge: Judge) -> dict[str, statistics.Estimate]:
  """Returns {arm: statistics.Estimate} of a judge's scores over the runs that are done."""
  return {
    arm: statistics.estimate([run.judged.get(judge.name) for run in sweep.of(arm, 'done')])
    for arm in sweep.arms
  }


def verdict(judge: Judge, difference: statistics.Difference) -> str:
  """Returns 'better' or 'worse' for what is claimed, else the Difference's verdict."""
  less, more = ('better', 'worse') if judge.direction == 'min' else ('worse', 'better')
  return {'lower': less, 'higher': more}.get(difference.verdict, difference.verdict)


def _answer(sweep: Sweep, family: _Differences) -> list[str]:
  """Returns a sentence for each pair of arms, and one on whether judges disagree."""
  judges = {judge.name: judge for judge in sweep.judges}
  pairs: dict[tuple[str, str], dict[str, list[str]]] = {}
  for each, difference in family.items():
    judge = judges[each.under]
    found = pairs.setdefault((each.arm, each.other), {})
    named = f'{judge.name} ({_short(judge, difference)})'
    found.setdefault(verdict(judge, difference), []).append(named)
  sentences = []
  for (arm, other), by in pairs.items():
    parts = [
      f'{each} by {joined(by[each], len(judges))}'
      for each in ('better', 'worse', 'undecided')
      if each in by
    ]
    parts += [f'no claim by {joined(by["untested"], len(judges))}'] if 'untested' in by else []
    sentences.append(f'{arm} against {other}: {"; ".join(parts)}.')
  return sentences + _agreement(sweep, family)


def _short(judge: Judge, difference: statistics.Difference) -> str:
  """Returns a difference with its interval and unit, or why there is none."""
  if difference.reason:
    return difference.reason
  found = difference.estimate
  return f'{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}] {judge.unit}'


def _agreement(sweep: Sweep, family: _Differences) -> list[str]:
  """Returns the sentences that say where judges disagree, or that they do not."""
  judges = {judge.name: judge for judge in sweep.judges}
  decided: dict[tuple[str, str], dict[str, list[str]]] = {}
  for each, difference in family.items():
    found = verdict(judges[each.under], difference)
    if found in ('better', 'worse'):
      decided.setdefault((each.arm, each.other), {}).setdefault(found, []).append(each.under)
  split = [
    f'{arm} against {other} (better by {joined(by["better"])}, worse by {joined(by["worse"])})'
    for (arm, other), by in decided.items()
    if len(by) == 2
  ]
  if split:
    return [
      f'The judges disagree on {joined(split)}: which arm is better depends on what it is for.'
    ]
  if decided:
    return ['No two judges disagree: no arm is shown to be better by one and worse by another.']
  return ['By no judge is any arm shown to be better or worse than another.'] if family else []


def _unjudged(sweep: Sweep) -> list[str]:
  """Returns a warning where finished runs are not judged."""
  done = [run for run in sweep.runs if run.state == 'done']
  left = {
    judge.name: count
    for judge in sweep.judges
    if (count := sum(judge.name not in run.judged for run in done)) and not judge.removed
  }
  if not left:
    return []
  counts = joined(f'{name} ({count} of {len(done)})' for name, count in left.items())
  return [f'Finished runs are not judged by {counts}: mlm-jax sweep judges them, or says why not.']


def _removed(sweep: Sweep) -> list[str]:
  """Returns a warning where judges are no longer named that have judged."""
  names = [judge.name for judge in sweep.judges if judge.removed]
  if not names:
    return []
  return [
    f'No longer named, but tested as before, since the results were seen: the judges '
    f'{joined(names)}.'
  ]
