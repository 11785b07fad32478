"""Classes of words, such as parts of speech: what `config.data.classes` says.

  conllu            the universal parts of speech of a treebank (every source is conllu:GLOB)
  module:function   your own: function(text) -> [(begin, end, class name), ...]

`function` is given each document as it is after cleaning, once, and returns which characters
make up which words; what it leaves out has no class. It is imported as Python does, from the
working directory too. The manifest keeps its source: data that is used again after the function
has been changed is as it was, and a line says so.

A token has the class of the word that holds its first character that is not a space; tokens of
spaces alone go with what follows them.
"""

import hashlib
import numbers
import os
from typing import Any

import numpy as np

from mlm_jax import config
from mlm_jax.core import files
from mlm_jax.data.annotations import column
from mlm_jax.data.corpus.formats import conllu

MOST = 254  # names: a class is a byte, 0 is none


class _Numbered(column.OfDocuments):
  """Numbers the names of classes as they are met, from 1; rows have the numbers of sorted names."""

  def __init__(self, names=()):
    self._numbers = {name: number for number, name in enumerate(names, 1)}

  def number(self, name: str) -> int:
    """Returns the number of a name, KeyError for one too many."""
    if name not in self._numbers:
      if len(self._numbers) == MOST:
        raise KeyError(name)
      self._numbers[name] = len(self._numbers) + 1
    return self._numbers[name]

  @property
  def names(self) -> tuple[str, ...]:
    """The names, sorted: class i + 1 is names[i]."""
    return tuple(sorted(self._numbers))

  @property
  def sorted_from(self):
    """uint8 [256]: the class of each number."""
    # Names are numbered as they are met, which depends on the order of reading; sorted they do not.
    classes = np.zeros(MOST + 2, np.uint8)
    for place, name in enumerate(self.names, 1):
      classes[self._numbers[name]] = place
    return classes

  def settled(self, values: np.ndarray) -> np.ndarray:
    return self.sorted_from[values]

  def described(self) -> dict:
    return {'classes': self.names}

  def counted(self, values_RX: np.ndarray) -> dict[str, int]:
    counts = np.bincount(values_RX.reshape(-1), minlength=len(self.names) + 1)
    return dict(zip(self.names, counts[1:].tolist()))


class FromTreebank(_Numbered):
  """The parts of speech of a treebank's words; takes `config.data`."""

  is_from_source = True

  def __init__(self, data: Any):
    super().__init__(conllu.UPOS)
    self._data = data

  def values(self, text: str, words: Any = None) -> np.ndarray:
    """Returns uint8 [characters], the number of each one's class.

    Args:
      text: a document as it is after cleaning.
      words: its conllu.Words.
    """
    lengths, tags = zip(*conllu.carried(words, self._data))
    written_C = np.array([not character.isspace() for character in text])
    if sum(lengths) != written_C.sum():
      raise config.UserError(
        f'the document that begins {text[:40]!r}: cleaning changes its words in a way '
        'that their classes cannot follow; set config.data.unicode to none'
      )
    numbers_C = np.zeros(len(text), np.uint8)
    # Word after word, over the characters that are not white space: their numbers agree.
    numbers_C[written_C] = np.repeat([self._numbers.get(tag, 0) for tag in tags], lengths)
    return numbers_C


class FromFunction(_Numbered):
  """What a function of the user's says; takes config.data.classes.

  Raises:
    UserError: it cannot be imported; in `values`, it fails or returns no such list.
  """

  is_from_source = False

  def __init__(self, spec: str):
    super().__init__()
    self._setting, self._module = f'config.data.classes = {spec!r}', spec.partition(':')[0]
    self._function = config.imported('data.classes', spec)
    if not callable(self._function):
      raise self._wrong(f'is not a function, but {self._function!r}'[:200])

  def values(self, text: str, words: Any = None) -> np.ndarray:
    """Returns uint8 [characters]; as for `FromTreebank`."""
    del words
    where = f'for the document that begins {text[:40]!r}'
    try:
      spans = [(begin, end, name) for begin, end, name in self._function(text)]
    except Exception as error:
      raise self._wrong(
        f'must return (begin, end, class name) of each word; {where}: {config.error_text(error)}'
      ) from error
    numbers_C = np.zeros(len(text), np.uint8)
    for span in spans:
      # Whatever the user's function returns is checked: a wrong span would be stored silently.
      begin, end, name = span
      is_whole = all(isinstance(each, numbers.Integral) for each in (begin, end))
      if not is_whole or not 0 <= begin < end <= len(text):
        raise self._wrong(
          f'returned {span!r} {where}: begin and end must be whole numbers, '
          f'0 <= begin < end <= {len(text):,}, its length'
        )
      if type(name) is not str or not name:
        raise self._wrong(f'returned {span!r} {where}: the name of a class must be a text')
      if numbers_C[begin:end].any():  # 0 is no class, so these characters have one already
        raise self._wrong(f'returned {span!r} {where}, which overlaps another')
      try:
        numbers_C[begin:end] = self.number(name)
      except KeyError:
        raise self._wrong(f'gives more than {MOST} classes, the last of them {name!r}') from None
    return numbers_C

  def described(self) -> dict:
    path = config.source(self._module)
    content = path.read_bytes() if path else b''  # such as one that was typed into a shell
    return super().described() | {
      'code': {
        'module': self._module,
        'sha256': hashlib.sha256(content).hexdigest(),
        'source': content.decode(errors='replace'),
      }
    }

  def _wrong(self, what):
    return config.UserError(f'{self._setting} {what}')


def changed(manifest: dict, directory: str | os.PathLike[str]) -> str:
  """Returns a line where prepared data has classes of another function than is here now, or ''."""
  code = manifest.get('code', {})
  path = config.source(code['module']) if code else None
  if path is None or files.sha256(path) == code['sha256']:
    return ''
  return (
    f'data: warning: {path} is not the code that gave {directory} its classes of words, which is '
    'in its manifest.json; give another config.data.prepared to prepare them again'
  )


def make(data: Any, sources: Any) -> FromTreebank | FromFunction:
  """Returns what gives the classes that `config.data` asks for.

  Raises:
    UserError: classes that must come from a treebank where a source is not one, or a function
      that is not there.
  """
  if data.classes != 'conllu':
    if not all(data.classes.partition(':')):
      raise config.UserError(
        f'config.data.classes = {data.classes!r}: must be conllu, module:function, or empty'
      )
    return FromFunction(data.classes)
  for source in sources:
    if not isinstance(source, conllu.Treebank):
      raise config.UserError(
        f"config.data.classes = 'conllu': {source.spec} has no parts of speech; let "
        'every source be conllu:GLOB, or give module:function'
      )
  return FromTreebank(data)
