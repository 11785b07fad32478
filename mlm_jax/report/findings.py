"""What a sweep shows: which arms can be compared, how they differ, and in words.

Arms are compared by the held-out loss under the reference masks. That is a mean over hidden
tokens, so it says something only beside losses of the same tokens: an arm with another
tokenizer, row length, held-out text or number of held-out rows than the baseline is not
compared. Its bits per character of hidden text are shown instead, without a claim, since
it is other text that is hidden there.
"""

import collections
import dataclasses
import math

from mlm_jax.report import statistics
from mlm_jax.report import sweep as sweep_lib

METRIC = 'reference_loss'
_BUDGETS = {'tokens': 'tokens', 'predictions': 'predictions', 'flops': 'FLOPs'}
_BUDGET_TOLERANCE = 0.01
_FAILS = 'The control fails'


@dataclasses.dataclass(frozen=True)
class Findings:
  """What there is to say about a sweep.

  Attributes:
    differences: {arm: statistics.Difference} to the baseline in METRIC, of comparable arms.
    refused: {arm: what differs from the baseline, in words} of the others.
    answer: sentences that answer the sweep's question.
    warnings: sentences that a reader must see before believing the answer.
    missing: a sentence that names the runs that are not done, or ''.
  """

  differences: dict
  refused: dict
  answer: list
  warnings: list
  missing: str


def find(sweep):
  """Returns the Findings of a sweep.Sweep."""
  refused = _refused(sweep)
  final = {
    arm: {run.seed: _final(run) for run in sweep.of(arm)}
    for arm in sweep.arms
    if arm not in refused
  }
  differences = statistics.differences(final, sweep.baseline)
  missing = _missing(sweep)
  control = _control(sweep, differences, refused)
  answer = _answer(sweep, differences)
  if control:  # one that fails makes all else doubtful
    answer.insert(0 if control.startswith(_FAILS) else len(answer), control)
  if differences and any(run.state not in ('done', 'diverged') for run in sweep.runs):
    answer.append('This is provisional: not every run is done.')
  warnings = _refusals(sweep, refused) + _other_masks(sweep, refused) + _unmatched(sweep)
  return Findings(differences, refused, answer, warnings, missing)


def _final(run):
  """Returns a run's final loss: None while there is none, NaN where there will be none."""
  if run.state in ('failed', 'diverged'):
    return math.nan
  return run.values.get(METRIC) if run.state == 'done' else None


def estimates(sweep, metric):
  """Returns {arm: statistics.Estimate} of a value over the runs that are done."""
  return {
    arm: statistics.estimate([run.values.get(metric) for run in sweep.of(arm, 'done')])
    for arm in sweep.arms
  }


def mean_of(sweep, arm, metric):
  """Returns the mean of a value over an arm's runs that are done, None where one lacks it."""
  values = [run.values.get(metric) for run in sweep.of(arm, 'done')]
  return None if not values or None in values else sum(values) / len(values)


def last_part(key):
  """Returns the name of a setting without its group."""
  return key.split('.')[-1]


def joined(names, most=8):
  """Returns names as a list in a sentence."""
  names = list(names)
  if len(names) > most:
    names = names[: most - 1] + [f'{len(names) - most + 1} more']
  return names[0] if len(names) == 1 else ', '.join(names[:-1]) + ' and ' + names[-1]


def _refused(sweep):
  """Returns {arm: what differs} of the arms whose losses are not of the same tokens as the
  baseline's.

  Before the baseline has begun, as those of most runs.
  """
  of_arm = {
    arm: [run.fingerprints for run in sweep.of(arm) if run.fingerprints] for arm in sweep.arms
  }
  baseline = of_arm[sweep.baseline]
  whose, wanted = (
    ('the baseline', baseline[0]) if baseline else ('most runs', _most_common(of_arm.values()))
  )
  refused = {}
  for arm, fingerprints in of_arm.items():
    differing = [name for name in wanted for each in fingerprints if each[name] != wanted[name]]
    if differing:
      refused[arm] = _in_words(differing[0], fingerprints, whose, wanted)
  if sweep.baseline in refused:  # its own runs differ: nothing can be held against them
    refused = {
      arm: 'the runs of the baseline are not all on the same data'
      for arm in sweep.arms
      if arm != sweep.baseline
    }
  return refused


def _most_common(fingerprints):
  """Returns the fingerprints that most runs have, {} where none has begun."""
  counts = collections.Counter(tuple(each.items()) for of_arm in fingerprints for each in of_arm)
  return dict(counts.most_common(1)[0][0]) if counts else {}


def _in_words(name, fingerprints, whose, wanted):
  if name in ('tokenizer', 'data'):
    return {'tokenizer': 'another tokenizer', 'data': 'other prepared data'}[name]
  values = joined(map(str, sorted({each[name] for each in fingerprints})))
  return f'{name} {values}, {whose} {wanted[name]}'


def _refusals(sweep, refused):
  whys = {}
  for arm, why in refused.items():
    whys.setdefault(why, []).append(arm)
  return [
    f'Not compared with {sweep.baseline}: {joined(arms)} ({why}). Masked losses are of other '
    'tokens '
    'there, so no difference is shown; see the bits a character of hidden text.'
    for why, arms in whys.items()
  ]


def _other_masks(sweep, refused):
  """Returns a warning where arms learned to guess whole units, which the reference masks do not
  hide.
  """
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
    'The reference masks hide single tokens; whole units were hidden in the training of '
    f'{named}. Part of what is lost there is that these are other masks, not that the encoder is '
    'worse. Before believing it, score every arm under other masks too: mlm-jax evaluate '
    '--workdir=RUN '
    f'--config.masking.unit={next(iter(units.values()))}'
  ]


def _missing(sweep):
  """Returns the sentence about runs that are not done, '' where all are."""
  left = [run for run in sweep.runs if run.state != 'done']
  if not left:
    return ''
  counts = [
    f'{len(names)} {state} ({joined(names, 6)})'
    for state in sweep_lib.STATES[1:]
    if (names := [run.name for run in left if run.state == state])
  ]
  return f'{len(left)} of {len(sweep.runs)} runs are not finished: {"; ".join(counts)}.'


def _unmatched(sweep):
  """Returns a warning where the arms have not spent the same, or that is not known."""
  if sweep.budget not in _BUDGETS:
    return [f'The budget {sweep.budget!r} is none that can be checked.']
  name = _BUDGETS[sweep.budget]
  spent = {arm: mean_of(sweep, arm, sweep.budget) for arm in sweep.arms if sweep.of(arm, 'done')}
  unknown = [arm for arm, value in spent.items() if value is None]
  if unknown:
    return [
      f'Whether the arms spent the same number of {name} is not known: the logs of '
      f'{joined(unknown)} '
      'do not say it.'
    ]
  if spent and max(spent.values()) > (1 + _BUDGET_TOLERANCE) * min(spent.values()):
    least, most = min(spent, key=spent.get), max(spent, key=spent.get)
    more = spent[most] / spent[least] - 1 if spent[least] else float('inf')
    return [f'The arms did not spend the same: {most} took {more:.1%} more {name} than {least}.']
  return []


def _answer(sweep, differences):
  """Returns the sentences of the answer but for the control."""
  if not differences:
    return [f'Nothing can be compared with {sweep.baseline}.']
  by = {
    verdict: [arm for arm, each in differences.items() if each.verdict == verdict]
    for verdict in ('lower', 'higher', 'undecided', 'untested')
  }
  of = lambda arms: joined(f'{arm} ({differences[arm].estimate.mean:+.3f})' for arm in arms)
  sentences = []
  if by['lower']:
    best = sorted(by['lower'], key=lambda arm: differences[arm].estimate.mean)
    sentences.append(f'Better than {sweep.baseline}: {of(best)} nats of held-out loss.')
  elif by['higher'] or by['undecided']:
    sentences.append(f'No arm is shown to be better than {sweep.baseline}.')
  if by['higher']:
    sentences.append(f'Worse: {of(by["higher"])}.')
  if by['undecided']:
    sentences.append(f'Undecided: {of(by["undecided"])}; their intervals include 0.')
  reasons = {}
  for arm in by['untested']:
    reasons.setdefault(differences[arm].reason, []).append(arm)
  return sentences + [
    f'No claim about {joined(arms)}: {reason}.' for reason, arms in reasons.items()
  ]


def _control(sweep, differences, refused):
  """Returns what became of the arm that must lose, '' where there is none."""
  arm = sweep.negative_control
  if not arm:
    return ''
  if arm in refused or differences[arm].verdict == 'untested':
    return f'Whether {arm}, which must lose, does lose is not known.'
  if differences[arm].verdict == 'higher':
    return f'The control holds: {arm}, which must lose, loses.'
  return (
    f'{_FAILS}: {arm} must lose and is not shown to lose, so this sweep cannot tell its arms '
    'apart; believe no other line of it.'
  )
