"""From one file to its documents: records with a text in a field, or plain text."""

from collections.abc import Iterable
from collections.abc import Iterator
import json
import re
from typing import Any

from mlm_jax import config
from mlm_jax.data.corpus import clean
from mlm_jax.data.corpus import split
from mlm_jax.data.corpus import streams
from mlm_jax.data.corpus.formats import arrow

_JSON = re.compile(r'\.(jsonl|ndjson|json)$', re.IGNORECASE)


def documents(
  path: str, field: str, data: Any, counts: clean.Counts, skipped: Any
) -> Iterator[str]:
  """Yields each document of a file, not yet cleaned.

  A .parquet or .arrow file gives the texts of one column, .jsonl or .ndjson those of one
  field, any other its whole text; compressed and in archives likewise, see `streams`.

  Args:
    path: of the file.
    field: the column or field.
    data: `config.data`, with the rule by which a text is cut into documents.
    counts: clean.Counts; takes the bytes that were not UTF-8.
    skipped: sources.Skipped; takes the files and records that were left out.

  Raises:
    UserError: the file cannot be read or is damaged, or has no such column or field.
  """
  if read := arrow.reader(path, streams.beginning(path)):
    yield from cut(read(path, field, path), data, counts, skipped)
    return
  for name, chunks in streams.texts(path, skipped):
    head, chunks = streams.peek(chunks, streams.HEAD)
    if read := arrow.reader(streams.bare(name), head):
      # Packed: Parquet has its index at the end, so that it cannot be read as a stream.
      with streams.on_disk(chunks) as file:
        yield from cut(read(file.name, field, name), data, counts, skipped)
      continue
    if not clean.is_text(head):
      skipped.files.append(name)
      continue
    decoded = clean.decode(chunks, counts)
    if is_json(name):
      yield from cut(_json_values(decoded, name, field), data, counts, skipped)
    else:
      yield from split.documents(decoded, data, name)


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
    yield from split.documents([text.replace('\r\n', '\n').replace('\r', '\n')], data, where)


def is_json(name: str) -> bool:
  """Whether a file holds a JSON object a line; UserError for .json, which may hold anything."""
  match = _JSON.search(streams.bare(name))
  if match and match.group(1).lower() == 'json':
    raise config.UserError(
      f'{name}: .json is not read, since it may be one object or many; write one '
      'object a line and name the file .jsonl'
    )
  return bool(match)


def _json_values(chunks, name, field):
  """Yields (where it is, value of the field) of each line; None where there is none.

  Raises:
    UserError: the file's first object lacks the field: it is misnamed.
  """
  seen = False
  for number, line in enumerate(split.lines(chunks, name), 1):
    if not line.strip():
      continue
    try:
      record = json.loads(line)
    except (ValueError, RecursionError):  # not JSON, or nested too deeply
      record = None
    # Of the first object only: a later one without the field is counted as skipped.
    if isinstance(record, dict) and not seen:
      seen = True
      if field not in record:
        raise config.UserError(
          f'{name} line {number} has no field {field!r}; '
          + (
            f'set config.data.field to one of: {", ".join(sorted(record))}'
            if record
            else 'it is an empty object: write texts there, or remove the line'
          )
        )
    yield f'{name} line {number}', record.get(field) if isinstance(record, dict) else None
