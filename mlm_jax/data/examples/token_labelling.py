"""Sentences whose words have tags: CoNLL columns, CoNLL-U, lists in .jsonl and .parquet files."""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import pathlib
import re
from typing import Any

from mlm_jax import config
from mlm_jax.data.corpus.formats import conllu
from mlm_jax.data.examples import tables
from mlm_jax.data.examples import tag_schemes

_DOCUMENT = '-DOCSTART-'
_SHOWN = 20  # tags in a message


@dataclasses.dataclass(frozen=True)
class Example:
  """A sentence.

  Attributes:
    where: the file and the line that it begins in, for messages.
    tokens: its words.
    tags: of each word; None where the file has none.
  """

  where: str
  tokens: tuple[str, ...]
  tags: tuple[str, ...] | None


def read(path: str, task: Any) -> list[Example]:
  """Returns the sentences of a file with their tags.

  Args:
    path: .conllu, .jsonl or .parquet; any other file has CoNLL columns.
    task: the config's group `task`.

  Raises:
    UserError: a file that cannot be read or has no sentence, or a line that is none, named.
  """
  found = list(stream(path, task, has_tags=True))
  if not found:
    raise config.UserError(f'{path} holds no sentence')
  return found


def stream(path: str, task: Any, has_tags: bool = False) -> Iterator[Example]:
  """Yields the sentences of a file; see `read`."""
  settings, kind = task.token_labelling, pathlib.Path(path).suffix.lower()
  if kind in ('.jsonl', '.parquet'):
    yield from _records(path, settings, has_tags)
  elif kind == '.conllu':
    yield from _treebank(path, settings, has_tags)
  else:
    yield from _columns(path, settings, has_tags)


def unlabelled(where: str, given: Any) -> Example:
  """Returns the Example of a list of words, or of a text whose words are parted by white space."""
  return Example(where, _words(where, given.split() if isinstance(given, str) else given), None)


def _words(where: str, words: Any) -> tuple[str, ...]:
  is_list = isinstance(words, list | tuple) and words
  if not is_list or not all(isinstance(each, str) and each.strip() for each in words):
    raise config.UserError(
      f'{where}: its words are {config.one_line(repr(words), 60)}, and must be a list of texts, '
      'none of them empty'
    )
  return tuple(words)


def _records(path: str, settings: Any, has_tags: bool) -> Iterator[Example]:
  for record in tables.read(path, [settings.tokens, *([settings.tags] if has_tags else [])]):
    where = f'{path} line {record.line}'
    tokens, tags = _words(where, record.values[settings.tokens]), None
    if has_tags:
      tags = record.values[settings.tags]
      if not isinstance(tags, list):
        raise config.UserError(f'{where}: {settings.tags!r} must be a list of tags')
      if len(tags) != len(tokens):
        raise config.UserError(f'{where}: {len(tokens)} tokens and {len(tags)} tags')
      tags = tuple(_tag(where, each, settings.scheme) for each in tags)
    yield Example(where, tokens, tags)


def _tag(where: str, tag: Any, scheme: str) -> str:
  if not isinstance(tag, str) or not tag_schemes.is_tag(tag, scheme):
    allowed = 'a text' if scheme == 'plain' else f'one of {tag_schemes.described(scheme)}'
    raise config.UserError(
      f'{where}: the tag {tag!r} must be {allowed}, for config.task.token_labelling.scheme = '
      f'{scheme!r}'
    )
  return tag


def _columns(path: str, settings: Any, has_tags: bool) -> Iterator[Example]:
  """Yields the sentences of lines with columns, parted by tabs or by spaces as the first one's."""
  width, has_tabs = None, False
  for sentence in _sentences(path):
    tokens, tags = [], []
    for number, line in sentence:
      has_tabs = '\t' in line if width is None else has_tabs
      fields = line.split('\t') if has_tabs else re.split('[ \t]+', line.strip(' \t'))
      if fields[0] == _DOCUMENT:
        continue
      where, width = f'{path} line {number}', width or len(fields)
      if len(fields) != width:
        raise config.UserError(f'{where}: {len(fields)} columns in place of {width}')
      columns = _chosen(where, width, settings, has_tags)
      tokens.append(fields[columns[0]])
      if not tokens[-1].strip():
        raise config.UserError(f'{where}: there is no token')
      if has_tags:
        tags.append(_tag(where, fields[columns[1]], settings.scheme))
    if tokens:
      begin = f'{path} line {sentence[0][0]}'
      yield Example(begin, tuple(tokens), tuple(tags) if has_tags else None)


def _chosen(where: str, width: int, settings: Any, has_tags: bool) -> tuple[int, int]:
  """Returns the numbers of the columns of tokens and of tags."""
  token, tag = settings.token_column, settings.tag_column
  tag = width - 1 if tag == -1 else tag
  name = 'token_column' if token >= width else 'tag_column'
  if token >= width or has_tags and (tag >= width or tag == token):
    raise config.UserError(
      f'{where}: it has {width} column{"s" * (width > 1)}, counted from 0; config.task.'
      f'token_labelling.{name} = {settings[name]} names none, or that of the tokens'
    )
  return token, tag


def _treebank(path: str, settings: Any, has_tags: bool) -> Iterator[Example]:
  for sentence in _sentences(path):
    lines = [(f'{path} line {n}', line) for n, line in sentence if not line.startswith('#')]
    words = conllu.sentence_words(lines, settings.conllu)
    tags = None
    if has_tags:
      tags = tuple(
        _tag(f'{lines[0][0]}, {each.form!r}', each.tag, settings.scheme) for each in words
      )
    if words:
      yield Example(lines[0][0], tuple(each.form for each in words), tags)


def _sentences(path: str) -> Iterator[list[tuple[int, str]]]:
  """Yields the (number, line) of each group of lines between blank ones."""
  found = []
  try:
    with open(path, encoding='utf-8-sig') as file:
      for number, line in enumerate(file, 1):
        if line.strip(' \t\n'):
          found.append((number, line.rstrip('\n')))
        elif found:
          yield found
          found = []
  except OSError as error:
    raise config.UserError(f'cannot read {path}: {error.strerror}') from None
  except UnicodeDecodeError as error:
    raise config.UserError(f'{path} is not UTF-8 text: {config.one_line(error)}') from None
  if found:
    yield found


def labels(examples: Sequence[Example], given: Sequence[str], scheme: str) -> list[str]:
  """Returns the tags that are told apart, in their order.

  Of schemes for entities these are O and all tags of each type, also those that no word has.

  Args:
    examples: those that are trained on.
    given: the setting task.labels; () for those of the examples.
    scheme: of the tags.

  Raises:
    UserError: there is nothing to tell apart, or `given` has a tag twice or one of another scheme.
  """
  if len(set(given)) < len(given):
    raise config.UserError(f'config.task.labels = {tuple(given)!r}: must all differ')
  found = [_tag('config.task.labels', each, scheme) for each in given]
  if not found:
    found = sorted({each for one in examples for each in one.tags or ()})
    if scheme != 'plain':
      found = tag_schemes.complete(tag_schemes.types(found), scheme)
  if len(found) < 2:
    what = f'a single tag {found[0]!r}' if found else 'no tag'
    raise config.UserError(
      f'there is {what} in the training examples; two are needed, name them all as '
      'config.task.labels'
    )
  return found


def check(examples: Sequence[Example], labels: Sequence[str]) -> None:
  """Raises UserError for the first tag that is none of `labels`."""
  known = set(labels)
  for example in examples:
    for word, tag in zip(example.tokens, example.tags or ()):
      if tag not in known:
        shown = ', '.join(labels[:_SHOWN]) + (', ...' if len(labels) > _SHOWN else '')
        raise config.UserError(
          f'{example.where}, {word!r}: the tag {tag!r} is none of those of the training examples: '
          f'{shown}; name all tags as config.task.labels'
        )
