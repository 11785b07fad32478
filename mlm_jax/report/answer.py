"""The answer to a sweep's question in words.

Where arms hide different things, what is better depends on the masks that they are scored under: so
a sentence says under which masks an arm is better and under which it is worse, and no more.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence

from mlm_jax.report import comparisons
from mlm_jax.report import statistics
from mlm_jax.report import task_sweep
from mlm_jax.report.comparisons import REFERENCE
from mlm_jax.report.comparisons import Comparison
from mlm_jax.report.sweep_results import Sweep

_FAILS = 'The negative control fails'
_UNITS = {'loss': 'nats of held-out loss', 'perplexity': 'held-out perplexity'}

_Differences = Mapping[Comparison, statistics.Difference]


def sentences(
  sweep: Sweep,
  family: _Differences,
  control: _Differences,
  later: _Differences,
  judged: Sequence[str] = (),
) -> list[str]:
  """Returns the sentences that answer the question, from what findings.Findings calls so.

  `judged` is what the judges say: what the arms are for comes first.
  """
  if not family and not control:
    found = [f'Nothing can be compared with {sweep.baseline}.']
  elif sweep.hides_differently or sweep.contrasts.before:
    found = _one_by_one(sweep, family)
  else:
    found = _plain(sweep, {each.arm: difference for each, difference in family.items()})
  found = [*judged, *found, *_other_text(sweep, family)]
  of_control = _control(sweep, next(iter(control.values()), None))
  if of_control:  # first where it fails, since all else is then doubtful
    found.insert(0 if of_control.startswith(_FAILS) else len(found), of_control)
  found += [
    f'No claim about {each.words} ({_mean(difference)}): {comparisons.CHANGED}.'
    for each, difference in later.items()
  ]
  if (family or control) and any(run.state not in ('done', 'diverged') for run in sweep.runs):
    found.append('This is provisional: not every run is done.')
  return found


def joined(names: Iterable[str], most: int = 8) -> str:
  """Returns names as a list in a sentence; of more than `most` the rest is counted."""
  names = list(names)
  if len(names) > most:
    names = names[: most - 1] + [f'{len(names) - most + 1} more']
  return names[0] if len(names) == 1 else ', '.join(names[:-1]) + ' and ' + names[-1]


def verdict(sweep: Sweep, difference: statistics.Difference) -> str:
  """Returns 'better' or 'worse' for what is claimed, else the Difference's verdict."""
  less, more = ('better', 'worse') if sweep.direction == 'min' else ('worse', 'better')
  return {'lower': less, 'higher': more}.get(difference.verdict, difference.verdict)


def under(sweep: Sweep, policy: str) -> str:
  """Returns the masks of a policy in words."""
  if policy != REFERENCE:
    return f'the masks of {policy}'
  return 'the reference masks' + (f' of {sweep.reference}' if sweep.reference else '')


def unit(sweep: Sweep) -> str:
  """Returns what differences are counted in."""
  if sweep.fine_tunes:
    return task_sweep.unit(sweep)
  return _UNITS.get(sweep.score, f'held-out {sweep.score.replace("_", " ")}')


def _mean(difference: statistics.Difference) -> str:
  """Returns the mean difference and its simultaneous intervals, where there are any."""
  found, text = difference.estimate, difference.text
  if found.low is None or found.high is None:
    return f'{found.mean:+.3f}'
  more = '' if text is None else f', over seeds and text [{text.low:+.3f}, {text.high:+.3f}]'
  return f'{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]{more}'


def _other_text(sweep: Sweep, family: _Differences) -> list[str]:
  """Returns a sentence on what is claimed for this text alone, [] where there is nothing."""
  open_ = [
    each.words
    for each, difference in family.items()
    if verdict(sweep, difference) in ('better', 'worse')
    and (text := difference.text) is not None
    and text.low is not None
    and text.high is not None
    and text.low <= 0 <= text.high
  ]
  if not open_:
    return []
  masks = f' under {under(sweep, REFERENCE)}' if sweep.hides_differently else ''
  return [
    f'On this held-out text alone{masks}: {joined(open_)}. Over seeds and text the interval '
    'includes 0, so on other text it may be otherwise.'
  ]


def _plain(sweep: Sweep, differences: Mapping[str, statistics.Difference]) -> list[str]:
  """Returns the answer where all arms hide the same."""
  by = {
    each: [arm for arm, difference in differences.items() if verdict(sweep, difference) == each]
    for each in ('better', 'worse', 'undecided', 'untested')
  }
  of = lambda arms: joined(f'{arm} ({_mean(differences[arm])})' for arm in arms)
  found = []
  if by['better']:
    # `or`: a mean is None without values only, and then nothing is found better.
    size = lambda arm: -abs(differences[arm].estimate.mean or 0.0)
    best = sorted(by['better'], key=size)
    found.append(f'Better than {sweep.baseline}: {of(best)} {unit(sweep)}.')
  elif by['worse'] or by['undecided']:
    found.append(f'No arm is shown to be better than {sweep.baseline}.')
  if by['worse']:
    found.append(f'Worse: {of(by["worse"])}.')
  if by['undecided']:
    found.append(f'Undecided: {of(by["undecided"])}; their intervals include 0.')
  return found + _untested({arm: differences[arm].reason for arm in by['untested']})


def _one_by_one(sweep: Sweep, family: _Differences) -> list[str]:
  """Returns the answer where arms hide different things or contrasts are named: a sentence a pair.

  It says under which masks an arm is better, where that can differ.
  """
  pairs: dict[tuple[str, str], dict[str, statistics.Difference]] = {}
  for each, difference in family.items():
    pairs.setdefault((each.arm, each.other), {})[each.under] = difference
  found, nothing, split = [], {}, []
  for (arm, other), of_pair in pairs.items():
    # A policy that no run is scored under yet has nothing to say; a warning tells of it.
    known = {name: each for name, each in of_pair.items() if each.estimate.n} or of_pair
    by: dict[str, list[str]] = {}
    for name, difference in known.items():
      by.setdefault(verdict(sweep, difference), []).append(name)
    if list(by) == ['untested']:
      # Of contrasts both arms are named, since they are not all with the baseline.
      name = f'{arm} against {other}' if sweep.contrasts.before else arm
      nothing[name] = known[by['untested'][0]].reason
      continue
    found.append(f'{arm} against {other}, in {unit(sweep)}: {_by_masks(sweep, known, by)}.')
    if {'better', 'worse'} <= set(by):
      split.append((arm, other))
  return found + [_split(split)] * bool(split) + _untested(nothing)


def _by_masks(
  sweep: Sweep, known: Mapping[str, statistics.Difference], by: Mapping[str, list[str]]
) -> str:
  """Returns what is found of one pair under each policy; `by` are the policies of each verdict."""
  hides = sweep.hides_differently
  named = {
    name: (f'{under(sweep, name)} ' if hides else '') + f'({_mean(each)})'
    for name, each in known.items()
  }
  # All are named: to leave one out would claim more than there is.
  parts = [
    each + (' under ' if hides else ' ') + joined((named[name] for name in by[each]), len(named))
    for each in ('better', 'worse', 'undecided')
    if each in by
  ]
  return '; '.join(
    parts
    + [
      f'no claim under {under(sweep, name)} ({known[name].reason})'
      for name in by.get('untested', ())
    ]
  )


def _split(pairs: list[tuple[str, str]]) -> str:
  """Returns the sentence on pairs of which either arm is better, by the masks."""
  arms_of: dict[str, list[str]] = {}
  for arm, other in pairs:
    arms_of.setdefault(other, []).append(arm)
  whether = ', and whether '.join(
    f'{joined(arms)} {"is" if len(arms) == 1 else "are"} better than {other}'
    for other, arms in arms_of.items()
  )
  return f'Whether {whether} depends on the masks: nothing is claimed beyond them.'


def _untested(reasons: Mapping[str, str]) -> list[str]:
  """Returns a sentence for each reason why arms are not tested."""
  arms_of: dict[str, list[str]] = {}
  for arm, reason in reasons.items():
    arms_of.setdefault(reason, []).append(arm)
  return [f'No claim about {joined(arms)}: {reason}.' for reason, arms in arms_of.items()]


def _control(sweep: Sweep, difference: statistics.Difference | None) -> str:
  """Returns a sentence about the negative control, '' where there is none.

  It is an arm that is known to be worse; a sweep without the power to show this has not the power
  to show other differences of this size either.
  """
  arm = sweep.negative_control
  if not arm:
    return ''
  # It must be worse where all are compared, whatever it is under its own masks.
  where = f' under {under(sweep, REFERENCE)}' if sweep.hides_differently else ''
  if difference is None or difference.verdict == 'untested':
    return f'Whether the negative control {arm} is worse{where}, as it must be, is not known.'
  mean = f'({_mean(difference)}, tested on its own)'
  if verdict(sweep, difference) == 'worse':
    return f'The negative control holds: {arm} is worse{where}, as it must be {mean}.'
  return (
    f'{_FAILS}: {arm} must be worse{where} and is not shown to be {mean}, so this sweep cannot '
    'distinguish its arms; do not trust any other line of it.'
  )
