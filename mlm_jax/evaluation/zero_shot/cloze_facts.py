"""Cloze facts: which candidate completes a fact that is stated in words?

Data in the format of ParaRel: a folder with, for each relation, a .jsonl file of patterns
(`pattern`, with [X] and [Y]) and one of the same name, in another folder, of facts (`sub_label`,
`obj_label`). The candidates of a relation are the objects of its facts. A candidate counts by the
mean log p of its pieces, all hidden at once, with as many masks as it has pieces. Ranks count a tie
one half. n is the number of facts, in each pattern; errors are taken over facts.

Sources: arXiv:2102.01017 (ParaRel), arXiv:1909.01066 (LAMA), arXiv:2102.00894 (candidates of
several pieces).
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from mlm_jax import config
from mlm_jax.evaluation import zero_shot

KINDS = ('masked',)
_TASK = 'cloze_facts'
_AT = (1, 5, 10)


@dataclasses.dataclass(frozen=True)
class Fact:
  """A fact in one pattern, as a blank whose options are the candidates of its relation.

  Attributes:
    relation: its name.
    number: of the fact in its relation, the same in each pattern.
    answer: which candidate is right.
    blank: zero_shot.Blank.
  """

  relation: str
  number: int
  answer: int
  blank: zero_shot.Blank


def read(path: str) -> list[Fact]:
  """Returns the facts of all relations that have patterns; UserError for what is none."""
  patterns: dict[str, list[str]] = {}
  facts: dict[str, list[tuple[str, str, str]]] = {}
  for record in zero_shot.records(path):
    if 'pattern' in record.values:
      patterns.setdefault(record.name, []).append(_pattern(record))
    else:
      subject, right = zero_shot.text(record, 'sub_label'), zero_shot.text(record, 'obj_label')
      facts.setdefault(record.name, []).append((record.where, subject, right.strip()))
  if alone := sorted(set(patterns) ^ set(facts)):
    what = 'facts' if alone[0] in patterns else 'patterns'
    raise config.UserError(f'{path}: the relation {alone[0]} has no {what}')
  found = []
  for relation, of_relation in facts.items():
    candidates = tuple(sorted({right for _, _, right in of_relation}))
    place = {each: n for n, each in enumerate(candidates)}
    for pattern in patterns[relation]:
      before, after = pattern.split('[Y]')
      for number, (where, subject, right) in enumerate(of_relation):
        left, right_of = (part.replace('[X]', subject) for part in (before, after))
        blank = zero_shot.Blank(where, left, right_of, candidates)
        found.append(Fact(relation, number, place[right], blank))
  return found


def _pattern(record: zero_shot.Record) -> str:
  pattern = zero_shot.text(record, 'pattern')
  if pattern.count('[X]') != 1 or pattern.count('[Y]') != 1:
    raise config.UserError(f"{record.where}: 'pattern' must have [X] and [Y], once each")
  return pattern


def score(examples: Sequence[Fact], scorer: zero_shot.Scorer) -> list[zero_shot.Score]:
  """Returns precision at 1, 5 and 10 and the mean reciprocal rank, by relation and over all."""
  scores = scorer.blank_scores([each.blank for each in examples])
  ranks = np.array([_rank(options, each.answer) for options, each in zip(scores, examples)])
  relations = np.array([each.relation for each in examples])
  _, fact_of = np.unique([f'{x.relation} {x.number}' for x in examples], return_inverse=True)
  values = {f'precision_at_{k}': (ranks <= k).astype(np.float64) for k in _AT}
  values['mean_reciprocal_rank'] = 1 / ranks
  found = []
  for name in [*sorted(set(relations.tolist())), 'all']:
    rows = (relations == name) | (name == 'all')
    n = len(set(fact_of[rows].tolist()))
    for metric, value in values.items():
      each = zero_shot.of_values((_TASK, name, metric), value[rows], fact_of[rows])
      found.append(dataclasses.replace(each, n=n))
  return found


def _rank(options: Sequence[np.ndarray], answer: int) -> float:
  """Returns the rank of the answer, from 1; each candidate that is as good adds one half."""
  means = np.array([each.mean() for each in options], np.float32)
  above = float((means > means[answer]).sum())
  return 1 + above + 0.5 * float((means == means[answer]).sum() - 1)
