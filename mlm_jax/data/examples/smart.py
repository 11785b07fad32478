"""Collections of the SMART system, such as Cranfield: one file each of documents and queries.

Records begin with `.I id`; of their fields, each behind a line such as `.W`, the title (.T) and the
text (.W) are read. Judgements name queries by their place in the file of queries, from 1, whatever
their ids there: those of Cranfield have gaps.

A line of judgements is `query document code` or, without degrees, `query document 0 0.0`. Codes are
Cleverdon's: 1 for a complete answer to 4 for the least interest become grades 4 to 1; 5 and -1, no
interest, grade 0.
"""

from collections.abc import Iterator
import pathlib
import re

from mlm_jax import config
from mlm_jax.data.examples import collection

# {what a folder holds: how its file is called, in lower case}
_NAMES = {
  'documents': r'.*\.all(\.\d+)?',
  'queries': r'.*\.qry',
  'judgements': r'.*qrel|.*\.rel',
}
_FIELD = re.compile(r'\.([A-Z])\s*(.*)')


def is_smart(folder: str) -> bool:
  """Whether a folder holds a file of documents that is called as in a SMART collection."""
  return bool(_called(folder, _NAMES['documents']))


def files(folder: str) -> list[str]:
  """Returns the files in a folder that are called as in a SMART collection."""
  return [str(each) for pattern in _NAMES.values() for each in _called(folder, pattern)]


def read(folder: str) -> collection.Collection:
  """Returns the collection in a folder; its judgements have the name ''.

  Raises:
    UserError: a file that is missing, is there twice or is damaged, and as collection.read.
  """
  paths = {}
  for what, pattern in _NAMES.items():
    found = _called(folder, pattern)
    if len(found) != 1:
      there = ', '.join(each.name for each in found) or 'none'
      raise config.UserError(f'{folder}: must hold one file of {what}, found {there}')
    paths[what] = found[0]
  documents, queries = (_texts(paths[what]) for what in ('documents', 'queries'))
  by_place = {str(n): key for n, key in enumerate(queries, 1)}
  path = paths['judgements']
  grades = collection.judged(str(path), _judgements(path), documents, by_place)
  judgements = {'': {by_place[place]: each for place, each in grades.items()}}
  return collection.Collection(documents, queries, judgements)


def _called(folder: str, pattern: str) -> list[pathlib.Path]:
  place = pathlib.Path(folder)
  if not place.is_dir():
    return []
  return sorted(each for each in place.iterdir() if re.fullmatch(pattern, each.name.lower()))


def _lines(path: pathlib.Path) -> Iterator[tuple[str, str]]:
  """Yields (where, line) of a file, by what its old encodings have in common with UTF-8."""
  text = config.read_bytes(path).decode('utf-8', errors='replace')
  for number, line in enumerate(text.splitlines(), 1):
    yield f'{path} line {number}', line.strip()


def _texts(path: pathlib.Path) -> dict[str, str]:
  """Returns {id: title and text} of the records of a file."""
  found: dict[str, dict[str, list[str]]] = {}
  field, parts = '', {}
  for where, line in _lines(path):
    match = _FIELD.fullmatch(line)
    if match and match[1] == 'I':
      field, parts = '', {'T': [], 'W': []}
      collection.add(found, match[2].lstrip('0'), parts, where)
    elif line and not found:
      raise config.UserError(f'{where}: {config.one_line(repr(line), 60)} is before the first .I')
    elif match and not match[2]:
      field = match[1]
    elif field in parts:
      parts[field].append(line)
  if not found:
    raise config.UserError(f'{path} holds no record')
  return {key: _joined(parts) for key, parts in found.items()}


def _joined(parts: dict[str, list[str]]) -> str:
  """Returns the title, unless the text begins with it, and the text."""
  title, text = (' '.join(' '.join(parts[each]).split()) for each in ('T', 'W'))
  return text if text.startswith(title) else f'{title} {text}'.strip()


def _judgements(path: pathlib.Path) -> Iterator[tuple[str, str, str, str]]:
  """Yields (where, query, document, grade)."""
  for where, line in _lines(path):
    fields = line.split()
    if not fields:
      continue
    if len(fields) not in (3, 4):
      raise config.UserError(f'{where}: {len(fields)} fields in place of query, document and code')
    code = '4' if len(fields) == 4 else fields[2]
    is_code = code.removeprefix('-').isdigit()
    grade = str(5 - int(code)) if is_code and 1 <= int(code) <= 4 else '0' if is_code else code
    yield where, fields[0].lstrip('0'), fields[1].lstrip('0'), grade
