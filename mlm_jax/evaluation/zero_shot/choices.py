"""Choices: which of two options belongs into the blank of a sentence?

Data in the format of WinoGrande: .jsonl files, a folder or a .zip of them, with `sentence`, in
which one `_` is the blank, `option1`, `option2` and `answer`, 1 or 2; sentences about a pronoun are
written in the same way, with `_` in its place. `option_accuracy` compares the mean log p of an
option's pieces, all hidden at once (arXiv:1905.06290), `sentence_accuracy` the
pseudo-log-likelihood of the whole sentences (arXiv:1910.14659). A tie counts one half. Options that
are equal are dropped.
"""

from collections.abc import Sequence
import dataclasses

import numpy as np

from mlm_jax import config
from mlm_jax.evaluation import zero_shot

KINDS = ('masked', 'detector')
_TASK = 'choices'


@dataclasses.dataclass(frozen=True)
class Choice:
  """A blank, which of its options is right, and the file that it is from."""

  blank: zero_shot.Blank
  answer: int
  subset: str


def read(path: str) -> list[Choice]:
  """Returns the choices; UserError for what is none."""
  found = []
  for record in zero_shot.records(path):
    sentence = zero_shot.text(record, 'sentence')
    if sentence.count('_') != 1:
      raise config.UserError(f"{record.where}: 'sentence' must have one blank, written _")
    options = tuple(zero_shot.text(record, f'option{n}').strip() for n in (1, 2))
    answer = str(record.values.get('answer'))
    if answer not in ('1', '2'):
      raise config.UserError(
        f"{record.where}: 'answer' is {config.one_line(answer, 60)!r}, and must be 1 or 2"
      )
    before, after = sentence.split('_')
    blank = zero_shot.Blank(record.where, before, after, options)
    found.append(Choice(blank, int(answer) - 1, record.name))
  return found


def score(examples: Sequence[Choice], scorer: zero_shot.Scorer) -> list[zero_shot.Score]:
  """Returns accuracies of each file, and of all where there are several."""
  kept = [each for each in examples if len(set(each.blank.options)) > 1]
  if not kept:
    raise config.UserError(f'{_TASK}: no sentence has two different options')
  texts = [b.before + option + b.after for b in (x.blank for x in kept) for option in b.options]
  sums = [each.sum() for each in scorer.text_scores(texts)]
  values = {'sentence_accuracy': _values(sums, kept)}
  if scorer.kind == 'masked':
    by_blank = scorer.blank_scores([each.blank for each in kept])
    means = [option.mean() for options in by_blank for option in options]
    values = {'option_accuracy': _values(means, kept)} | values
  names = sorted({each.subset for each in examples})
  found = []
  for name in [*names, 'all'] if len(names) > 1 else names:
    is_in = lambda each: name in (each.subset, 'all')
    rows = np.array([is_in(each) for each in kept])
    dropped = sum(map(is_in, examples)) - int(rows.sum())
    if rows.any():
      found += [
        zero_shot.of_values((_TASK, name, metric), value[rows], None, dropped)
        for metric, value in values.items()
      ]
  return found


def _values(scores: Sequence[float], kept: Sequence[Choice]) -> np.ndarray:
  """Returns what each choice counts, of the scores of its two options."""
  by_choice = np.array(scores, np.float32).reshape(-1, 2)
  right = by_choice[np.arange(len(kept)), [each.answer for each in kept]]
  wrong = by_choice[np.arange(len(kept)), [1 - each.answer for each in kept]]
  return (right > wrong) + 0.5 * (right == wrong)
