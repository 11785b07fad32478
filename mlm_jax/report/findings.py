"""What a sweep shows: how its arms differ, and the answer in words.

Arms are compared by the sweep's metric, the held-out loss under the reference masks unless it says
otherwise, and where they hide different things also under the policies of all arms. `comparable`
says which arms can be compared, `comparisons` which comparisons are tested.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math

from mlm_jax.report import answer as answer_lib
from mlm_jax.report import comparable
from mlm_jax.report import comparisons
from mlm_jax.report import judged as judged_lib
from mlm_jax.report import statistics
from mlm_jax.report import sweep_results
from mlm_jax.report import task_sweep
from mlm_jax.report import text_interval
from mlm_jax.report.answer import joined
from mlm_jax.report.comparisons import Comparison
from mlm_jax.report.sweep_results import Sweep

_BUDGETS = {'tokens': 'tokens', 'predictions': 'predictions', 'flops': 'FLOPs'}
_BUDGET_TOLERANCE = 0.01  # steps are whole numbers, so budgets differ a little


@dataclasses.dataclass(frozen=True)
class Findings:
  """What a sweep shows.

  Attributes:
    family: {Comparison: statistics.Difference} of what is tested together, in the sweep's metric.
    control: the same of the negative control with the baseline, tested on its own; empty without
      one that can be compared.
    later: the same of the contrasts named after results, of which nothing is claimed.
    cross: {policy: {arm: statistics.Difference to the baseline}} of comparable arms, tested or not;
      comparisons.REFERENCE is the reference policy, and is the only one where all arms hide the
      same.
    refused: {arm: what differs from the baseline, in words} of the arms that are not comparable.
    answer: sentences that answer the sweep's question.
    warnings: sentences that a reader must see before trusting the answer.
    missing: a sentence that names the runs that are not done, or ''.
    judged: what the judges of the sweep say.
  """

  family: dict[Comparison, statistics.Difference]
  control: dict[Comparison, statistics.Difference]
  later: dict[Comparison, statistics.Difference]
  cross: dict[str, dict[str, statistics.Difference]]
  refused: dict[str, str]
  answer: list[str]
  warnings: list[str]
  missing: str
  judged: judged_lib.Judged

  @property
  def compared(self) -> dict[Comparison, statistics.Difference]:
    """All of the family, the control and later contrasts."""
    return self.family | self.control | self.later

  @property
  def differences(self) -> dict[str, statistics.Difference]:
    """{arm: statistics.Difference to the baseline} under the reference masks."""
    return self.cross[comparisons.REFERENCE]


def find(sweep: Sweep) -> Findings:
  """Returns the Findings of a Sweep."""
  refused = comparable.refused(sweep)
  # Refused arms are left out before the statistics, whose corrections count the arms compared.
  arms = [arm for arm in sweep.arms if arm not in refused]
  empty = [policy for policy in sweep.policies if _hides_nothing(sweep, policy)]
  tables = {
    policy: {arm: {run.seed: final(sweep, run, policy) for run in sweep.of(arm)} for arm in arms}
    for policy in (comparisons.REFERENCE, *sweep.policies)
    if policy not in empty
  }
  family, control, later = _tested(sweep, tables)
  judged = judged_lib.find(sweep, refused)
  answer = answer_lib.sentences(sweep, family, control, later, judged.answer)
  warnings = comparable.sentences(sweep, refused) + _generators(sweep, refused) + _changed(sweep)
  return Findings(
    family,
    control,
    later,
    _cross(sweep, tables, family | control),
    refused,
    answer,
    [
      *warnings,
      *_unscored(sweep, arms),
      *_hiding_nothing(sweep, empty),
      *_unmatched(sweep),
      *judged.warnings,
    ],
    _missing(sweep),
    judged,
  )


_Differences = dict[Comparison, statistics.Difference]


def _tested(
  sweep: Sweep, tables: statistics.Tables
) -> tuple[_Differences, _Differences, _Differences]:
  """Returns (family, control, later) of Findings."""
  arms, named, control = tables[comparisons.REFERENCE], sweep.contrasts, sweep.negative_control
  policies = [policy for policy in tables if policy != comparisons.REFERENCE]
  can_be = lambda contrasts: comparisons.family(arms, sweep.baseline, control, policies, contrasts)
  # Nothing is left where none of the contrasts can be compared: others do not replace them.
  family = can_be(named.before)
  alone = (
    [Comparison(control, sweep.baseline)] if control in arms and sweep.baseline in arms else []
  )
  added = [each for each in can_be(named.later) if each not in family] if named.later else []
  # As wide as if they had been named with the others; a claim they cannot have any more.
  every = _with_text(sweep, statistics.together(tables, [*family, *added]))
  later = {
    each: dataclasses.replace(every[each], verdict='untested', reason=comparisons.CHANGED)
    for each in added
  }
  tested = [_with_text(sweep, statistics.together(tables, each)) for each in (family, alone)]
  return tested[0], tested[1], later


def _with_text(sweep: Sweep, tested: _Differences) -> _Differences:
  """Returns differences that were tested together, with their intervals over seeds and text."""
  level = statistics.level(len(tested))
  found = dict(tested)
  for each, difference in tested.items():
    # Scores by segment are those under the reference masks; where nothing can be tested, nothing
    # is known of the spread.
    if each.under == comparisons.REFERENCE and not difference.reason:
      ours, theirs = (
        {run.seed: run.segments for run in sweep.of(arm) if run.seed in difference.values}
        for arm in (each.arm, each.other)
      )
      text = text_interval.estimate(sweep.metric, ours, theirs, level)
      found[each] = dataclasses.replace(difference, text=text)
  return found


def _cross(
  sweep: Sweep, tables: statistics.Tables, tested: _Differences
) -> dict[str, dict[str, statistics.Difference]]:
  """Returns the differences of all arms to the baseline under each policy, tested or not."""
  why = lambda arm: (
    'the negative control is tested under the reference masks alone'
    if arm == sweep.negative_control
    else 'not among the contrasts'
  )
  of = lambda each: tested.get(each) or statistics.described(tables, each, why(each.arm))
  return {
    policy: {
      arm: of(Comparison(arm, sweep.baseline, policy))
      for arm in arms
      if arm != sweep.baseline and sweep.baseline in arms
    }
    for policy, arms in tables.items()
  }


def final(sweep: Sweep, run: sweep_results.Run, policy: str) -> float | None:
  """Returns a run's final score under a policy.

  None while there is none, NaN where there will be none.
  """
  # The last score of a run that diverged must not count: it was evaluated before it did.
  if run.state in ('failed', 'diverged'):
    return math.nan
  if run.state != 'done':
    return None
  value = run.values.get(sweep.metric)
  # Of a run that ended with a NaN no other score counts either.
  if policy == comparisons.REFERENCE or (value is not None and not math.isfinite(value)):
    return value
  return run.scores.get(policy, {}).get(sweep.score)


def estimates(sweep: Sweep, metric: str) -> dict[str, statistics.Estimate]:
  """Returns {arm: statistics.Estimate} of a value over the runs that are done."""
  return {
    arm: statistics.estimate([run.values.get(metric) for run in sweep.of(arm, 'done')])
    for arm in sweep.arms
  }


def mean_of(sweep: Sweep, arm: str, metric: str) -> float | None:
  """Returns the mean of a value over an arm's runs that are done, None where one lacks it."""
  runs = sweep.of(arm, 'done')
  values = [run.values[metric] for run in runs if run.values.get(metric) is not None]
  return sum(values) / len(values) if values and len(values) == len(runs) else None


def last_part(key: str) -> str:
  """Returns the name of a setting without its group."""
  return key.split('.')[-1]


def _generators(sweep: Sweep, refused: Mapping[str, str]) -> list[str]:
  """Returns a warning where arms are compared by what is not the encoder that is kept."""
  if not any(
    run.fingerprints.get('objective') == 'rtd' for run in sweep.runs if run.arm not in refused
  ):
    return []
  if sweep.score.startswith('rtd'):
    return [
      'Each discriminator is scored on the replacements of its own generator: a worse generator '
      'makes it look better.'
    ]
  return [f'{sweep.metric} is of the generators of rtd, not of the discriminators that are kept.']


def _changed(sweep: Sweep) -> list[str]:
  """Returns a warning where the contrasts are others than before there were results."""
  named, found = sweep.contrasts, []
  words = lambda contrasts: joined(each.words for each in contrasts)
  if named.later:
    found.append(f'named since: {words(named.later)}, of which nothing is claimed')
  if named.removed:
    found.append(f'no longer named, but tested as before: {words(named.removed)}')
  return [f'The contrasts were {comparisons.CHANGED}: {"; ".join(found)}.'] if found else []


def _unscored(sweep: Sweep, arms: Sequence[str]) -> list[str]:
  """Returns a warning where arms hide different things and not every run is scored under all."""
  if not sweep.hides_differently:
    return []
  done = [run for arm in arms for run in sweep.of(arm, 'done')]
  left = [run.name for run in done if not sweep.policies or len(run.scores) < len(sweep.policies)]
  if not left:
    return []
  return [
    f'The arms hide different things, and {len(left)} of {len(done)} finished runs are not scored '
    f'under the masks of all arms ({joined(left, 4)}). Each is better at what it was trained to '
    'guess: before trusting a difference, let mlm-jax sweep score them; it does, or says why not.'
  ]


def _hides_nothing(sweep: Sweep, policy: str) -> bool:
  """Whether runs were scored under a policy, and had no score there: its rate ends at 0."""
  scores = [run.scores[policy] for run in sweep.runs if policy in run.scores]
  return bool(scores) and not any(sweep.score in each for each in scores)


def _hiding_nothing(sweep: Sweep, policies: Sequence[str]) -> list[str]:
  """Returns a sentence that names the policies under which there is no score."""
  if not policies:
    return []
  masks = joined(answer_lib.under(sweep, each) for each in policies)
  return [
    f'Nothing is hidden under {masks} at the end of the training, so no run has a '
    f'{sweep.score.replace("_", " ")} under them.'
  ]


def _missing(sweep: Sweep) -> str:
  """Returns the sentence about runs that are not done, '' where all are."""
  left = [run for run in sweep.runs if run.state != 'done']
  if not left:
    return ''
  counts = [
    f'{len(names)} {state} ({joined(names, 6)})'
    for state in sweep_results.STATES[1:]
    if (names := [run.name for run in left if run.state == state])
  ]
  return f'{len(left)} of {len(sweep.runs)} runs are not finished: {"; ".join(counts)}.'


def _unmatched(sweep: Sweep) -> list[str]:
  """Returns a warning where the arms have not spent the same, or that is not known."""
  if sweep.budget in task_sweep.BUDGETS:
    return []  # planned in whole steps, which a run that is done has taken, or patience ended it
  if sweep.budget not in _BUDGETS:
    return [f'The budget {sweep.budget!r} cannot be checked.']
  name = _BUDGETS[sweep.budget]
  # By the logs, not by the plan, which is an estimate made before the first step.
  done = [arm for arm in sweep.arms if sweep.of(arm, 'done')]
  means = {arm: mean_of(sweep, arm, sweep.budget) for arm in done}
  spent = {arm: mean for arm, mean in means.items() if mean is not None}
  unknown = [arm for arm in done if arm not in spent]
  if unknown:
    return [
      f'Whether the arms spent the same number of {name} is not known: the logs of '
      f'{joined(unknown)} do not say it.'
    ]
  if spent and max(spent.values()) > (1 + _BUDGET_TOLERANCE) * min(spent.values()):
    least, most = min(spent, key=spent.__getitem__), max(spent, key=spent.__getitem__)
    more = spent[most] / spent[least] - 1 if spent[least] else float('inf')
    return [f'The arms did not spend the same: {most} took {more:.1%} more {name} than {least}.']
  return []
