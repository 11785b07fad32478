"""What a sweep shows: which arms can be compared, how they differ, and the answer in words.

Arms are compared by the sweep's metric, the held-out loss under the reference masks unless it says
otherwise, and where they hide different things also under the policies of all arms. A loss is a
mean over masked tokens, so it can be compared only with losses of the same tokens: an arm with
another tokenizer, row length, held-out text or number of held-out rows than the baseline is not
compared. Its bits per character of masked text are shown instead, without a claim, since other text
is masked there. Nor is an arm with another objective: the masked loss of replaced-token detection
is that of a generator, not of the encoder that is kept.
"""

import collections
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math
from typing import Any

from mlm_jax.report import answer as answer_lib
from mlm_jax.report import statistics
from mlm_jax.report import sweep_results
from mlm_jax.report.answer import joined
from mlm_jax.report.sweep_results import Sweep

_BUDGETS = {'tokens': 'tokens', 'predictions': 'predictions', 'flops': 'FLOPs'}
OTHER_OBJECTIVE = 'another objective'
_BUDGET_TOLERANCE = 0.01  # steps are whole numbers, so budgets differ a little


@dataclasses.dataclass(frozen=True)
class Findings:
  """What a sweep shows.

  Attributes:
    cross: {policy: {arm: statistics.Difference to the baseline}} in the sweep's metric, of
      comparable arms; answer.REFERENCE is the reference policy, and is the only one where all
      arms hide the same. All differences are tested together.
    refused: {arm: what differs from the baseline, in words} of the arms that are not comparable.
    answer: sentences that answer the sweep's question.
    warnings: sentences that a reader must see before trusting the answer.
    missing: a sentence that names the runs that are not done, or ''.
  """

  cross: dict[str, dict[str, statistics.Difference]]
  refused: dict[str, str]
  answer: list[str]
  warnings: list[str]
  missing: str

  @property
  def differences(self) -> dict[str, statistics.Difference]:
    """{arm: statistics.Difference} under the reference masks."""
    return self.cross[answer_lib.REFERENCE]


def find(sweep: Sweep) -> Findings:
  """Returns the Findings of a Sweep."""
  refused = _refused(sweep)
  # Refused arms are left out before the statistics, whose corrections count the arms compared.
  arms = [arm for arm in sweep.arms if arm not in refused]
  tables = {
    policy: {arm: {run.seed: final(sweep, run, policy) for run in sweep.of(arm)} for arm in arms}
    for policy in (answer_lib.REFERENCE, *sweep.policies)
  }
  cross = statistics.differences_under(tables, sweep.baseline)
  warnings = _refusals(sweep, refused) + _generators(sweep, refused)
  return Findings(
    cross,
    refused,
    answer_lib.sentences(sweep, cross, refused),
    warnings + _unscored(sweep, arms) + _unmatched(sweep),
    _missing(sweep),
  )


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
  if policy == answer_lib.REFERENCE or (value is not None and not math.isfinite(value)):
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


def _refused(sweep: Sweep) -> dict[str, str]:
  """Returns {arm: what differs} of the arms whose losses are of other tokens than the baseline's.

  Before the baseline has started, those of most runs take its place.
  """
  of_arm = {
    arm: [run.fingerprints for run in sweep.of(arm) if run.fingerprints] for arm in sweep.arms
  }
  baseline = of_arm[sweep.baseline]
  # While no baseline has started, a wrong arm can still be named: that unlike most others.
  whose, wanted = (
    ('the baseline', baseline[0]) if baseline else ('most runs', _most_common(of_arm.values()))
  )
  refused = {}
  for arm, fingerprints in of_arm.items():
    # Of every run: one that was trained on other data makes its arm's mean meaningless.
    differing = [name for name in wanted for each in fingerprints if each[name] != wanted[name]]
    if differing:
      refused[arm] = _in_words(differing[0], fingerprints, whose, wanted)
  if sweep.baseline in refused:  # its own runs differ: nothing can be compared with them
    refused = {
      arm: 'the runs of the baseline are not all on the same data'
      for arm in sweep.arms
      if arm != sweep.baseline
    }
  return refused


def _most_common(fingerprints: Iterable[Sequence[dict[str, Any]]]) -> dict[str, Any]:
  """Returns the fingerprints that most runs have, {} where none has started."""
  counts = collections.Counter(tuple(each.items()) for of_arm in fingerprints for each in of_arm)
  return dict(counts.most_common(1)[0][0]) if counts else {}


def _in_words(
  name: str, fingerprints: Sequence[dict[str, Any]], whose: str, wanted: Mapping[str, Any]
) -> str:
  """Returns the difference of the fingerprint `name` as text."""
  if name in ('tokenizer', 'data'):
    return {'tokenizer': 'another tokenizer', 'data': 'other prepared data'}[name]
  if name == 'objective':
    return OTHER_OBJECTIVE
  values = joined(map(str, sorted({each[name] for each in fingerprints})))
  return f'{name} {values}, {whose} {wanted[name]}'


def _refusals(sweep: Sweep, refused: Mapping[str, str]) -> list[str]:
  """Returns a sentence for each reason why arms are not compared."""
  whys: dict[str, list[str]] = {}
  for arm, why in refused.items():
    whys.setdefault(why, []).append(arm)
  reason = lambda why: (
    'The masked loss of rtd is that of its generator, so no difference is shown.'
    if why == OTHER_OBJECTIVE
    else 'Their losses are of other tokens, so no difference is shown; see the bits per character '
    'of masked text.'
  )
  return [
    f'Not compared with {sweep.baseline}: {joined(arms)} ({why}). {reason(why)}'
    for why, arms in whys.items()
  ]


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
