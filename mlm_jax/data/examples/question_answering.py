"""Questions about contexts whose answers are parts of them: the JSON of SQuAD 1.1 and 2.0."""

from collections.abc import Iterator
import dataclasses
import json
import pathlib
from typing import Any

from mlm_jax import config
from mlm_jax.data.examples import tables

KIND = '.json'


@dataclasses.dataclass(frozen=True)
class Example:
  """A question about a context.

  Attributes:
    where: the file and the place in it, for messages.
    id: of the question; '' where it has none.
    question, context: as they were given.
    answers: (text, place of its first character in the context) of each, () where the context has
      no answer; None where answers are not known.
    misplaced: how many answers are not here since the context does not have them at their place.
      With answers of () it is a question that nothing is known of.
  """

  where: str
  id: str
  question: str
  context: str
  answers: tuple[tuple[str, int], ...] | None
  misplaced: int = 0

  @property
  def is_scored(self) -> bool:
    """Whether a prediction for it is right or wrong."""
    return self.answers is not None and (bool(self.answers) or not self.misplaced)

  @property
  def texts(self) -> tuple[str, ...]:
    """Those of its answers."""
    return tuple(text for text, _ in self.answers or ())


def read(path: str, task: Any) -> list[Example]:
  """Returns the questions of a SQuAD file with their answers, in its order.

  Answers that are not in the context at their place are left out, see Example.misplaced.

  Raises:
    UserError: no such file, one of another structure, an id that is there twice, or no question.
  """
  if pathlib.Path(path).suffix.lower() != KIND:
    raise config.UserError(f'{path}: questions with answers must be in a {KIND} file, as of SQuAD')
  found = list(_squad(path, has_answers=True))
  if not found:
    raise config.UserError(f'{path} holds no question')
  return found


def stream(path: str, task: Any) -> Iterator[Example]:
  """Yields the questions of a file without their answers: of SQuAD, or a table.

  Args:
    path: a .json file as of SQuAD, else see tables.read.
    task: the config's group `task`: `text` names the column of the question, `second_text` that of
      the context.
  """
  if pathlib.Path(path).suffix.lower() == KIND:
    yield from _squad(path, has_answers=False)
    return
  for record in tables.read(path, [task.text, task.second_text]):
    where = f'{path} line {record.line}'
    yield unlabelled(where, (record.values[task.text], record.values[task.second_text]), task)


def unlabelled(where: str, given: Any, task: Any) -> Example:
  """Returns the Example of a (question, context); UserError for what is none.

  Args:
    where: what errors call it.
    given: as said.
    task: the config's group `task`.
  """
  if not isinstance(given, tuple | list) or len(given) != 2:
    raise config.UserError(
      f'{where} = {config.one_line(repr(given), 60)}: must be (question, context)'
    )
  for name, text in zip(('question', 'context'), given):
    if not isinstance(text, str) or not text.strip():
      raise config.UserError(f'{where}: its {name} is {text!r}, and must not be empty')
  question, context = given
  return Example(where, '', question, context, None)


def _squad(path: str, has_answers: bool) -> Iterator[Example]:
  """Yields the questions of a SQuAD file."""
  whole, seen = _loaded(path), {}
  if not isinstance(whole, dict):
    raise config.UserError(f'{path}: must be an object with a list "data", as of SQuAD')
  for article, at in _members(whole, 'data', f'{path}: '):
    for paragraph, place in _members(article, 'paragraphs', f'{at}.'):
      context = _text(paragraph, 'context', place)
      for qa, where in _members(paragraph, 'qas', f'{place}.'):
        number, question = qa.get('id'), _text(qa, 'question', where)
        if not isinstance(number, str | int) or isinstance(number, bool) or number == '':
          raise config.UserError(f'{where}: "id" must be a text, and is {number!r}')
        if number in seen:
          raise config.UserError(f'{where}: id {number!r} is that of {seen[number]} too')
        seen[number] = where.removeprefix(f'{path}: ')
        answers, misplaced = _answers(qa, context, where) if has_answers else (None, 0)
        yield Example(where, str(number), question, context, answers, misplaced)


def _loaded(path: str) -> Any:
  try:
    return json.loads(pathlib.Path(path).read_text(encoding='utf-8-sig'))
  except OSError as error:
    raise config.UserError(f'cannot read {path}: {error.strerror}') from None
  except UnicodeDecodeError as error:
    raise config.UserError(f'{path} is not UTF-8 text: {config.one_line(error)}') from None
  except (ValueError, RecursionError) as error:
    raise config.UserError(f'{path} is no JSON: {config.one_line(error)}') from None


def _members(of: dict, name: str, before: str) -> Iterator[tuple[dict, str]]:
  """Yields (object, where it is) of a list in an object."""
  found = of.get(name)
  if not isinstance(found, list):
    what = 'is missing' if name not in of else f'is {config.one_line(repr(found), 40)}'
    where = before.rstrip('.: ')
    raise config.UserError(f'{where}: "{name}" {what}; it must be a list of objects, as of SQuAD')
  for number, each in enumerate(found):
    where = f'{before}{name}[{number}]'
    if not isinstance(each, dict):
      raise config.UserError(f'{where} is {config.one_line(repr(each), 40)}: must be an object')
    yield each, where


def _text(of: dict, name: str, where: str) -> str:
  found = of.get(name)
  if not isinstance(found, str) or not found.strip():
    what = f'is {config.one_line(repr(found), 40)}' if name in of else 'is missing'
    raise config.UserError(f'{where}: "{name}" {what}; it must be a text that is not empty')
  return found


def _answers(qa: dict, context: str, where: str) -> tuple[tuple[tuple[str, int], ...], int]:
  """Returns (the answers that are where they say, the number of others)."""
  is_impossible = qa.get('is_impossible', False)
  given = list(_members(qa, 'answers', f'{where}.'))
  if not isinstance(is_impossible, bool):
    raise config.UserError(f'{where}: "is_impossible" must be true or false')
  if is_impossible == bool(given):
    what = 'is impossible and has answers' if given else 'has no answer and is not "is_impossible"'
    raise config.UserError(f'{where} {what}')
  found = []
  for answer, place in given:
    text, begin = answer.get('text'), answer.get('answer_start')
    if not isinstance(text, str) or type(begin) is not int:
      raise config.UserError(f'{place}: must have a text "text" and a whole number "answer_start"')
    if text.strip() and begin >= 0 and context[begin : begin + len(text)] == text:
      found.append((text, begin))
  return tuple(found), len(given) - len(found)
