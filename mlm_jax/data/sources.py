"""Sources of documents: what `config.data.source` names, read as streams of text."""

import dataclasses
import json
import re

from mlm_jax import config
from mlm_jax.data import clean
from mlm_jax.data import files
from mlm_jax.data import pydocs
from mlm_jax.data import split

_HEAD = 1 << 16  # bytes by which a file is judged to be text or not
_RESERVED = 'tokenizer'  # what else stands beside the sources' folders
_JSON = re.compile(r'\.(jsonl|ndjson|json)(\.(gz|xz|zst))?$', re.IGNORECASE)


@dataclasses.dataclass
class Skipped:
  """What a source left out before cleaning.

  Attributes:
    files: names of files that are mostly not text.
    archives: names of archives inside archives, and of those of a kind that is not read.
    links: names of links in an archive or to nothing, and of what else is no file.
    records: .jsonl lines that are no JSON object with a text in the field.
    first_record: where the first of those stands, or ''.
    packages: pydocs: names of packages that are not installed.
  """

  files: list = dataclasses.field(default_factory=list)
  archives: list = dataclasses.field(default_factory=list)
  links: list = dataclasses.field(default_factory=list)
  records: int = 0
  first_record: str = ''
  packages: list = dataclasses.field(default_factory=list)

  def record(self, where):
    self.records += 1
    self.first_record = self.first_record or where


def parse(data):
  """Returns the sources that `config.data.source` names, in its order.

  Raises:
    UserError: an unknown kind of source, or weights or a regular expression that do
      not work.
  """
  split.pattern(data)
  specs = [each.strip() for each in re.split(r',(?=\s*(?:text:|pydocs\s*(?:,|$)))', data.source)]
  made, names = [], {_RESERVED}
  for spec in specs:
    if spec == 'pydocs':
      source = PyDocs(spec, _unused('pydocs', names))
    elif spec.startswith('text:') and spec != 'text:':
      pattern = spec.removeprefix('text:')
      source = Text(spec, _unused(_stem(pattern), names), pattern)
    else:
      raise config.UserError(f"config.data.source = {data.source!r}: {spec!r} is no source; "
                             'write text:GLOB or pydocs, several joined by commas')
    made.append(source)
  if data.weights:
    check_weights(data.weights, len(made))
  return made


def check_weights(weights, sources):
  """Raises UserError for weights that are not positive numbers, one for each source."""
  if len(weights) != sources:
    raise config.UserError(f'config.data.weights = {tuple(weights)}: must be one for each of the '
                           f'{sources} sources, or () for shares by size')
  if not all(config.is_number(weight) and weight > 0 for weight in weights):
    raise config.UserError(f'config.data.weights = {tuple(weights)}: must all be numbers above 0')


def _stem(pattern):
  """Returns a folder name that reminds of a glob."""
  names = [re.sub(r'[^\w-]+', '_', part.split('.')[0]).strip('_') for part in pattern.split('/')]
  return next((name for name in reversed(names) if name), 'text')


def _unused(name, names):
  """Returns the name, numbered where another source has it, and notes it."""
  free = next(each for each in [name] + [f'{name}_{i}' for i in range(2, len(names) + 3)]
              if each not in names)
  names.add(free)
  return free


@dataclasses.dataclass(frozen=True)
class Text:
  """Files of text: .jsonl (or .ndjson) as records, any other as plain text.

  Each may be compressed (.gz, .xz, .zst) or in an archive (.tar, also compressed).
  Documents come in the sorted order of the paths, in an archive in its own order.
  """
  spec: str
  name: str
  pattern: str

  def inputs(self):
    """Returns [(path, bytes, digest)] of the files, see `files.described`.

    Raises:
      UserError: there are none, or one cannot be read.
    """
    found = files.find(self.pattern)
    for path in found:
      _is_records(path)  # refuses .json before anything is read
    return [files.described(path) for path in found]

  def documents(self, data, counts, skipped):
    """Yields each document's text, as yet uncleaned.

    Args:
      data: `config.data`.
      counts: clean.Counts; takes the bytes that were not UTF-8.
      skipped: Skipped; takes the files and records that were left out.
    """
    skipped.links.extend(files.not_files(self.pattern))
    for path in files.find(self.pattern):
      for name, chunks in files.texts(path, skipped):
        head, chunks = files.peek(chunks, _HEAD)
        if not clean.is_text(head):
          skipped.files.append(name)
          continue
        decoded = clean.decode(chunks, counts)
        if _is_records(name):
          for record in _records(decoded, name, data.field, counts, skipped):
            yield from split.documents([record], data)
        else:
          yield from split.documents(decoded, data)


def _is_records(name):
  """Whether a file holds a JSON object a line; UserError for .json, which may hold anything."""
  match = _JSON.search(name)
  if match and match.group(1).lower() == 'json':
    raise config.UserError(f'{name}: .json is not read, since it may be one object or many; write one '
                           'object a line and name the file .jsonl')
  return bool(match)


def _records(chunks, name, field, counts, skipped):
  """Yields the text in one field of each line's JSON object.

  Raises:
    UserError: the file's first object lacks the field: it is misnamed.
  """
  seen = False
  for number, line in enumerate(split.lines(chunks), 1):
    if not line.strip():
      continue
    try:
      record = json.loads(line)
    except (ValueError, RecursionError):
      record = None
    if isinstance(record, dict) and not seen:
      seen = True
      if field not in record:
        raise config.UserError(
            f'{name} line {number} has no field {field!r}; ' + (
                f'set config.data.field to one of: {", ".join(sorted(record))}' if record else
                'it is an empty object: write texts there, or remove the line'))
    if not isinstance(record, dict) or not isinstance(record.get(field), str):
      skipped.record(f'{name} line {number}')
      continue
    text, bad = clean.replace_surrogates(record[field])
    if bad:
      counts.add('decoding', bad)
    yield text.replace('\r\n', '\n').replace('\r', '\n')


@dataclasses.dataclass(frozen=True)
class PyDocs:
  """The built-in corpus; see `pydocs`. A splitting rule does not apply to it."""
  spec: str
  name: str

  def inputs(self):
    """Returns []: what is installed belongs to the machine, not to the user's files."""
    return []

  def documents(self, data, counts, skipped):
    """Yields each document's text; arguments as for `Text.documents`."""
    del data, counts
    texts, absent = pydocs.read()
    skipped.packages.extend(absent)
    yield from texts
