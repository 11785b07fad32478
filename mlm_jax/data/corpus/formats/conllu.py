"""Treebanks in CoNLL-U: documents whose words are annotated with parts of speech.

The text is put together from the words as they are written and the spaces between them
(SpaceAfter=No); a word that is written as one and analysed as several (1-2) has the part
of speech of the first; empty nodes (1.1) are not text. A document begins at `# newdoc`; a
file without one is a document. A splitting rule does not apply.

Source: universaldependencies.org/format.html.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import itertools
import re
from typing import Any
from typing import NamedTuple
import unicodedata

from mlm_jax import config
from mlm_jax.data.corpus import clean
from mlm_jax.data.corpus import files
from mlm_jax.data.corpus import split
from mlm_jax.data.corpus import unpacking

# Universal parts of speech.
UPOS = (
  'ADJ',
  'ADP',
  'ADV',
  'AUX',
  'CCONJ',
  'DET',
  'INTJ',
  'NOUN',
  'NUM',
  'PART',
  'PRON',
  'PROPN',
  'PUNCT',
  'SCONJ',
  'SYM',
  'VERB',
  'X',
)
_COLUMNS = 10
# 3, or 3-4 for words that are written as one, or 3.1 for an empty node.
_ID = re.compile(r'(\d+)(?:([-.])(\d+))?')
_BEGINS = re.compile(r'#\s*new(doc|par)\b')


class Word(NamedTuple):
  """A word as written: its letters, part of speech ('' for none), and the gap after it."""

  form: str
  tag: str
  gap: str


@dataclasses.dataclass(frozen=True)
class Treebank:
  """Files in CoNLL-U, also compressed or in archives, in the sorted order of their paths."""

  spec: str
  name: str
  pattern: str

  def inputs(self) -> list[tuple[str, int, str]]:
    """Returns [(path, bytes, digest)] of the files, as `sources.Text.inputs` does."""
    return [files.described(path) for path in files.find(self.pattern, 'conllu')]

  def documents(self, data: Any, counts: clean.Counts, skipped: Any) -> Iterator[str]:
    """Yields each document's text; arguments as for `sources.Text.documents`."""
    for text, _ in self.annotated(data, counts, skipped):
      yield text

  def annotated(
    self, data: Any, counts: clean.Counts, skipped: Any
  ) -> Iterator[tuple[str, list[Word]]]:
    """Yields (text, its Words) of each document, not yet cleaned; arguments as for `documents`.

    Raises:
      UserError: a line is not CoNLL-U, or its part of speech is not one of the 17.
    """
    del data
    skipped.links.extend(files.not_files(self.pattern))
    alone = files.is_named(self.pattern)
    for path in files.find(self.pattern, 'conllu'):
      for name, chunks in unpacking.texts(path, skipped, alone):
        for words in _documents(split.short_lines(clean.decode(chunks, counts), name), name):
          # The gap after the last word is not text: no word follows it.
          yield (
            ''.join(word.form + word.gap for word in words)[: -1 if words[-1].gap else None],
            words,
          )


def _documents(lines, name):
  """Yields the Words of each document of a file, given as (where it is, line)."""
  words, sentence = [], []
  # One blank line more: the last sentence of a file may lack that which ends it.
  for where, line in itertools.chain(lines, [(name, '')]):
    if line.startswith('#'):
      begins = _BEGINS.match(line)
      if begins and sentence:
        raise _none(where, 'a blank line must end the sentence before it')
      if begins and words:
        words[-1] = words[-1]._replace(gap='\n')
        if begins[1] == 'doc':
          yield words
          words = []
    elif line.strip():
      sentence.append((where, line))
    else:
      words += sentence_words(sentence)
      sentence = []
  if words:
    yield words


def sentence_words(lines: Iterable[tuple[str, str]], tags: str = 'upos') -> list[Word]:
  """Returns the Words of a sentence.

  Args:
    lines: (where it is, line) of each, comments left out.
    tags: `upos`, or `xpos` for the language's own parts of speech.

  Raises:
    UserError: a line is not CoNLL-U, or its universal part of speech is not one of the 17.
  """
  lines = list(lines)
  words = []
  last, node = 0, 0  # numbers of the last word, and of the last empty node after it
  # Of words written as one: the number of the last, and (form, gap) until the first is met.
  covered, written = 0, None
  for where, line in lines:
    columns = line.split('\t')
    number = _ID.fullmatch(columns[0])
    if len(columns) != _COLUMNS or not number or not columns[1]:
      raise _none(
        where,
        f'it must have {_COLUMNS} columns parted by tabs, the first a number such as 3, 3-4 '
        'or 3.1, the second a word',
      )
    first, mark, second = int(number[1]), number[2], int(number[3] or 0)
    if mark == '.':
      follows, node = (first, second) == (last, node + 1), second
    elif mark == '-':
      follows = covered < first == last + 1 and second >= first
    else:
      follows = first == last + 1
    if not follows:
      raise _none(where, f'{columns[0]} is out of order, word {last + 1} of its sentence is next')
    here = columns[1], '' if 'SpaceAfter=No' in columns[9].split('|') else ' '
    if mark == '-':
      covered, written = second, here
    elif not mark:
      # Of words written as one, the first takes all the letters and the others give no Word.
      if written or first > covered:
        form, gap = written or here
        tag = (
          _tag(columns[3], where)
          if tags == 'upos'
          else columns[4].removeprefix('_' if columns[4] == '_' else '')
        )
        words.append(Word(form, tag, gap))
      last, node, written = first, 0, None
  if last < covered:
    raise _none(lines[-1][0], f'word {last + 1} of its sentence is missing')
  return words


def _none(where, why):
  return config.UserError(f'{where} is not CoNLL-U: {why}')


def _tag(tag, where):
  if tag != '_' and tag not in UPOS:
    raise config.UserError(
      f'{where}: {tag!r} is none of the 17 universal parts of speech '
      f'({", ".join(UPOS)}); correct it, or write _ for none'
    )
  return tag.replace('_', '')


def carried(words: Sequence[Word], data: Any) -> list[tuple[int, str]]:
  """Returns [(characters, tag)]: how long each word is after cleaning, white space not counted.

  Where cleaning joins the letters of two words that no space parts, as it does when the
  second begins with a mark that composes, they are one word, of the first one's tag.
  """
  cleaned = lambda text: ''.join(clean.normalize(text, data).split())
  made = []  # [as written, cleaned, tag]
  gap = ' '
  for word in words:
    form = cleaned(word.form)
    # Joined only where composing is possible: without a gap, and never with an ASCII letter.
    both = ''
    if made and not gap and not (form and word.form.isascii()):
      both = cleaned(made[-1][0] + word.form)
    if both and (both != made[-1][1] + form or not form or unicodedata.category(form[0])[0] == 'M'):
      made[-1] = [made[-1][0] + word.form, both, made[-1][2]]
    else:
      made.append([word.form, form, word.tag])
    gap = word.gap
  return [(len(form), tag) for _, form, tag in made]
