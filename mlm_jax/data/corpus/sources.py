"""Sources of documents: what `config.data.source` names, read as streams of text."""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import re
from typing import Any

from mlm_jax import config
from mlm_jax.data.corpus import clean
from mlm_jax.data.corpus import files
from mlm_jax.data.corpus import records
from mlm_jax.data.corpus import split
from mlm_jax.data.corpus.formats import conllu
from mlm_jax.data.corpus.formats import huggingface
from mlm_jax.data.corpus.formats import pydocs
from mlm_jax.data.corpus.formats import synthetic
from mlm_jax.data.corpus.formats import tfds

_RESERVED = 'tokenizer'  # another folder beside those of the sources


@dataclasses.dataclass
class Skipped:
  """What a source left out before cleaning.

  Attributes:
    files: names of files that are mostly not text.
    archives: names of archives inside archives that are of a kind that is not read.
    links: names of links in an archive or to nothing, and of what else is not a file.
    records: those with no text in the field or column, such as .jsonl lines that are not an object.
    first_record: where the first of those is, or ''.
    packages: pydocs: names of packages that are not installed.
  """

  files: list = dataclasses.field(default_factory=list)
  archives: list = dataclasses.field(default_factory=list)
  links: list = dataclasses.field(default_factory=list)
  records: int = 0
  first_record: str = ''
  packages: list = dataclasses.field(default_factory=list)

  def record(self, where: str) -> None:
    self.records += 1
    self.first_record = self.first_record or where


def parse(data: Any) -> list[Any]:
  """Returns the sources that `config.data.source` names, in its order; nothing is read yet.

  A source is KIND:ARGUMENT, as _KINDS lists them. A comma separates two sources where a
  kind follows it, so that a path may have commas.

  Raises:
    UserError: an unknown kind of source, or weights or a regular expression that do
      not work.
  """
  split.pattern(data)  # for its error, before anything is read
  made, names = [], {_RESERVED}
  for spec in _BETWEEN.split(data.source):
    kind, _, argument = spec.strip().partition(':')
    # A kind without its argument, or with one that it does not take.
    if kind not in _KINDS or bool(argument) != (':' in _KINDS[kind][0]):
      raise config.UserError(
        f'config.data.source = {data.source!r}: {spec.strip()!r} is not a source; '
        f'write {_FORMS}, several joined by commas'
      )
    source = _KINDS[kind][1](spec.strip(), argument)
    made.append(dataclasses.replace(source, name=_unused(source.name, names)))
  if data.weights:
    check_weights(data.weights, len(made))
  return made


def check_weights(weights: Sequence[float], sources: int) -> None:
  """Raises UserError for weights that are not shares, one for each source."""
  if len(weights) != sources:
    raise config.UserError(
      f'config.data.weights = {tuple(weights)}: must be one for each of the '
      f'{sources} sources, or () for shares by size'
    )
  if not all(config.is_number(weight) and weight >= 0 for weight in weights) or not any(weights):
    raise config.UserError(
      f'config.data.weights = {tuple(weights)}: must be numbers from 0 on, not all 0'
    )


def _stem(pattern):
  """Returns a folder name made from the last telling part of a glob."""
  names = [re.sub(r'[^\w-]+', '_', part.split('.')[0]).strip('_') for part in pattern.split('/')]
  return next((name for name in reversed(names) if name), 'text')


def _unused(name, names):
  """Returns the name, numbered where another source has it, and notes it."""
  # Of as many numbers as there are names one is free.
  free = next(
    each for each in [name] + [f'{name}_{i}' for i in range(2, len(names) + 3)] if each not in names
  )
  names.add(free)
  return free


@dataclasses.dataclass(frozen=True)
class Text:
  """Files of text: JSON, Parquet and Arrow as records, any other as plain text.

  They may be compressed (gzip, bzip2, xz, lzma, zstd) or in archives (tar, zip), in any order
  and depth; see `unpacking`. Documents come in the sorted order of the paths, in an archive in
  its own order.
  """

  spec: str
  name: str
  pattern: str

  def inputs(self) -> list[tuple[str, int, str]]:
    """Returns [(path, bytes, digest)] of the files, see `files.described`.

    Raises:
      UserError: there are none, or one cannot be read.
    """
    return [files.described(path) for path in files.find(self.pattern)]

  def documents(self, data: Any, counts: clean.Counts, skipped: Any) -> Iterator[str]:
    """Yields each document's text, not yet cleaned.

    Args:
      data: `config.data`.
      counts: clean.Counts; takes the bytes that were not UTF-8.
      skipped: Skipped; takes the files and records that were left out.
    """
    skipped.links.extend(files.not_files(self.pattern))
    alone = files.is_named(self.pattern)
    for path in files.find(self.pattern):
      yield from records.documents(path, data.field, data, counts, skipped, alone)


@dataclasses.dataclass(frozen=True)
class PyDocs:
  """The built-in corpus; see `pydocs`. A splitting rule does not apply to it."""

  spec: str
  name: str

  def inputs(self) -> list:
    """Returns []: what is installed belongs to the machine, not to the user's files."""
    return []

  def documents(self, data: Any, counts: clean.Counts, skipped: Any) -> Iterator[str]:
    """Yields each document's text; arguments as for `Text.documents`."""
    del data, counts
    texts, absent = pydocs.read()
    skipped.packages.extend(absent)
    yield from texts


# Each kind: how it is written, and what makes it of (spec, argument). A source has a
# `name`, the folder name that it would like, `inputs` and `documents`.
_KINDS = {
  'text': ('text:GLOB', lambda spec, glob: Text(spec, _stem(glob), glob)),
  'conllu': ('conllu:GLOB', lambda spec, glob: conllu.Treebank(spec, _stem(glob), glob)),
  'tfds': ('tfds:NAME', tfds.make),
  'hf': ('hf:FOLDER', huggingface.make),
  'pydocs': ('pydocs', lambda spec, _: PyDocs(spec, 'pydocs')),
  'synthetic': (synthetic.FORM, lambda spec, _: synthetic.parse(spec)),
}
_FORMS = ', '.join(form for form, _ in _KINDS.values())
# A comma is looked at together with what follows it, but only the comma is taken away.
_BETWEEN = re.compile(
  r',(?=\s*(?:'
  + '|'.join(
    f'{kind}:' if ':' in form else rf'{kind}\s*(?:,|$)' for kind, (form, _) in _KINDS.items()
  )
  + '))'
)
