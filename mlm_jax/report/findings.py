"""What a sweep shows: which arms can be compared, how they differ, and the answer in words.

Arms are compared by the held-out loss under the reference masks. That is a mean over masked
tokens, so it can be compared only with losses of the same tokens: an arm with another
tokenizer, row length, held-out text or number of held-out rows than the baseline is not
compared. Its bits per character of masked text are shown instead, without a claim, since
other text is masked there.
"""

import collections
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import math
from typing import Any

from mlm_jax.report import statistics
from mlm_jax.report import sweep_results
from mlm_jax.report.sweep_results import Sweep

METRIC = 'reference_loss'
_BUDGETS = {'tokens': 'tokens', 'predictions': 'predictions', 'flops': 'FLOPs'}
_BUDGET_TOLERANCE = 0.01  # steps are whole numbers, so budgets differ a little
_FAILS = 'The negative control fails'


@dataclasses.dataclass(frozen=True)
class Findings:
  """What a sweep shows.

  Attributes:
    differences: {arm: statistics.Difference} to the baseline in METRIC, of comparable arms.
    refused: {arm: what differs from the baseline, in words} of the arms that are not comparable.
    answer: sentences that answer the sweep's question.
    warnings: sentences that a reader must see before trusting the answer.
    missing: a sentence that names the runs that are not done, or ''.
  """

  differences: dict[str, statistics.Difference]
  refused: dict[str, str]
  answer: list[str]
  warnings: list[str]
  missing: str


def find(sweep: Sweep) -> Findings:
  """Returns the Findings of a Sweep."""
  refused = _refused(sweep)
  # Refused arms are left out before the statistics, whose corrections count the arms compared.
  final = {
    arm: {run.seed: _final(run) for run in sweep.of(arm)}
    for arm in sweep.arms
    if arm not in refused
  }
  differences = statistics.differences(final, sweep.baseline)
  missing = _missing(sweep)
  control = _control(sweep, differences, refused)
  answer = _answer(sweep, differences)
  if control:  # first where it fails, since all else is then doubtful
    answer.insert(0 if control.startswith(_FAILS) else len(answer), control)
  if differences and any(run.state not in ('done', 'diverged') for run in sweep.runs):
    answer.append('This is provisional: not every run is done.')
  warnings = _refusals(sweep, refused) + _other_masks(sweep, refused) + _unmatched(sweep)
  return Findings(differences, refused, answer, warnings, missing)


def _final(run: sweep_results.Run) -> float | None:
  """Returns a run's final loss: None while there is none, NaN where there will be none."""
  # The last loss of a run that diverged must not count: it was evaluated before it did.
  if run.state in ('failed', 'diverged'):
    return math.nan
  return run.values.get(METRIC) if run.state == 'done' else None


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


def joined(names: Iterable[str], most: int = 8) -> str:
  """Returns names as a list in a sentence; of more than `most` the rest is counted."""
  names = list(names)
  if len(names) > most:
    names = names[: most - 1] + [f'{len(names) - most + 1} more']
  return names[0] if len(names) == 1 else ', '.join(names[:-1]) + ' and ' + names[-1]


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
  values = joined(map(str, sorted({each[name] for each in fingerprints})))
  return f'{name} {values}, {whose} {wanted[name]}'


def _refusals(sweep: Sweep, refused: Mapping[str, str]) -> list[str]:
  """Returns a sentence for each reason why arms are not compared."""
  whys: dict[str, list[str]] = {}
  for arm, why in refused.items():
    whys.setdefault(why, []).append(arm)
  return [
    f'Not compared with {sweep.baseline}: {joined(arms)} ({why}). Their losses are of other '
    'tokens, so no difference is shown; see the bits per character of masked text.'
    for why, arms in whys.items()
  ]


def _other_masks(sweep: Sweep, refused: Mapping[str, str]) -> list[str]:
  """Returns a warning where arms were trained to predict whole units.

  The reference masks hide single tokens, which is another task, and such arms are worse at it.
  """
  # '' is a run without a config yet.
  units = {
    arm: unit
    for arm in sweep.arms
    if arm not in refused
    for unit in [run.unit for run in sweep.of(arm)]
    if unit not in ('', 'token')
  }
  if not units:
    return []
  named = joined(f'{arm} ({unit})' for arm, unit in units.items())
  return [
    'The reference masks hide single tokens; whole units were masked in the training of '
    f'{named}. Part of their loss comes from this change of masks, not from a worse encoder. '
    'Before trusting it, score every arm under other masks too: mlm-jax evaluate --workdir=RUN '
    f'--config.masking.unit={next(iter(units.values()))}'
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


def _answer(sweep: Sweep, differences: Mapping[str, statistics.Difference]) -> list[str]:
  """Returns the sentences of the answer, without the one about the negative control."""
  if not differences:
    return [f'Nothing can be compared with {sweep.baseline}.']
  by = {
    verdict: [arm for arm, each in differences.items() if each.verdict == verdict]
    for verdict in ('lower', 'higher', 'undecided', 'untested')
  }
  of = lambda arms: joined(f'{arm} ({differences[arm].estimate.mean:+.3f})' for arm in arms)
  sentences = []
  if by['lower']:
    # `or`: a mean is None without values only, and then nothing is found lower.
    best = sorted(by['lower'], key=lambda arm: differences[arm].estimate.mean or 0.0)
    sentences.append(f'Better than {sweep.baseline}: {of(best)} nats of held-out loss.')
  elif by['higher'] or by['undecided']:
    sentences.append(f'No arm is shown to be better than {sweep.baseline}.')
  if by['higher']:
    sentences.append(f'Worse: {of(by["higher"])}.')
  if by['undecided']:
    sentences.append(f'Undecided: {of(by["undecided"])}; their intervals include 0.')
  reasons: dict[str, list[str]] = {}
  for arm in by['untested']:
    reasons.setdefault(differences[arm].reason, []).append(arm)
  return sentences + [
    f'No claim about {joined(arms)}: {reason}.' for reason, arms in reasons.items()
  ]


def _control(
  sweep: Sweep,
  differences: Mapping[str, statistics.Difference],
  refused: Mapping[str, str],
) -> str:
  """Returns a sentence about the negative control, '' where there is none.

  It is an arm that is known to be worse; a sweep without the power to show this has not the power
  to show other differences of this size either.
  """
  arm = sweep.negative_control
  if not arm:
    return ''
  if arm in refused or differences[arm].verdict == 'untested':
    return f'Whether the negative control {arm} is worse, as it must be, is not known.'
  if differences[arm].verdict == 'higher':
    return f'The negative control holds: {arm} is worse, as it must be.'
  return (
    f'{_FAILS}: {arm} must be worse and is not shown to be, so this sweep cannot distinguish its '
    'arms; do not trust any other line of it.'
  )
