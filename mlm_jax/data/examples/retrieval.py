"""Queries with the documents that answer them, from files of pairs or from collections.

What is trained on are pairs; what is scored are queries that search among all documents of the file
or folder that they are from.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import pathlib
import re
from typing import Any

from mlm_jax import config
from mlm_jax.data.examples import collection
from mlm_jax.data.examples import held_out
from mlm_jax.data.examples import smart
from mlm_jax.data.examples import tables

PAIR, QUERY, DOCUMENT = 'pair', 'query', 'document'
# The names of judgements in a folder that has several, by what they are used for.
_NAMES = {'train': ('train',), 'validation': ('dev', 'validation', 'valid'), 'test': ('test',)}
_SENTENCE_END = re.compile(r'(?<=[.!?])\s+|(?<=[。！？])')


@dataclasses.dataclass(frozen=True)
class Example:
  """A pair to train on, a query to search with, or a document to be found.

  Attributes:
    kind: PAIR, QUERY or DOCUMENT.
    id: of a query or a document; of a pair that of its query.
    texts: of a pair the query, the document that answers it and hard negatives; else one.
    relevant: of a query: (id of a document, grade) of those that were judged.
    origin: of a pair: which document the second text is a part of; '' for the text itself.
  """

  kind: str
  id: str
  texts: tuple[str, ...]
  relevant: tuple[tuple[str, int], ...] = ()
  origin: str = ''


@dataclasses.dataclass(frozen=True)
class Source:
  """What a file of pairs or a folder holds.

  Attributes:
    path: of it.
    whole: the documents, queries and judgements.
    pairs: those of a file of pairs, in its order.
  """

  path: str
  whole: collection.Collection
  pairs: tuple[Example, ...] = ()

  def judged(self, use: str) -> tuple[str, collection.Grades]:
    """Returns (name, Grades) of the judgements for a use of _NAMES.

    Those that are so called, or the only ones there are; queries without an answer are left out.

    Raises:
      UserError: there are several, and none is so called.
    """
    there = self.whole.judgements
    called = [each for each in _NAMES[use] if each in there] or [*there][: len(there) == 1]
    if not called:
      raise config.UserError(
        f'{self.path}/{collection.QRELS}: none of {", ".join(there)} is {" or ".join(_NAMES[use])}'
      )
    grades = there[called[0]]
    return called[0], {query: each for query, each in grades.items() if any(each.values())}

  def examples(self, queries: Iterable[str], grades: collection.Grades) -> list[Example]:
    """Returns queries and all documents."""
    return [
      *(
        Example(QUERY, each, (self.whole.queries[each],), tuple(grades[each].items()))
        for each in queries
      ),
      *texts(DOCUMENT, self.whole.documents),
    ]


def texts(kind: str, by_id: Mapping[str, str]) -> Iterator[Example]:
  """Yields queries, or documents, of {id: text} that nothing is known of."""
  return (Example(kind, key, (text,)) for key, text in by_id.items())


def files(path: str) -> list[str]:
  """Returns the files that `read` reads."""
  if not pathlib.Path(path).is_dir():
    return [path]
  return smart.files(path) if smart.is_smart(path) else collection.files(path)


def read(path: str, task: Any) -> Source:
  """Returns what a path names.

  Args:
    path: a folder of BEIR or SMART, see collection.py and smart.py, or a table, see tables.py, with
      a query, a document that answers it and hard negatives in each record.
    task: the config's group `task`.

  Raises:
    UserError: whatever is wrong with it.
  """
  if pathlib.Path(path).is_dir():
    return Source(path, smart.read(path) if smart.is_smart(path) else collection.read(path))
  return _from_pairs(path, task.retrieval)


def _from_pairs(path: str, settings: Any) -> Source:
  """Returns the Source of a table; equal texts are one query, or one document."""
  columns = [settings.query, settings.positive, *([settings.negative] * bool(settings.negatives))]
  queries, known, pairs = {}, {}, []
  grades: collection.Grades = {}
  number = lambda found, text: found.setdefault(text, str(len(found)))
  for record in tables.read(path, columns):
    query, positive, *given = (record.values[each] for each in columns)
    negatives = given[0] if given and isinstance(given[0], list) else given
    told = (query, positive, *[each for each in negatives if each][: settings.negatives])
    for text in told:
      if not isinstance(text, str) or not text.strip():
        raise config.UserError(f'{path} line {record.line}: {text!r} must be a text, and not empty')
    ids = [number(known, text) for text in told[1:]]
    key = number(queries, query)
    pairs.append(Example(PAIR, key, told))
    grades.setdefault(key, {})[ids[0]] = 1
  if not pairs:
    raise config.UserError(f'{path} holds no example')
  by_id = lambda found: {key: text for text, key in found.items()}
  return Source(
    path, collection.Collection(by_id(known), by_id(queries), {'': grades}), tuple(pairs)
  )


def splits(task: Any) -> dict[str, list[Example]]:
  """Returns {split: its examples}: train, validation and, where the config names one, test.

  Where a file or folder with one set of judgements is named for test and training, its queries are
  divided.

  Args:
    task: the config's group `task`.

  Raises:
    UserError: whatever is wrong with the files.
  """
  source = read(task.train, task)
  name, grades = source.judged('train')
  left, found = list(grades), {}
  for use, fraction in (
    ('test', task.retrieval.test_fraction),
    ('validation', task.validation_fraction),
  ):
    path = task[use] or (task.train if use == 'validation' else '')
    if not path:
      continue
    other = source if path == task.train else read(path, task)
    called, judged = other.judged(use) if task[use] else (name, grades)
    if other is source and called == name:
      asked = [source.whole.queries[each] for each in left]
      kept = held_out.held_out(asked, fraction, path, use)
      queries = [each for n, each in enumerate(left) if n in kept]
      left = [each for n, each in enumerate(left) if n not in kept]
    else:
      queries = list(judged)
    found[use] = other.examples(queries, judged)
  pairs = _PAIRS[task.retrieval.pairs](source, {each: grades[each] for each in left})
  if not pairs:
    raise config.UserError(f'{task.train} gives no pair to train on')
  return {'train': pairs, **dict(reversed(found.items()))}


def _labelled(source: Source, grades: collection.Grades) -> list[Example]:
  """Returns the pairs of queries and what answers them."""
  if source.pairs:
    return [each for each in source.pairs if each.id in grades]
  whole = source.whole
  return [
    Example(PAIR, query, (whole.queries[query], whole.documents[document]))
    for query, of_query in grades.items()
    for document, grade in of_query.items()
    if grade and whole.documents[document]
  ]


def _dropout(source: Source, grades: collection.Grades) -> list[Example]:
  """Returns each document beside itself: dropout makes two vectors of it (arXiv:2104.08821)."""
  return [Example(PAIR, key, (text, text)) for key, text in source.whole.documents.items() if text]


def _inverse_cloze(source: Source, grades: collection.Grades) -> list[Example]:
  """Returns each sentence of a document beside the rest of it (arXiv:1906.00300, section 4)."""
  found = []
  for key, text in source.whole.documents.items():
    sentences = [each for each in _SENTENCE_END.split(text) if any(map(str.isalnum, each))]
    for n, sentence in enumerate(sentences if len(sentences) > 1 else ()):
      rest = ' '.join([*sentences[:n], *sentences[n + 1 :]])
      found.append(Example(PAIR, key, (sentence, rest), origin=key))
  return found


# Of task.retrieval.pairs: which pairs are trained on, from a source and its judgements.
_PAIRS = {'labelled': _labelled, 'dropout': _dropout, 'inverse_cloze': _inverse_cloze}
