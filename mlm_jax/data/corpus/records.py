"""From one file to its documents: records with a text in a field, or plain text."""

from collections.abc import Iterable
from collections.abc import Iterator
import json
import os
import re
from typing import Any

from mlm_jax.data.corpus import clean
from mlm_jax.data.corpus import compression
from mlm_jax.data.corpus import files
from mlm_jax.data.corpus import json_values
from mlm_jax.data.corpus import split
from mlm_jax.data.corpus import streams
from mlm_jax.data.corpus import unpacking
from mlm_jax.data.corpus.formats import arrow

_HEAD = 1 << 16  # bytes by which it is judged what a file is


def documents(
  path: str,
  field: str,
  data: Any,
  counts: clean.Counts,
  skipped: Any,
  alone: bool = False,
) -> Iterator[str]:
  """Yields each document of a file, not yet cleaned.

  A table (Parquet, Arrow) gives the texts of one column, JSON those of one field, any other
  file its whole text. What it is, its bytes tell; what is JSON, its ending does, or its first
  line where it has none.

  Args:
    path: of the file.
    field: the column or field.
    data: `config.data`, with the rule by which a text is cut into documents.
    counts: clean.Counts; takes the bytes that were not UTF-8.
    skipped: sources.Skipped; takes the files and records that were left out.
    alone: whether the user named this very file: then nothing is skipped.

  Raises:
    UserError: the file cannot be read or is damaged, or has no such column or field.
  """
  with files.unchanged(path):
    # As it lies there, a table need not be read from front to back.
    read = arrow.reader(path, _first_bytes(path))
    if read:
      yield from cut(read(path, field), data, counts, skipped)
      return
    for name, chunks in unpacking.texts(path, skipped, alone):
      head, chunks = streams.peek(chunks, _HEAD)
      # Packed: Parquet has its index at the end.
      read = arrow.reader(compression.stem(name), head)
      if read:
        with unpacking.spooled(name, chunks) as place:
          yield from cut(read(place, field, name), data, counts, skipped)
        continue
      decoded = clean.decode(chunks, counts)
      if is_json(name, head, field):
        values = json_values.values(decoded, name, field, ending(name) == '.json')
        yield from cut(values, data, counts, skipped)
      else:
        yield from split.short(split.documents(decoded, data), data, name, counts)


def _first_bytes(path):
  try:
    with open(path, 'rb') as file:
      return file.read(_HEAD)
  except OSError as error:
    raise files.unreadable(path, error) from None


def cut(
  values: Iterable[tuple[str, Any]], data: Any, counts: clean.Counts, skipped: Any
) -> Iterator[str]:
  """Yields the documents in (where it is, value) pairs; a value that is not text is counted.

  A value is a str, or bytes of UTF-8; arguments else as for `documents`.
  """
  for where, value in values:
    if isinstance(value, bytes):  # each byte that is not UTF-8 becomes a surrogate, counted below
      value = value.decode('utf-8', 'surrogateescape')
    if not isinstance(value, str):
      skipped.record(where)
      continue
    text, bad = clean.replace_surrogates(value)
    if bad:
      counts.add('decoding', bad)
    # Line ends as `clean.decode` has them for files.
    text = text.replace('\r\n', '\n').replace('\r', '\n')
    yield from split.short(split.documents([text], data), data, where, counts)


def ending(name: str) -> str:
  """Returns the ending of a name in small letters, without those of compression, or ''."""
  member = re.split('[/:]', compression.stem(name))[-1]
  return os.path.splitext(member)[1].lower()


def is_json(name: str, head: bytes, field: str) -> bool:
  """Whether a file holds JSON: by its ending; one without, by the first line and its field."""
  if ending(name):
    return ending(name) in ('.jsonl', '.ndjson', '.json')
  try:
    record = json.loads(head.partition(b'\n')[0])
  except (ValueError, RecursionError):
    return False
  return isinstance(record, dict) and isinstance(record.get(field), str)
