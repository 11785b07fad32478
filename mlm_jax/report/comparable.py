"""Which arms can be compared with the baseline at all.

A loss is a mean over masked tokens, so it can be compared only with losses of the same tokens: an
arm with another tokenizer, row length, held-out text or number of held-out rows than the baseline
is not compared. Its bits per character of masked text are shown instead, without a claim, since
other text is masked there. Nor is an arm with another objective: the masked loss of replaced-token
detection is that of a generator, not of the encoder that is kept.
"""

import collections
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from mlm_jax.report.answer import joined
from mlm_jax.report.sweep_results import Sweep

OTHER_OBJECTIVE = 'another objective'


def refused(sweep: Sweep) -> dict[str, str]:
  """Returns {arm: what differs} of the arms whose losses are of other tokens than the baseline's.

  Before the baseline has started, those of most runs take its place.
  """
  of_arm = {
    arm: [run.fingerprints for run in sweep.of(arm) if run.fingerprints] for arm in sweep.arms
  }
  if sweep.fine_tunes:  # only the examples that are scored must be the same
    unused = 'validation' if sweep.metric.startswith('test_') else 'test'
    of_arm = {
      arm: [{k: v for k, v in each.items() if k != f'{unused} examples'} for each in given]
      for arm, given in of_arm.items()
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
  if name.endswith('examples'):
    return f'other {name}'
  if name == 'objective':
    return OTHER_OBJECTIVE
  values = joined(map(str, sorted({each[name] for each in fingerprints})))
  return f'{name} {values}, {whose} {wanted[name]}'


def sentences(sweep: Sweep, refused: Mapping[str, str]) -> list[str]:
  """Returns a sentence for each reason why arms are not compared."""
  whys: dict[str, list[str]] = {}
  for arm, why in refused.items():
    whys.setdefault(why, []).append(arm)
  reason = lambda why: (
    'The masked loss of rtd is that of its generator, so no difference is shown.'
    if why == OTHER_OBJECTIVE
    else 'Their scores are of other examples, so no difference is shown.'
    if sweep.fine_tunes
    else 'Their losses are of other tokens, so no difference is shown; see the bits per character '
    'of masked text.'
  )
  return [
    f'Not compared with {sweep.baseline}: {joined(arms)} ({why}). {reason(why)}'
    for why, arms in whys.items()
  ]
