"""Columns of text in Parquet and Arrow files, a batch of rows at a time.

An .arrow file is a stream, as Hugging Face writes it, or has the file format of Arrow.

Text comes as bytes: to decode it, and to count what is not UTF-8, is the reader's part.
pyarrow is imported when a file is read, since it takes a while.
"""

from collections.abc import Callable
from collections.abc import Iterator
import os
from typing import Any

from mlm_jax import config
from mlm_jax.data.corpus.formats import parquet_pages

# Bytes of a page, which pyarrow unpacks as a whole, in 2.4 times the memory. 1 MiB is usual; but
# those that it writes itself have 1,024 rows at least, which may be books.
_PAGE = 1 << 30
_ROWS = 256  # of a Parquet file, in memory at a time with their texts
_BATCH = 1 << 28  # bytes that its texts may have at most
_LARGE = 1 << 29  # bytes of a column in a row group
_RATIO = 100  # of those to what they take in the file: text is seldom packed tighter than 10
_PARQUET = b'PAR1'  # with which a Parquet file begins
_STREAM = b'\xff\xff\xff\xff'  # with which a stream of Arrow begins
_FILE = b'ARROW1'  # with which the file format of Arrow begins
_END = b'\xff\xff\xff\xff\x00\x00\x00\x00'  # of an Arrow stream


def reader(name: str, head: bytes) -> Callable[..., Iterator[tuple[str, Any]]] | None:
  """Returns the function (path, column, name) -> values for a table, or None.

  Args:
    name: that of the file, whose ending counts first: damage is then said.
    head: its first bytes.
  """
  by_name = {'.parquet': parquet, '.arrow': batches}.get(os.path.splitext(name)[1].lower())
  by_bytes = {_PARQUET: parquet, _FILE[:4]: batches, _STREAM: batches}.get(head[:4])
  # Four bytes alone may begin a text; a stream's marker cannot.
  if by_bytes and not head.startswith((_PARQUET + b'\x15', _FILE + b'\0', _STREAM)):
    by_bytes = None
  return by_name or by_bytes


def parquet(path: str, column: str, name: str = '') -> Iterator[tuple[str, bytes | None]]:
  """Yields (where it is, bytes or None) of each row of a Parquet file.

  Args:
    path: of the file.
    column: its name.
    name: that of the file in messages, or '' for its path.

  Raises:
    UserError: the file cannot be read or is damaged, or has no such column.
  """
  import pyarrow as pa
  from pyarrow import parquet as pq

  name = name or path
  try:
    with pq.ParquetFile(path, buffer_size=1 << 20) as file:  # so that it need not hold a row group
      _check(name, column, file.schema_arrow.names)
      chunks = _chunks(file.metadata, column)
      _check_ratio(name, column, chunks)
      longest = _check_pages(path, name, column, chunks)
      rows = max(1, min(_ROWS, _BATCH // max(1, longest)))
      yield from _values(name, column, file.iter_batches(rows, columns=[column], use_threads=False))
  except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
    raise _unreadable(name, error) from None


def batches(path: str, column: str, name: str = '') -> Iterator[tuple[str, bytes | None]]:
  """Yields (where it is, bytes or None) of each row of an .arrow file; all else as `parquet`."""
  import pyarrow as pa

  name = name or path
  try:
    with open(path, 'rb') as file:
      is_file = file.read(len(_FILE)) == _FILE
      file.seek(max(0, os.path.getsize(path) - len(_END)))
      if not is_file and file.read() != _END:  # pyarrow takes one cut between two batches for whole
        raise pa.ArrowInvalid('its end is missing')
    open_ = pa.ipc.open_file if is_file else pa.ipc.open_stream
    # Not mapped into memory: a file that is cut meanwhile would end the process.
    with pa.OSFile(path) as file, open_(file) as opened:
      _check(name, column, opened.schema.names)
      yield from _values(
        name,
        column,
        (map(opened.get_batch, range(opened.num_record_batches)) if is_file else opened),
      )
  except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
    raise _unreadable(name, error) from None


def _chunks(metadata, column):
  """Returns the metadata of a column's chunk in each row group."""
  groups = map(metadata.row_group, range(metadata.num_row_groups))
  chunks = (group.column(i) for group in groups for i in range(group.num_columns))
  return [chunk for chunk in chunks if chunk.path_in_schema == column]


def _check_ratio(path, column, chunks):
  """Raises UserError for a row group of which a page, unpacked as a whole, may fill the memory."""
  for number, chunk in enumerate(chunks, 1):
    size, packed = chunk.total_uncompressed_size, chunk.total_compressed_size
    if size > max(_LARGE, _RATIO * packed):
      raise config.UserError(
        f'row group {number} of {path} holds {size:,} bytes of {column!r} in {packed:,}: it is '
        'hardly text; write it in smaller row groups, or leave it out'
      )


def _check_pages(path, name, column, chunks):
  """Returns how many bytes a text may have that many rows name: those of the largest dictionary.

  Raises UserError for a page that is larger than what is unpacked as a whole.
  """
  longest = 0
  with open(path, 'rb') as file:
    for number, chunk in enumerate(chunks, 1):
      for kind, size in parquet_pages.sizes(file, chunk):
        if size > _PAGE:
          raise config.UserError(
            f'row group {number} of {name} has a page of {size:,} bytes of {column!r}; at '
            f'most {_PAGE:,} are read; write it with fewer rows in a row group, or leave it out'
          )
        longest = max(longest, size if kind == parquet_pages.DICTIONARY else 0)
  return longest


def _check(path, column, names):
  if column not in names:
    raise config.UserError(
      f'{path} has no column {column!r}; set config.data.field to one of: {", ".join(names)}'
    )
  if names.count(column) > 1:
    raise config.UserError(
      f'{path} has {names.count(column)} columns {column!r}; rename all but one'
    )


def _values(path, column, batches):
  """Yields (where it is, bytes or None) of one column of record batches."""
  import pyarrow as pa

  views = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
  }
  number = 0
  for batch in batches:
    array = batch.column(column)
    places = None
    if pa.types.is_dictionary(array.type):
      array.validate(full=True)
      # Not decoded: a long text that every row names would be there once a row.
      places, array = array.indices.to_pylist(), array.dictionary
    as_bytes = views.get(array.type)
    if as_bytes:
      array = array.view(as_bytes)
      array.validate(full=True)  # else an altered offset would read outside the file
    for place in range(len(array)) if places is None else places:
      number += 1
      yield f'{path} row {number}', array[place].as_py() if as_bytes and place is not None else None


def _unreadable(path, error):
  if isinstance(error, OSError) and error.errno:
    return config.UserError(f'cannot read {path}: {error.strerror}')
  return config.UserError(
    f'{path} is damaged or cut short ({config.one_line(error)}); fetch it again'
  )
