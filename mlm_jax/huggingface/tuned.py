"""What config.json says of a model that was fine-tuned: its task, its labels, and what is ours."""

from collections.abc import Mapping
import dataclasses
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.huggingface import values

# What `transformers` has no setting for, such as the threshold of no answer; it passes it on.
OWN = 'mlm_jax'
SECOND_TEXT = 'second_text'  # the column of a second text, which no file there names
WITHOUT = '--part=encoder leaves the head out'
_LONGEST = 512  # tokens of a row; rows of a model's full length cost much
_MOST_LABELS = 1 << 20
_ROWS = 'row_length'


@dataclasses.dataclass(frozen=True)
class Tuned:
  """A fine-tuned model.

  Attributes:
    task: {setting of config.task: value}, `name` among them.
    facts: see the kind of task in mlm_jax/downstream.
    row_length: tokens of a row at most.
  """

  task: dict[str, Any]
  facts: dict[str, Any]
  row_length: int


def own(theirs: Mapping[str, Any]) -> Mapping[str, Any]:
  """Returns what a config.json that was written here has beside the settings there; else {}."""
  found = theirs.get(OWN, {})
  if not isinstance(found, dict):
    values.refuse(theirs, OWN, f'an object, or not there; {WITHOUT}')
  return found


def row_length(theirs: Mapping[str, Any], default: int = _LONGEST) -> int:
  """Returns the tokens of a row at most."""
  return values.whole(_ROWS, 8, 1 << 20, default).read(own(theirs))


def own_entry(config: Any, more: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the entry of config.json from which `own` reads: the length of rows, and `more`."""
  return {OWN: {_ROWS: config.data.row_length, **more}}


def named(labels: list[str]) -> dict[str, Any]:
  """Returns the settings that name labels."""
  return {
    'id2label': {str(i): name for i, name in enumerate(labels)},
    'label2id': {name: i for i, name in enumerate(labels)},
  }


def labels(theirs: Mapping[str, Any]) -> list[str]:
  """Returns the names of the labels; UserError where they are none."""
  given = theirs.get('id2label')
  if given is None:
    number = values.whole('num_labels', 1, _MOST_LABELS, 2).read(theirs)
    return [f'LABEL_{i}' for i in range(number)]
  numbers = [str(i) for i in range(len(given))] if isinstance(given, dict) else []
  if not numbers or set(given) != set(numbers):
    values.refuse(theirs, 'id2label', f'an object that names the labels 0, 1, ...; {WITHOUT}')
  found = [given[each] for each in numbers]
  if not all(isinstance(each, str) and each for each in found) or len(set(found)) < len(found):
    values.refuse(theirs, 'id2label', f'names of labels that all differ; {WITHOUT}')
  return found


def shown(tuned: Tuned) -> str:
  """Returns what a model is for, in words."""
  task = tuned.task['name'].replace('_', ' ')
  if 'labels' not in tuned.facts:
    return task
  names = tuned.facts['labels']
  listed = ', '.join(names[:8]) + (', ...' if len(names) > 8 else '')
  several = ', several a text' * tuned.facts.get('multilabel', False)
  return f'{task}, {len(names)} labels{several}: {config_lib.one_line(listed)}'
