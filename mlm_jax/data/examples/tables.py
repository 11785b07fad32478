"""Records of the files that examples come in: .csv, .tsv, .jsonl and .parquet."""

from collections.abc import Iterator
from collections.abc import Sequence
import csv
import dataclasses
import io
import pathlib
from typing import Any

from mlm_jax import config

KINDS = ('.csv', '.tsv', '.jsonl', '.parquet')


@dataclasses.dataclass(frozen=True)
class Record:
  """A record of a table.

  Attributes:
    line: where it is, for messages: the line of a text file, or the row of another, from 1.
    values: {column: value}, of the columns that were asked for.
  """

  line: int
  values: dict[str, Any]


def read(path: str, columns: Sequence[str], optional: Sequence[str] = ()) -> Iterator[Record]:
  """Yields the records of a table.

  Where all columns are whole numbers, as '0', a .csv or .tsv file has no header. A .tsv file has
  no quotes: its fields are what is between tabs.

  Args:
    path: of the file.
    columns: those that are wanted.
    optional: of a .jsonl file more of them, which a record may lack: None then.

  Raises:
    UserError: no such file, another kind of file, a column that it has not, or a record that is
      none; names the line.
  """
  kind = pathlib.Path(path).suffix.lower()
  if kind not in KINDS:
    raise config.UserError(f'{path}: must be a file of the kinds {", ".join(KINDS)}')
  config.check_file(path)  # a pipe would be waited for
  if kind == '.parquet':
    yield from _parquet(path, columns)
    return
  try:
    text = config.read_bytes(path).decode('utf-8-sig')
  except UnicodeDecodeError as error:
    raise config.UserError(f'{path} is not UTF-8 text: {config.one_line(error)}') from None
  # A text file that ends in blank lines says no more than one that does not.
  lines = io.StringIO(text.rstrip('\r\n'), newline='')
  if kind == '.jsonl':
    yield from _jsonl(path, lines, columns, optional)
  else:
    yield from _fields(path, lines, '\t' if kind == '.tsv' else ',', columns)


def _fields(path: str, file: io.StringIO, tab: str, columns: Sequence[str]) -> Iterator[Record]:
  """Yields the records of fields with something between them."""
  csv.field_size_limit(1 << 30)  # one text may be long
  quoting = csv.QUOTE_NONE if tab == '\t' else csv.QUOTE_MINIMAL
  reader = csv.reader(file, delimiter=tab, strict=True, quoting=quoting)
  try:
    if all(each.isdigit() for each in columns):
      place, width = {each: int(each) for each in columns}, None
    else:
      names = next(reader, [])
      _check_columns(path, columns, names)
      place, width = {each: names.index(each) for each in columns}, len(names)
    begin = reader.line_num + 1
    for fields in reader:
      width = len(fields) if width is None else width
      if max(place.values()) >= width:
        raise config.UserError(f'{path} has {width} columns, from 0 to {width - 1}')
      if len(fields) != width:
        what = f'{len(fields)} fields' if any(fields) else 'an empty line'
        raise config.UserError(f'{path} line {begin}: {what} in place of {width} fields')
      yield Record(begin, {each: fields[place[each]] for each in columns})
      begin = reader.line_num + 1
  except csv.Error as error:
    raise config.UserError(f'{path} line {reader.line_num}: {error}') from None


def _jsonl(
  path: str, file: io.StringIO, columns: Sequence[str], optional: Sequence[str]
) -> Iterator[Record]:
  for number, line in enumerate(file, 1):
    try:
      record = config.parse_json(line, finite=False)
    except ValueError as error:
      what = 'is an empty line' if not line.strip() else f'is no JSON: {config.one_line(error)}'
      raise config.UserError(f'{path} line {number}: {what}') from None
    if not isinstance(record, dict):
      raise config.UserError(f'{path} line {number}: must be an object, such as {{"text": "..."}}')
    _check_columns(f'{path} line {number}', columns, list(record))
    yield Record(number, {each: record.get(each) for each in (*columns, *optional)})


def _parquet(path: str, columns: Sequence[str]) -> Iterator[Record]:
  import pyarrow
  from pyarrow import parquet

  try:
    file = parquet.ParquetFile(path)
    _check_columns(path, columns, file.schema_arrow.names)
    number = 0
    for batch in file.iter_batches(1024, columns=list(columns)):
      for values in batch.to_pylist():
        number += 1
        yield Record(number, values)
  except (pyarrow.ArrowException, OSError, ValueError) as error:
    raise config.UserError(f'{path} is damaged: {config.one_line(error)}') from None


def _check_columns(where: str, columns: Sequence[str], there: Sequence[str]) -> None:
  for each in columns:
    if each not in there:
      raise config.UserError(
        f'{where}: no column {each!r}; there are {", ".join(map(repr, there)) or "none"}'
      )
