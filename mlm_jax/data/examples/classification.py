"""Texts, or pairs of texts, with labels: the examples of classification."""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
from typing import Any

from mlm_jax import config
from mlm_jax.data.examples import tables


@dataclasses.dataclass(frozen=True)
class Example:
  """A text, or a pair of texts, and its labels.

  Attributes:
    where: the file and the line, for messages.
    texts: one or two.
    labels: their names; of several labels an example any number, else one; None where the file
      has no labels.
  """

  where: str
  texts: tuple[str, ...]
  labels: tuple[str, ...] | None


def read(path: str, task: Any, has_labels: bool = True) -> list[Example]:
  """Returns the examples of a file, in its order.

  A record whose text and label are lists gives an example for each of their members.

  Args:
    path: see tables.read.
    task: the config's group `task`: the names of the columns, and multilabel.
    has_labels: whether the labels are read.

  Raises:
    UserError: a table that cannot be read, an empty text, or a label that is none.
  """
  found = list(stream(path, task, has_labels))
  if not found:
    raise config.UserError(f'{path} holds no example')
  return found


def stream(path: str, task: Any, has_labels: bool = False) -> Iterator[Example]:
  """Yields the examples of a file; see `read`."""
  columns = [task.text, *([task.second_text] if task.second_text else [])]
  for record in tables.read(path, [*columns, *([task.label] if has_labels else [])]):
    where = f'{path} line {record.line}'
    texts = [record.values[each] for each in columns]
    label = record.values[task.label] if has_labels else None
    if not isinstance(texts[0], list):
      yield _example(where, texts, label, task)
      continue
    members = [*texts, label] if has_labels else texts
    if not all(isinstance(each, list) and len(each) == len(texts[0]) for each in members):
      raise config.UserError(f'{where}: lists of texts and labels must be equally long')
    labels = [None] * len(texts[0]) if label is None else label
    for each, one in zip(zip(*texts), labels):
      yield _example(where, each, one, task)


def unlabelled(where: str, given: Any, task: Any) -> Example:
  """Returns the Example of a text, or of a pair of texts; UserError for what is neither.

  Args:
    where: what errors call it.
    given: str, or (str, str) where the task is of pairs.
    task: the config's group `task`.
  """
  pair = list(given) if isinstance(given, tuple | list) else [given]
  if len(pair) != (2 if task.second_text else 1):
    what = '(text, second text)' if task.second_text else 'a text'
    raise config.UserError(f'{where} = {config.one_line(repr(given), 60)}: must be {what}')
  return _example(where, pair, None, task)


def _example(where: str, texts: Sequence[Any], label: Any, task: Any) -> Example:
  for text in texts:
    if not isinstance(text, str) or not text.strip():
      raise config.UserError(f'{where}: its text is {text!r}, and must not be empty')
  return Example(where, tuple(texts), None if label is None else _labels(where, label, task))


def _labels(where: str, label: Any, task: Any) -> tuple[str, ...]:
  """Returns the names of an example's labels."""
  if task.multilabel:
    many = label.split(',') if isinstance(label, str) else label
    if not isinstance(many, list):
      raise config.UserError(f'{where}: label {label!r} must be a list, or a text with commas')
    return tuple(str(each).strip() for each in many if str(each).strip())
  if isinstance(label, list | dict) or str(label).strip() == '':
    raise config.UserError(f'{where}: label {label!r} must be one label that is not empty')
  return (str(label).strip(),)


def names(examples: Sequence[Example], given: Sequence[str]) -> list[str]:
  """Returns the names of the labels in their order.

  Args:
    examples: those that are trained on.
    given: the setting task.labels; () for those of the examples, numbers by their value.

  Raises:
    UserError: fewer than two labels, or one twice.
  """
  found = list(given) or sorted({each for one in examples for each in one.labels or ()}, key=_order)
  if len(set(found)) < len(found):
    raise config.UserError(f'config.task.labels = {tuple(given)!r}: must all differ')
  if len(found) < 2:
    raise config.UserError(
      f'there is {"a single label" if found else "no label"} in the training examples: '
      f'{found[0] if found else "none"!r}; two are needed, name them all as config.task.labels'
    )
  return found


def _order(name: str) -> tuple[int, int, str]:
  """Returns a key by which 10 comes after 9, and words come after numbers."""
  return (0, int(name), name) if name.isascii() and name.isdigit() else (1, 0, name)


def check(examples: Sequence[Example], names: Sequence[str]) -> None:
  """Raises UserError for the first label that is none of `names`."""
  known = set(names)
  for example in examples:
    for each in example.labels or ():
      if each not in known:
        shown = ', '.join(names[:20]) + (', ...' if len(names) > 20 else '')
        raise config.UserError(
          f'{example.where}: label {each!r} is none of those of the training examples: {shown}; '
          'name all labels as config.task.labels'
        )
