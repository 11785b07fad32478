"""The errors of a fine-tuned run: confusions, scores by class and by length, the worst examples."""

from collections.abc import Mapping
from collections.abc import Sequence
import json
import os
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.report import document
from mlm_jax.report import task_scores
from mlm_jax.report.markup import Markup
from mlm_jax.report.markup import join
from mlm_jax.report.markup import tag

_WORST, _CONFUSIONS = 20, 20  # rows of a table at most
_MATRIX = 25  # labels of a matrix at most: a larger one is read by its confusions
_TEXT = 600  # characters of a text that are shown
_MATRIX_NOTE = (
  'Rows are the true labels, columns what was predicted. Recall is the share of a label’s examples '
  'that are found, precision the share of its predictions that are right.'
)
_WORST_NOTE = (
  'Wrong predictions, the most confident ones first; of several labels an example, by the label '
  'that is most wrong.'
)
_NONE_NOTE = ' The last of both is no entity with the boundaries of the other.'
_MOST_WRONG_NOTE = 'Those that are most wrong; predictions.jsonl has all of them.'
_GROUPS, _CLASS = ('by_', 'per_'), 'per_class'  # begin the names of tables; one of these


def render(workdir: str | os.PathLike[str], scored: task_scores.Test | None) -> Markup | str:
  """Returns the sections of the errors, '' where none are known; UserError where damaged."""
  if scored is None:
    return _surest(workdir)
  try:
    found = [_confusions(scored.errors), *_tables(scored.errors)]
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    raise config_lib.UserError(
      f'{workdir}/test.json is damaged ({type(error).__name__}: {error}); remove it'
    ) from None
  return join([*found, _surest(workdir)])


def _words(name: str) -> str:
  return name.replace('_', ' ')


def _confusions(errors: dict[str, Any]) -> Markup | str:
  """Returns the section of the confusions, '' where the task has none."""
  if 'confusions' not in errors:
    return ''
  # Of entities the last row is of none; a share of it means nothing.
  return _matrix(*_checked(errors), 'invalid_sequences' in errors)


def _tables(errors: dict[str, Any]) -> list[Markup]:
  """Returns a section for each group of scores, and of the worst examples that the task lists."""
  found = []
  for name, groups in errors.items():
    # Confusions say it of each class already.
    if name.startswith(_GROUPS) and groups and not (name == _CLASS and 'confusions' in errors):
      rows = [{_words(name.partition('_')[2]): kind} | said for kind, said in groups.items()]
      found += [tag('h2', _words(name).capitalize()), _records(rows)]
  if errors.get('worst'):
    note = tag('p', _MOST_WRONG_NOTE, class_='note')
    found += [tag('h2', 'Worst examples'), note, _records(errors['worst'])]
  return found


def _records(rows: Sequence[Mapping[str, Any]]) -> Markup:
  """Returns a table with a column for each field."""
  fields = list(dict.fromkeys(key for each in rows for key in each))
  cell = lambda value: (
    document.cell(f'{value:.4g}' if isinstance(value, float) else f'{value:,}', value)
    if isinstance(value, int | float) and not isinstance(value, bool)
    else document.cell(_shown(value), class_='wrap left')
  )
  return document.table(
    list(map(_words, fields)), [[cell(each.get(key, '')) for key in fields] for each in rows]
  )


def _checked(errors: dict[str, Any]) -> tuple[list[str], list[list[int]]]:
  labels = list(map(str, errors['labels']))
  counts = [list(map(int, row)) for row in errors['confusions']]
  if len(counts) != len(labels) or any(len(row) != len(labels) for row in counts):
    raise ValueError('the confusions are not a row and a column a label')
  return labels, counts


def _matrix(labels: Sequence[str], counts: Sequence[Sequence[int]], has_none: bool) -> Markup:
  note = _MATRIX_NOTE + _NONE_NOTE * has_none
  parts = [tag('h2', 'By label'), tag('p', note, class_='note')]
  shown = labels if len(labels) <= _MATRIX else []
  rows = []
  for n, (label, row) in enumerate(zip(labels, counts)):
    said, is_none = sum(each[n] for each in counts), has_none and n == len(labels) - 1
    rows.append(
      [
        document.cell(label),
        document.cell(f'{sum(row):,}', sum(row)),
        *(_share(row[n], 0 if is_none else whole) for whole in (sum(row), said)),
        *(
          document.cell(tag('b', count) if c == n else count, count)
          for c, count in enumerate(row[: len(shown)])
        ),
      ]
    )
  parts.append(document.table(['label', 'examples', 'recall', 'precision', *shown], rows))
  found = [
    (count, labels[n], labels[c])
    for n, row in enumerate(counts)
    for c, count in enumerate(row)
    if n != c and count
  ]
  if found and len(labels) > 2:
    most = sorted(found, key=lambda each: -each[0])[:_CONFUSIONS]
    rows = [[document.cell(each) for each in (label, said, count)] for count, label, said in most]
    parts += [tag('h3', 'Most frequent'), document.table(['label', 'predicted', 'examples'], rows)]
  return join(parts)


def _share(part: int, whole: int) -> Markup:
  return document.cell(f'{part / whole:.3f}', part / whole) if whole else document.cell('–', '')


def _surest(workdir: str | os.PathLike[str]) -> Markup | str:
  """Returns the section of labels that were surely wrong, '' where none is or none are known."""
  found = task_scores.worst(task_scores.predictions(workdir), _WORST)
  if not found:
    return ''
  fields = list(dict.fromkeys(key for _, line in found for key in line if key != 'probabilities'))
  rows = [
    [
      document.cell('–' if confidence is None else f'{confidence:.3f}', confidence or 0.0),
      *(document.cell(_shown(line.get(key)), class_='wrap left') for key in fields),
    ]
    for confidence, line in found
  ]
  return join(
    [
      tag('h2', 'Worst examples'),
      tag('p', _WORST_NOTE, class_='note'),
      document.table(['confidence', *map(_words, fields)], rows),
    ]
  )


def _shown(value: Any) -> str:
  """Returns what a line of predictions has in a field, as a text that is not too long."""
  if isinstance(value, list) and all(isinstance(each, str) for each in value):
    text = ', '.join(value)
  else:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
  return text if len(text) <= _TEXT else text[: _TEXT - 1] + '…'
