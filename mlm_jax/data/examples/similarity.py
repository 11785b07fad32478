"""Texts, or pairs of texts, with a number: the examples of similarity and regression."""

from collections.abc import Iterator
import dataclasses
import math
from typing import Any

from mlm_jax import config
from mlm_jax.data.examples import classification
from mlm_jax.data.examples import tables

_MOST = 1e30  # of a score: its square is a number too


@dataclasses.dataclass(frozen=True)
class Example:
  """A text, or a pair of texts, and its score.

  Attributes:
    where: the file and the line, for messages.
    texts: one or two.
    score: a finite number; None where the file has no scores.
  """

  where: str
  texts: tuple[str, ...]
  score: float | None


def read(path: str, task: Any) -> list[Example]:
  """Returns the examples of a file, in its order.

  Args:
    path: see tables.read.
    task: the config's group `task`: the names of the columns.

  Raises:
    UserError: a table that cannot be read, an empty text, or a score that is no finite number.
  """
  found = list(_examples(path, task, task.similarity.score))
  if not found:
    raise config.UserError(f'{path} holds no example')
  return found


def stream(path: str, task: Any) -> Iterator[Example]:
  """Yields the examples of a file without their scores; see `read`."""
  yield from _examples(path, task, '')


def unlabelled(where: str, given: Any, task: Any) -> Example:
  """Returns the Example of a text, or of a pair of texts; UserError for what is neither."""
  return Example(where, classification.unlabelled(where, given, task).texts, None)


def _examples(path: str, task: Any, score: str) -> Iterator[Example]:
  columns = [each for each in (task.text, task.second_text) if each]
  for record in tables.read(path, [*columns, *([score] if score else [])]):
    where = f'{path} line {record.line}'
    texts = [record.values[each] for each in columns]
    example = unlabelled(where, texts if len(texts) > 1 else texts[0], task)
    value = _number(where, record.values[score]) if score else None
    yield dataclasses.replace(example, score=value)


def _number(where: str, given: Any) -> float:
  try:
    # A bool is a number to Python, and hardly meant as one.
    found = math.nan if isinstance(given, bool) else float(given)
  except (TypeError, ValueError, OverflowError):
    found = math.nan
  if not abs(found) < _MOST:  # nor NaN
    raise config.UserError(
      f'{where}: score {config.one_line(repr(given), 40)} must be a finite number'
    )
  return found
