"""The answer to a sweep's question in words.

Where arms hide different things, what is better depends on the masks that they are scored under: so
a sentence says under which masks an arm is better and under which it is worse, and no more.
"""

from collections.abc import Iterable
from collections.abc import Mapping

from mlm_jax.report import statistics
from mlm_jax.report.sweep_results import Sweep

REFERENCE = ''  # the name of the reference policy, which no arm can have
_FAILS = 'The negative control fails'
_UNITS = {'loss': 'nats of held-out loss', 'perplexity': 'held-out perplexity'}

# {policy: {arm: difference to the baseline}}
Cross = Mapping[str, Mapping[str, statistics.Difference]]


def sentences(sweep: Sweep, cross: Cross, refused: Mapping[str, str]) -> list[str]:
  """Returns the sentences that answer the question; `refused` are the arms not compared."""
  differences = cross[REFERENCE]
  if not differences:
    found = [f'Nothing can be compared with {sweep.baseline}.']
  elif sweep.hides_differently:
    found = _under_each(sweep, cross)
  else:
    found = _plain(sweep, differences)
  control = _control(sweep, differences, refused)
  if control:  # first where it fails, since all else is then doubtful
    found.insert(0 if control.startswith(_FAILS) else len(found), control)
  if differences and any(run.state not in ('done', 'diverged') for run in sweep.runs):
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
  return _UNITS.get(sweep.score, f'held-out {sweep.score.replace("_", " ")}')


def _mean(difference: statistics.Difference) -> str:
  return f'{difference.estimate.mean:+.3f}'


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


def _under_each(sweep: Sweep, cross: Cross) -> list[str]:
  """Returns the answer where arms hide different things: a sentence an arm."""
  found, nothing, split = [], {}, []
  for arm in cross[REFERENCE]:
    # A policy that no run is scored under yet has nothing to say; a warning tells of it.
    of_arm = {name: each[arm] for name, each in cross.items() if each[arm].estimate.n}
    of_arm = of_arm or {REFERENCE: cross[REFERENCE][arm]}
    by: dict[str, list[str]] = {}
    for name, difference in of_arm.items():
      by.setdefault(verdict(sweep, difference), []).append(name)
    if list(by) == ['untested']:
      nothing[arm] = of_arm[by['untested'][0]].reason
      continue
    # All are named: to leave one out would claim more than there is.
    named = {name: f'{under(sweep, name)} ({_mean(each)})' for name, each in of_arm.items()}
    parts = [
      f'{each} under {joined((named[name] for name in by[each]), len(named))}'
      for each in ('better', 'worse', 'undecided')
      if each in by
    ]
    parts += [
      f'no claim under {under(sweep, name)} ({of_arm[name].reason})'
      for name in by.get('untested', ())
    ]
    split += [arm] if {'better', 'worse'} <= set(by) else []
    found.append(f'{arm} against {sweep.baseline}, in {unit(sweep)}: {"; ".join(parts)}.')
  if split:
    found.append(
      f'Whether {joined(split)} {"is" if len(split) == 1 else "are"} better than {sweep.baseline} '
      'depends on the masks: nothing is claimed beyond them.'
    )
  return found + _untested(nothing)


def _untested(reasons: Mapping[str, str]) -> list[str]:
  """Returns a sentence for each reason why arms are not tested."""
  arms_of: dict[str, list[str]] = {}
  for arm, reason in reasons.items():
    arms_of.setdefault(reason, []).append(arm)
  return [f'No claim about {joined(arms)}: {reason}.' for reason, arms in arms_of.items()]


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
  # It must be worse where all are compared, whatever it is under its own masks.
  where = f' under {under(sweep, REFERENCE)}' if sweep.hides_differently else ''
  if arm in refused or differences[arm].verdict == 'untested':
    return f'Whether the negative control {arm} is worse{where}, as it must be, is not known.'
  if verdict(sweep, differences[arm]) == 'worse':
    return f'The negative control holds: {arm} is worse{where}, as it must be.'
  return (
    f'{_FAILS}: {arm} must be worse{where} and is not shown to be, so this sweep cannot '
    'distinguish its arms; do not trust any other line of it.'
  )
