"""The texts of a file through a run, into a file of their vectors."""

from collections.abc import Iterator
import itertools
import pathlib
from typing import Any

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.data.examples import tables
from mlm_jax.inference import opening
from mlm_jax.inference import outputs

_TOGETHER = 4096  # texts that are in memory with their vectors
_COLUMN, _LINES = 'text', '.txt'


def run(
  workdir: str,
  source: str,
  output: str,
  text: str | None = None,
  step: int | None = None,
  **choices: Any,
) -> tuple[int, int]:
  """Writes the vector of each text of a file, in its order; returns their number and their width.

  Args:
    workdir: the run's folder.
    source: .txt, a text a line, or a table, see data.examples.tables.
    output: .npy, float32 [n, D], or .parquet, with a column `embedding`.
    text: column of the text; None for the one that the run was trained on, else `text`.
    step: of the checkpoint; None for the run's model.
    **choices: see EncoderRun.embed: pooling, prompt and too_long.

  Raises:
    UserError: no run there, a file that cannot be read or written, or a record without a text; the
      output is left as it was.
  """
  write = _WRITERS[outputs.check_kind(output, tuple(_WRITERS))]
  if pathlib.Path(source).suffix.lower() not in (_LINES, *tables.KINDS):
    raise config_lib.UserError(
      f'{source}: must be a file of the kinds {", ".join((_LINES, *tables.KINDS))}'
    )
  opened = opening.open_run(workdir, step)
  column = text or (opened.config.task.text if 'task' in opened.config else _COLUMN)
  left = _texts(source, column)
  parts = iter(lambda: list(itertools.islice(left, _TOGETHER)), [])
  vectors = (opened.embed(part, **choices) for part in parts)
  if (first := next(vectors, None)) is None:
    raise config_lib.UserError(f'{source} holds no text')
  width = first.shape[1]
  with outputs.whole(output) as partial:
    return write(partial, width, itertools.chain([first], vectors)), width


def _texts(source: str, column: str) -> Iterator[str]:
  """Yields the texts of a file; UserError for what is none."""
  is_lines = pathlib.Path(source).suffix.lower() == _LINES
  for line, text in _lines(source) if is_lines else _fields(source, column):
    if not isinstance(text, str) or not text.strip():
      shown = config_lib.one_line(repr(text), 40)
      raise config_lib.UserError(
        f'{source} line {line}: its text is {shown}, and must not be empty'
      )
    yield text


def _fields(source: str, column: str) -> Iterator[tuple[int, Any]]:
  for record in tables.read(source, [column]):
    yield record.line, record.values[column]


def _lines(source: str) -> Iterator[tuple[int, str]]:
  """Yields (number from 1, line); blank lines at the end are no texts."""
  config_lib.check_file(source)  # a pipe would be waited for
  blank = []
  try:
    with open(source, encoding='utf-8-sig') as file:
      for number, line in enumerate(file, 1):
        blank.append((number, line.rstrip('\n')))
        if line.strip():
          yield from blank
          blank = []
  except UnicodeDecodeError as error:
    raise config_lib.UserError(
      f'{source} is not UTF-8 text: {config_lib.one_line(error)}'
    ) from None
  except OSError as error:
    raise config_lib.UserError(f'cannot read {source}: {error.strerror}') from None


def _write_npy(path: pathlib.Path, width: int, parts: Iterator[np.ndarray]) -> int:
  number = 0
  head = lambda: {'descr': '<f4', 'fortran_order': False, 'shape': (number, width)}
  with path.open('wb') as file:
    np.lib.format.write_array_header_1_0(file, head())
    begin = file.tell()
    for part in parts:
      file.write(part.astype('<f4').tobytes())
      number += len(part)
    # Now it is known how many there are, for which NumPy leaves room in the header.
    file.seek(0)
    np.lib.format.write_array_header_1_0(file, head())
    assert file.tell() == begin
  return number


def _write_parquet(path: pathlib.Path, width: int, parts: Iterator[np.ndarray]) -> int:
  import pyarrow
  from pyarrow import parquet

  number, kind = 0, pyarrow.list_(pyarrow.float32(), width)
  schema = pyarrow.schema([('embedding', kind)])
  with parquet.ParquetWriter(path, schema) as writer:
    for part in parts:
      flat = pyarrow.array(part.reshape(-1), pyarrow.float32())
      array = pyarrow.FixedSizeListArray.from_arrays(flat, width)
      writer.write_table(pyarrow.table([array], schema=schema))
      number += len(part)
  return number


_WRITERS = {'.npy': _write_npy, '.parquet': _write_parquet}
