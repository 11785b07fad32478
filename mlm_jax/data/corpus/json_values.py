"""Records in JSON as a stream: an object a line, a list of them, or one over several lines.

No more than one record is held in memory.
"""

from collections.abc import Iterable
from collections.abc import Iterator
import json
from typing import Any

from mlm_jax import config
from mlm_jax.data.corpus import split

# Numbers are of no use here; Python refuses to convert very long ones.
_DECODER = json.JSONDecoder(parse_int=float)
_SPACE = ' \t\n\r'


def values(
  chunks: Iterable[str], name: str, field: str, is_one: bool = False
) -> Iterator[tuple[str, Any]]:
  """Yields (where it is, value of the field) of each record; None where there is none.

  Args:
    chunks: of the text.
    name: of the file.
    field: that of the objects; a record that is a text is it itself where the field is `text`.
    is_one: the file may also hold a list, or one object over several lines (.json).

  Raises:
    UserError: the first object lacks the field: the field is misnamed; or a record is too long.
  """
  checked = False
  for where, record in _whole(chunks, name) if is_one else _lines(chunks, name):
    # Of the first object only: a later one without the field is counted as skipped.
    if isinstance(record, dict) and not checked:
      checked = True
      _check_field(record, where, field)
    if isinstance(record, str):
      yield where, record if is_one and field == 'text' else None
    else:
      yield where, record.get(field) if isinstance(record, dict) else None


def _check_field(record, where, field):
  if field not in record:
    raise config.UserError(
      f'{where} has no field {field!r}; '
      + (
        f'set config.data.field to one of: {config.one_line(", ".join(sorted(record)))}'
        if record
        else 'it is an empty object: write texts there, or remove the line'
      )
    )


def _lines(chunks, name):
  """Yields (where it is, value or None) of each line that is not blank."""
  for where, line in split.short_lines(chunks, name):
    if line.strip():
      try:
        yield where, _DECODER.decode(line)
      except (ValueError, RecursionError):  # not JSON, or nested too deeply
        yield where, None


def _whole(chunks, name):
  """Yields as `_lines` for JSON values one after another, with commas between them in a list."""
  chunks = iter(chunks)
  text, at, number, size = '', 0, 0, 1
  in_list = ended = False

  while True:
    # What is between two values.
    while at < len(text) and text[at] in _SPACE + (',]' if in_list else ''):
      at += 1
    if at < len(text) and text[at] == '[' and not number and not in_list:
      in_list, at = True, at + 1
      continue
    value, end = _next(text, at)
    # A number, or a word, may go on in the next chunk.
    if end is not None and (end < len(text) or ended):
      number += 1
      at = end
      yield f'{name} record {number}', value
      size = 1
      continue
    if ended:
      if at < len(text):
        number += 1
        yield f'{name} record {number}', None
      return
    if len(text) - at > split.LONGEST:
      raise config.UserError(
        f'{name} record {number + 1} has more than {split.LONGEST:,} characters, or is not JSON; '
        'write one object a line'
      )
    # Twice as much each time, so that a long record takes linear time.
    parts, read = [text[at:]], 0
    while read < size:
      chunk = next(chunks, None)
      ended = chunk is None
      if ended:
        break
      parts.append(chunk)
      read += len(chunk)
    text, at, size = ''.join(parts), 0, max(size, read) * 2


def _next(text, at):
  """Returns (value, where it ends), or (None, None) where there is no whole one."""
  try:
    return _DECODER.raw_decode(text, at)
  except RecursionError:  # nested too deeply: nothing more of it can be read
    return None, len(text)
  except ValueError:
    return None, None
