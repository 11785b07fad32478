"""What is a document: the rules that cut the text of a file into documents.

Each takes the file's text in chunks, cut anywhere, and gives the same documents
wherever it is cut. All but `file` hold no more than one document in memory.
"""

from collections.abc import Iterable
from collections.abc import Iterator
import re
from typing import Any

from mlm_jax import config

LONGEST = (
  1 << 27
)  # characters of a document or a line: what grows without end would fill the memory
REACH = 1 << 16  # characters: the longest match of data.document_regex that is found


def documents(chunks: Iterable[str], data: Any, name: str = 'the text') -> Iterator[str]:
  """Returns an iterator over the documents in an iterable of text chunks.

  Args:
    chunks: the text of a file.
    data: `config.data`.
    name: of the file, for the error.

  Raises:
    UserError: a document of more than LONGEST characters.
  """
  if data.document == 'file':
    return _whole(chunks, name)
  if data.document == 'lines':
    return lines(chunks, name)
  if data.document == 'blocks':
    return _blocks(lines(chunks, name), data.block_characters)
  return _between(chunks, pattern(data), name)


class _Parts:
  """Parts of a document or a line, joined once, so that a long one takes linear time."""

  def __init__(self, name: str):
    self._name, self._parts, self._length = name, [], 0

  def __bool__(self) -> bool:
    return bool(self._parts)

  def add(self, part: str) -> None:
    self._parts.append(part)
    self._length += len(part)
    if self._length > LONGEST:
      raise config.UserError(
        f'{self._name} has a document or a line of more than {LONGEST:,} characters; cut it into '
        'smaller ones, by config.data.document or before'
      )

  def joined(self) -> str:
    text = ''.join(self._parts)
    self._parts, self._length = [], 0
    return text


def _whole(chunks, name):
  parts = _Parts(name)
  for chunk in chunks:
    parts.add(chunk)
  yield parts.joined()


def pattern(data: Any) -> re.Pattern[str]:
  """Returns the compiled data.document_regex; UserError where it is not one."""
  try:
    return re.compile(data.document_regex, re.MULTILINE)
  except re.error as error:
    raise config.UserError(
      f'config.data.document_regex = {data.document_regex!r}: {error}; '
      'give a regular expression as Python has them'
    ) from None


def lines(chunks: Iterable[str], name: str = 'the text') -> Iterator[str]:
  """Yields lines without their ends; arguments and errors as for `documents`."""
  rest = _Parts(name)  # of a line that many chunks share
  for chunk in chunks:
    first, *others = chunk.split('\n')
    rest.add(first)
    if others:
      yield rest.joined()
      yield from others[:-1]
      rest.add(others[-1])
  yield rest.joined()


def _blocks(lines_of_file, characters):
  """Yields paragraphs, which blank lines separate, joined until `characters` long.

  What is left at the end of a file is a document of its own.
  """
  block, length = [], 0
  for line in lines_of_file:
    if line.strip():
      block.append(line)
      length += len(line)
    elif length >= characters:
      yield '\n'.join(block)
      block, length = [], 0
    elif block and block[-1]:  # several blank lines between two paragraphs become one
      block.append('')
  if length:
    yield '\n'.join(block)


def _between(chunks, separator, name):
  """Yields what is between matches; an empty match cuts without removing.

  A match counts once REACH characters after its start have been seen, so that more
  text could not have changed it; REACH characters before it are kept, since it may look behind.
  """
  text, done, begin = '', 0, 0  # done: where to search on; begin: of this document
  parts = _Parts(name)

  def cut(end):
    """Yields the documents that end before `end`, moves done and begin."""
    nonlocal done, begin
    for match in separator.finditer(text, done):
      if match.start() >= end:
        break
      if match.end() > begin or parts:  # not a second cut at one place
        parts.add(text[begin : match.start()])
        yield parts.joined()
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
  yield parts.joined()
