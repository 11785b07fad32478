"""Minimal pairs: is the grammatical sentence of two more likely than the other?

Data in the format of BLiMP: .jsonl files, a folder or a .zip of them, with `sentence_good`,
`sentence_bad`, and where there are such `UID`, the paradigm (else the file's name), and `field`.
Sentences are compared by their pseudo-log-likelihood in float32, plain and within words from left
to right. A tie counts one half. In `compatible` it counts for the first sentence, the good one, as
in public pipelines, which take the first of the largest.

Sources: arXiv:1912.00582 (BLiMP), arXiv:1910.14659, arXiv:2305.10588.
"""

from collections import Counter
from collections.abc import Sequence
import dataclasses

import numpy as np

from mlm_jax import config
from mlm_jax.evaluation import zero_shot

KINDS = ('masked', 'detector')
_TASK = 'minimal_pairs'
_WORDS = 5  # of a sentence that the other may lack; in BLiMP there are at most 4


@dataclasses.dataclass(frozen=True)
class Pair:
  """Two sentences, the paradigm that they are of, and the field of this ('' for none)."""

  good: str
  bad: str
  paradigm: str
  field: str


def read(path: str) -> list[Pair]:
  """Returns the pairs, also those of two equal sentences; UserError for what is none."""
  found = []
  for record in zero_shot.records(path):
    good, bad = (zero_shot.text(record, f'sentence_{name}') for name in ('good', 'bad'))
    words = [Counter(each.split()) for each in (good, bad)]
    apart = max((words[0] - words[1]).total(), (words[1] - words[0]).total())
    if apart > _WORDS:
      raise config.UserError(
        f'{record.where}: {apart} words of one sentence are not in the other; a minimal pair '
        f'differs in {_WORDS} at most'
      )
    of = {name: record.values.get(name) for name in ('UID', 'field')}
    paradigm = str(of['UID']) if of['UID'] else record.name
    found.append(Pair(good, bad, paradigm, str(of['field'] or '')))
  return found


def score(examples: Sequence[Pair], scorer: zero_shot.Scorer) -> list[zero_shot.Score]:
  """Returns accuracies by paradigm, by field and over all pairs."""
  pairs = [pair for pair in examples if pair.good != pair.bad]
  if not pairs:
    raise config.UserError(f'{_TASK}: no pair has two different sentences')
  texts = [each for pair in pairs for each in (pair.good, pair.bad)]
  values = _values('', scorer.text_scores(texts))
  if scorer.kind == 'masked':
    values |= _values('within_word_', scorer.text_scores(texts, within_word=True))
  subsets = [
    *(('paradigm', name) for name in sorted({pair.paradigm for pair in pairs})),
    *(('field', name) for name in sorted({pair.field for pair in pairs} - {''})),
  ]
  found = []
  for kind, name in [*subsets, ('', 'all')]:
    is_in = lambda pair: not kind or getattr(pair, kind) == name
    rows = np.array([is_in(pair) for pair in pairs])
    dropped = sum(is_in(pair) for pair in examples) - int(rows.sum())
    place = name if not kind else f'{kind} {name}'
    for metric, value in values.items():
      found.append(zero_shot.of_values((_TASK, place, metric), value[rows], None, dropped))
  return found


def _values(prefix: str, scores: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
  """Returns {metric: what each pair counts}."""
  # Sums are rounded to float32: what differs beyond its digits is a tie.
  sums = np.array([each.sum() for each in scores], np.float64).astype(np.float32)
  good, bad = sums[::2], sums[1::2]
  return {
    f'{prefix}accuracy': (good > bad) + 0.5 * (good == bad),
    f'{prefix}compatible': (good >= bad).astype(np.float64),
  }
