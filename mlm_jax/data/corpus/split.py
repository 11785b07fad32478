"""What is a document: the rules that cut the text of a file into documents.

Each takes the file's text in chunks, cut anywhere, and gives the same documents
wherever it is cut. They hold no more than one document in memory, and none that is longer than
LONGEST: in its place they give None.
"""

from collections.abc import Iterable
from collections.abc import Iterator
import re
from typing import Any

from mlm_jax import config
from mlm_jax.data.corpus import clean

REACH = 1 << 16  # characters: the longest match of data.document_regex that is found


LONGEST = 1 << 27  # characters of a document before it is cleaned


def documents(chunks: Iterable[str], data: Any, rule: str = '') -> Iterator[str | None]:
  """Returns an iterator over the documents in an iterable of text chunks.

  Args:
    chunks: of the text.
    data: `config.data`.
    rule: one in place of config.data.document.
  """
  rule = rule or data.document
  if rule == 'file':
    return _file(chunks)
  if rule == 'lines':
    return lines(chunks)
  if rule == 'blocks':
    return _blocks(lines(chunks), data.block_characters)
  return _between(chunks, pattern(data))


def short(
  documents: Iterable[str | None], data: Any, name: str, counts: clean.Counts
) -> Iterator[str]:
  """Yields documents without those that were too long.

  Args:
    documents: as the rules give them.
    data: `config.data`.
    name: where they are from, for messages.
    counts: clean.Counts; takes what config.data.max_characters drops.

  Raises:
    UserError: one was too long, and config.data.max_characters does not say that it is dropped.
  """
  for document in documents:
    if document is not None:
      yield document
    elif data.max_characters:
      counts.add('max_characters', LONGEST)
    else:
      raise config.UserError(
        f'{name} has a document of more than {LONGEST:,} characters; cut it finer by '
        'config.data.document, or drop it by config.data.max_characters'
      )


def short_lines(chunks: Iterable[str], name: str) -> Iterator[tuple[str, str]]:
  """Yields (where it is, line); UserError for one that is too long."""
  for number, line in enumerate(lines(chunks), 1):
    where = f'{name} line {number}'
    if line is None:
      raise config.UserError(f'{where} has more than {LONGEST:,} characters; is the file whole?')
    yield where, line


class _Parts:
  """A text that grows by parts, and is forgotten when it is too long."""

  def __init__(self):
    self._parts, self._length = [], 0

  def __bool__(self):
    return self._length > 0

  def add(self, text: str) -> None:
    self._length += len(text)
    self._parts.append(text)
    if self._length > LONGEST:
      self._parts.clear()

  def take(self) -> str | None:
    """Returns the text, None where it was too long, and begins anew."""
    text = ''.join(self._parts) if self._length <= LONGEST else None
    self._parts, self._length = [], 0
    return text


def _file(chunks):
  text = _Parts()
  for chunk in chunks:
    text.add(chunk)
  yield text.take()


def pattern(data: Any) -> re.Pattern[str]:
  """Returns the compiled data.document_regex; UserError where it is not one."""
  try:
    return re.compile(data.document_regex, re.MULTILINE)
  except re.error as error:
    raise config.UserError(
      f'config.data.document_regex = {data.document_regex!r}: {error}; '
      'give a regular expression as Python has them'
    ) from None


def lines(chunks: Iterable[str]) -> Iterator[str | None]:
  """Yields lines without their ends, None for one that is longer than LONGEST."""
  # The parts of a line that many chunks share; joined once, so that a long line takes linear time.
  rest = _Parts()
  for chunk in chunks:
    first, *others = chunk.split('\n')
    rest.add(first)
    if others:
      yield rest.take()
      yield from (line if len(line) <= LONGEST else None for line in others[:-1])
      rest.add(others[-1])
  yield rest.take()


def _blocks(lines_of_file, characters):
  """Yields paragraphs, which blank lines separate, joined until `characters` long.

  What is left at the end of a file is a document of its own.
  """
  block: list[str | None] = []
  length = 0
  for line in lines_of_file:
    if line is None or line.strip():
      block.append(line)
      length += LONGEST + 1 if line is None else len(line)
      if length > LONGEST:  # forgotten
        block = [None]
    elif length >= characters:
      yield _joined(block)
      block, length = [], 0
    elif block and block[-1]:  # several blank lines between two paragraphs become one
      block.append('')
  if length:
    yield _joined(block)


def _joined(block):
  return None if None in block else '\n'.join(block)


def _between(chunks, separator):
  """Yields what is between matches; an empty match cuts without removing.

  A match counts once REACH characters after its start have been seen, so that more
  text could not have changed it; REACH characters before it are kept, since it may look behind.
  """
  text, done, begin = '', 0, 0  # done: where to search on; begin: of this document
  parts = _Parts()

  def cut(end):
    """Yields the documents that end before `end`, moves done and begin."""
    nonlocal done, begin
    for match in separator.finditer(text, done):
      if match.start() >= end:
        break
      if match.end() > begin or parts:  # not a second cut at one place
        parts.add(text[begin : match.start()])
        yield parts.take()
      begin = done = match.end()
    done = max(done, end)

  for chunk in chunks:
    text += chunk
    # Seldom: each turn searches and copies what it keeps, and must have REACH new characters.
    if len(text) - done > 2 * REACH:
      yield from cut(len(text) - REACH)
      if done > begin:
        parts.add(text[begin:done])
        begin = done
      dropped = max(0, done - REACH)
      text, done, begin = text[dropped:], done - dropped, begin - dropped
  yield from cut(len(text) + 1)  # one after the end: an empty match there counts too
  parts.add(text[begin:])
  yield parts.take()
