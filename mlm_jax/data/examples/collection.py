"""Collections for retrieval: documents, queries, and judgements of which answers which.

A folder is one of BEIR (arXiv:2104.08663), with corpus.jsonl, queries.jsonl and qrels/*.tsv, or one
of the SMART system, see smart.py.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import pathlib
from typing import Any

from mlm_jax import config
from mlm_jax.data.examples import tables

Grades = dict[str, dict[str, int]]  # {id of a query: {id of a document: how relevant, 0 for not}}
CORPUS, QUERIES, QRELS = 'corpus.jsonl', 'queries.jsonl', 'qrels'
_COLUMNS = ('query-id', 'corpus-id', 'score')


@dataclasses.dataclass(frozen=True)
class Collection:
  """Documents and queries by their ids, in the order of their files.

  Attributes:
    documents, queries: {id: text}.
    judgements: {name, such as train or test: Grades}, each at least one query.
  """

  documents: Mapping[str, str]
  queries: Mapping[str, str]
  judgements: Mapping[str, Grades]


def files(folder: str) -> list[str]:
  """Returns the files of a folder of BEIR, whether they are there or not."""
  place = pathlib.Path(folder)
  return [str(each) for each in (place / CORPUS, place / QUERIES, *_qrels(place))]


def _qrels(place: pathlib.Path) -> list[pathlib.Path]:
  return sorted((place / QRELS).glob('*.tsv'))


def read(folder: str) -> Collection:
  """Returns the collection in a folder of BEIR.

  The text of a document is its title, if it has one, and its text. Queries that no file in qrels
  names are left out: BEIR has those of all its parts in one file.

  Raises:
    UserError: a file that is missing or cannot be read, an id twice, a judgement of an id that
      there is not, a grade that is no whole number, or no judgement at all.
  """
  place = pathlib.Path(folder)
  documents, queries = (by_id(place / name) for name in (CORPUS, QUERIES))
  paths = _qrels(place)
  if not paths:
    raise config.UserError(f'{place / QRELS}: must be a folder with .tsv files of judgements')
  judgements = {}
  for path in paths:
    lines = []
    for record in tables.read(str(path), _COLUMNS):
      query, document, grade = (str(record.values[each]) for each in _COLUMNS)
      lines.append((f'{path} line {record.line}', query, document, grade))
    judgements[path.stem] = judged(str(path), lines, documents, queries)
  return Collection(documents, queries, judgements)


def by_id(path: pathlib.Path) -> dict[str, str]:
  """Returns {_id: title and text} of a .jsonl file; UserError for an id twice."""
  found: dict[str, str] = {}
  for record in tables.read(str(path), ('_id', 'text'), optional=('title',)):
    values = record.values
    parts = [values['title'], values['text']]
    if not all(each is None or isinstance(each, str) for each in parts):
      raise config.UserError(f'{path} line {record.line}: its title and text must be texts')
    text = ' '.join(each.strip() for each in parts if each and each.strip())
    add(found, str(values['_id']), text, f'{path} line {record.line}')
  return found


def add(found: dict[str, Any], key: str, value: Any, where: str) -> None:
  """Adds what there is of an id; UserError for an id that is there."""
  if key in found:
    raise config.UserError(f'{where}: the id {key!r} is there twice')
  found[key] = value


def judged(
  path: str,
  lines: Iterable[tuple[str, str, str, str]],
  documents: Mapping[str, str],
  queries: Mapping[str, str],
) -> Grades:
  """Returns the Grades of the lines of a file.

  Args:
    path: of the file, for messages.
    lines: (where, query, document, grade) of each.
    documents, queries: what there is, by id.

  Raises:
    UserError: see `read`; a pair that is judged twice with different grades.
  """
  found: Grades = {}
  for where, query, document, grade in lines:
    for kind, key, known in (('query', query, queries), ('document', document, documents)):
      if key not in known:
        raise config.UserError(f'{where}: there is no {kind} {key!r}')
    try:
      value = max(0, int(grade))
    except ValueError:
      raise config.UserError(f'{where}: the grade {grade!r} must be a whole number') from None
    if found.setdefault(query, {}).setdefault(document, value) != value:
      raise config.UserError(f'{where}: query {query!r}, document {document!r} has two grades')
  if not any(any(each.values()) for each in found.values()):
    raise config.UserError(f'{path} judges no document as relevant')
  return found
