"""Prepared data on disk: a folder of rows, a tokenizer and a manifest.

  manifest.json             settings, inputs, counts, and size and sha256 of each file
  statistics.npz            what was counted over the training rows (see `statistics`)
  tokenizer/tokenizer.model SentencePiece, or a tokenizer.json
  SOURCE/SPLIT/rows.npy     [n, L] uint16, int32 for more than 65,536 pieces
  SOURCE/SPLIT/starts.npy   [n, S] int16, int32 for rows above 32,767: segment starts, or -1
  SOURCE/SPLIT/COLUMN.npy   each column that the settings ask for (see `annotations`), [n, L] or
                            [n, S], bool as bits

with config.data.collocations

  tokenizer/collocations.npz the vocabulary of collocations (see `collocations`)

It is built beside its place and renamed into it, the manifest written last: a folder
with a manifest is whole.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any
from typing import Protocol

import numpy as np

from mlm_jax import config
from mlm_jax.core import files
from mlm_jax.core import vocabulary
from mlm_jax.data import annotations
from mlm_jax.data import statistics as statistics_lib
from mlm_jax.data import tokenizers
from mlm_jax.data.annotations import collocations as collocations_lib
from mlm_jax.data.annotations import column as column_lib
from mlm_jax.data.corpus import duplicates

VERSION = 5  # of the format: data of another version is refused, not converted
SPLITS = duplicates.SPLITS
MANIFEST = 'manifest.json'
TOKENIZER = config.TOKENIZER  # in a run's folder too
COLLOCATIONS = collocations_lib.FILE  # where a run's copy of the tokenizer has them too
STATISTICS = 'statistics.npz'
ROWS, STARTS = 'rows.npy', 'starts.npy'
_LOCK = '.lock'
_AGAIN = 'remove the folder and prepare again'


@dataclasses.dataclass(frozen=True)
class Rows:
  """One source's part of one split, memory-mapped.

  Attributes:
    tokens_RL: uint16 or int32.
    starts_RS: int16 or int32.
    columns: {name: column.Stored, or what is like it} of the columns that it has.
  """

  tokens_RL: np.ndarray
  starts_RS: np.ndarray
  columns: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def __len__(self) -> int:
    return len(self.tokens_RL)


@dataclasses.dataclass(frozen=True)
class Prepared:
  """A finished preparation.

  Attributes:
    directory: pathlib.Path.
    manifest: dict, as in manifest.json.
    tokenizer: tokenizers.Tokenizer.
    statistics: statistics.Statistics, counted over the training rows.
    sources: names, in the order of config.data.source.
    train, validation: a Rows for each source.
    joins: (tokens_BL, starts_BS) -> bool_BL, which tokens are in one collocation with the token
      before them (see `collocations.Collocations`); None without collocations.
  """

  directory: pathlib.Path
  manifest: dict
  tokenizer: tokenizers.Tokenizer
  statistics: statistics_lib.Statistics
  sources: tuple[str, ...]
  train: tuple[Rows, ...]
  validation: tuple[Rows, ...]
  joins: collocations_lib.Collocations | None = None

  def split(self, name: str) -> tuple[Rows, ...]:
    """Returns the Rows of each source, by the name of the split."""
    return {'train': self.train, 'validation': self.validation}[name]

  @property
  def counts_V(self) -> np.ndarray:
    """int64, how often each piece occurs in the training rows."""
    return self.statistics.counts_V

  @property
  def fingerprint(self) -> str:
    return self.manifest['fingerprint']

  @property
  def row_length(self) -> int:
    return self.manifest['settings']['row_length']

  @property
  def table(self) -> vocabulary.Table:
    return self.tokenizer.table(self.counts_V, self.classes)

  @property
  def classes(self) -> tuple[str, ...]:
    """The names of the classes of words, () without."""
    return tuple(self.manifest.get('classes', ()))


class HasRows(Protocol):
  """What the loaders read: a Prepared, or prepared examples (examples/store.py)."""

  @property
  def directory(self) -> pathlib.Path: ...

  @property
  def tokenizer(self) -> tokenizers.Tokenizer: ...

  def split(self, name: str) -> tuple[Rows, ...]: ...


# Writing


class ArrayWriter:
  """Writes a .npy file of rows whose number is not known before the end."""

  def __init__(self, path: pathlib.Path, columns: int, dtype: np.typing.DTypeLike):
    path.parent.mkdir(parents=True, exist_ok=True)
    self._file = open(path, 'wb')
    # Little-endian on every machine, so that files and their hashes are the same everywhere.
    self._columns, self._dtype = columns, np.dtype(dtype).newbyteorder('<')
    self.rows = 0
    self._header()  # takes its place; `close` writes the number of rows into it

  def _header(self):
    """The header keeps its length: numpy leaves room for a growing first axis."""
    np.lib.format.write_array_header_1_0(
      self._file,
      {'descr': self._dtype.str, 'fortran_order': False, 'shape': (self.rows, self._columns)},
    )

  def write(self, rows: np.ndarray) -> None:
    self._file.write(np.ascontiguousarray(rows, self._dtype).data)
    self.rows += len(rows)

  def close(self) -> None:
    self._file.seek(0)
    self._header()
    # On disk before the manifest says that it is whole.
    self._file.flush()
    os.fsync(self._file.fileno())
    self._file.close()


def check_ids(prepared: HasRows, tokens_BL: np.ndarray) -> None:
  """Raises UserError where rows hold what is no id of the tokenizer: an index beyond a table.

  Rows are looked at as they are read, since hashing all of them at each start takes long.
  """
  size = prepared.tokenizer.size
  if tokens_BL.size and not 0 <= tokens_BL.min() <= tokens_BL.max() < size:
    raise config.UserError(
      f'{prepared.directory} is damaged: its rows hold ids that its tokenizer of {size:,} pieces '
      'does not have; remove it and prepare again'
    )


def dtypes(vocab_size: int, length: int) -> tuple[type, type]:
  """Returns the dtypes of (tokens, starts)."""
  return (
    np.uint16 if vocab_size <= 1 << 16 else np.int32,
    np.int16 if length < 1 << 15 else np.int32,  # signed: an unused start is -1
  )


def column_writer(
  folder: pathlib.Path, column: column_lib.Column, row_length: int, max_segments: int
) -> ArrayWriter:
  """Returns the writer of a column's packed values, in the folder of one source's split."""
  width = column.stored_width(column.width(row_length, max_segments))
  return ArrayWriter(folder / column.file, width, column.stored_dtype)


def finish(folder: pathlib.Path, manifest: dict) -> None:
  """Writes the manifest of a folder whose other files are all there."""
  # Of the files alone, not of the folder or the time: equal data has equal fingerprints anywhere.
  hashes = files.hashes(folder, ignored=_LOCK)
  fingerprint = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
  # Sizes too: they are compared each time that the data is opened, hashes only when asked for.
  entries = {
    name: {'bytes': (folder / name).stat().st_size, 'sha256': digest}
    for name, digest in hashes.items()
  }
  manifest = {'version': VERSION, 'fingerprint': fingerprint, **manifest, 'files': entries}
  files.write(folder / MANIFEST, json.dumps(manifest, indent=1) + '\n')


@contextlib.contextmanager
def building(directory: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Gives a folder beside `directory` that takes its place when the block succeeds.

  What a killed preparation left there is removed, as is what a failing one leaves,
  folders made on the way included.

  Raises:
    UserError: the place is taken or cannot be written, or another process builds there.
  """
  place = pathlib.Path(os.path.abspath(directory))
  with contextlib.ExitStack() as stack:
    try:
      if place.exists() and not _is_free(place):
        raise config.UserError(
          f'{directory} exists and holds no prepared data; give another folder, or remove it'
        )
      folder = place.with_name(place.name + '.building')
      # Only what is made here is removed again; listed before it is made.
      stack.callback(_remove_empty, [each for each in folder.parents if not each.exists()])
      folder.mkdir(parents=True, exist_ok=True)
      lock = stack.enter_context(open(folder / _LOCK, 'w', opener=config.without_waiting))
    except OSError as error:
      raise _cannot_write(directory, error) from None
    try:
      # The lock ends with its process, so one that was killed does not block the next.
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise config.UserError(
        f'another process is preparing {directory}; wait for it, or give another folder'
      ) from None
    # From here on the folder is ours, also what a killed process has left in it.
    made = stack.enter_context(contextlib.ExitStack())
    made.callback(shutil.rmtree, folder, ignore_errors=True)
    try:
      for each in folder.iterdir():
        if each.name != _LOCK:
          shutil.rmtree(each) if each.is_dir() else each.unlink()
      yield folder
      # Atomic: the place has either nothing or all of it, whenever the process dies.
      os.rename(folder, place)
      made.pop_all()  # a folder of that name is from now on another process's
      (place / _LOCK).unlink()
    except BrokenPipeError:  # of what is printed meanwhile
      raise
    except OSError as error:
      raise _cannot_write(directory, error) from None


def _is_free(directory):
  """Whether a folder can take the place of this path; of the one we are in it cannot."""
  return directory.is_dir() and not any(directory.iterdir()) and not directory.samefile(os.curdir)


def _remove_empty(folders):
  """Removes folders, the innermost first, up to one that holds something."""
  for folder in folders:
    try:
      folder.rmdir()
    except OSError:
      return


def _cannot_write(directory, error):
  return config.UserError(
    f'cannot write the prepared data: {files.fault(error, directory)}; make room, or give a folder '
    'that can be written'
  )


# Reading


def finished(directory: str | os.PathLike) -> bool:
  """Whether a folder holds a finished preparation."""
  return os.path.isfile(os.path.join(directory, MANIFEST))  # False for any name that cannot be


def read_manifest(directory: str | os.PathLike) -> dict:
  """Returns the manifest; UserError where there is none or it is damaged."""
  path = pathlib.Path(directory) / MANIFEST
  try:
    manifest = config.parse_json(config.read_bytes(path))
    version = manifest['version']
    if version == VERSION:  # one of another version may have other entries; it is refused below
      _check_manifest(manifest)
  except config.UserError as error:
    raise config.UserError(
      f'{directory} holds no prepared data ({error}); make it with mlm-jax prepare'
    ) from None
  except (ValueError, KeyError, TypeError, AttributeError):
    raise config.UserError(f'{path} is damaged; {_AGAIN}') from None
  if version != VERSION:
    raise config.UserError(
      f'{path} is of version {version}, this program reads {VERSION}; {_AGAIN}'
    )
  return manifest


def _check_manifest(manifest):
  """Raises KeyError, TypeError or AttributeError where a manifest lacks what is read from it."""

  def string(entry, key):
    if not isinstance(entry[key], str):
      raise TypeError(key)
    return entry[key]

  string(manifest, 'fingerprint')
  string(manifest['tokenizer'], 'sha256')
  settings = manifest['settings']
  if not isinstance(settings['row_length'], int):
    raise TypeError('row_length')
  sources = [string(entry, 'name') for entry in manifest['sources']]
  inputs = manifest['inputs']
  if not isinstance(inputs, list) or [type(each) for each in inputs] != [str] * len(sources):
    raise TypeError('inputs')
  if settings['classes'] and not all(isinstance(each, str) for each in manifest['classes']):
    raise TypeError('classes')
  # Every file that the settings imply must be listed, or it would not be compared when opened.
  arrays = ROWS, STARTS, *(column.file for column in annotations.asked(settings))
  needed = {f'{name}/{split}/{array}' for name in sources for split in SPLITS for array in arrays}
  needed |= {TOKENIZER, STATISTICS, *manifest['files']}
  if settings['collocations']:
    needed.add(COLLOCATIONS)
  for name in needed:
    string(manifest['files'][name], 'sha256')
    if not isinstance(manifest['files'][name]['bytes'], int):
      raise TypeError(name)


def open_prepared(directory: str | os.PathLike, verify: bool = False) -> Prepared:
  """Opens a finished preparation.

  Args:
    directory: the folder.
    verify: also compare the sha256 of every file; sizes are always compared.

  Raises:
    UserError: there is none, or a file is missing, cut short or altered.
  """
  directory = pathlib.Path(directory)
  manifest = read_manifest(directory)
  for name, entry in manifest['files'].items():
    _check(directory, name, entry, verify)
  try:
    # Small enough to be always verified, since all else depends on them.
    model = _read_verified(directory, TOKENIZER, manifest)
    statistics = statistics_lib.read(_read_verified(directory, STATISTICS, manifest))
    sources = tuple(each['name'] for each in manifest['sources'])
    entries = None
    if COLLOCATIONS in manifest['files']:
      entries = collocations_lib.read(_read_verified(directory, COLLOCATIONS, manifest))
    columns = annotations.asked(manifest['settings'])
    train, validation = (
      tuple(rows(directory / name / split, columns) for name in sources) for split in SPLITS
    )
    threads = manifest['settings']['tokenizer_threads']
  except (KeyError, TypeError, ValueError, OSError):
    raise config.UserError(f'{directory} is damaged; {_AGAIN}') from None
  # Outside of the `try`: their errors say themselves what is wrong.
  tokenizer = tokenizers.make(model, str(directory / TOKENIZER), threads)
  joins = None if entries is None else collocations_lib.Collocations(tokenizer, entries)
  return Prepared(directory, manifest, tokenizer, statistics, sources, train, validation, joins)


def _check(directory, name, entry, verify):
  path = directory / name
  try:
    size = path.stat().st_size
    if size != entry['bytes']:
      raise config.UserError(f'{path} has {size} bytes, not the {entry["bytes"]} written; {_AGAIN}')
    if verify and files.sha256(path) != entry['sha256']:
      raise config.UserError(f'{path} has been altered: its sha256 differs; {_AGAIN}')
  except OSError as error:
    raise config.UserError(f'{path}: {error.strerror}; {_AGAIN}') from None


def _read_verified(directory, name, manifest):
  data = config.read_bytes(directory / name)
  if hashlib.sha256(data).hexdigest() != manifest['files'][name]['sha256']:
    raise config.UserError(f'{directory / name} has been altered: its sha256 differs; {_AGAIN}')
  return data


def rows(folder: pathlib.Path, columns: Iterable[column_lib.Column] = ()) -> Rows:
  """Returns the Rows of the folder of one source's split, with some columns."""
  tokens_RL, starts_RS = _mapped(folder / ROWS), _mapped(folder / STARTS)
  widths = tokens_RL.shape[1], starts_RS.shape[1]  # L and S, which a packed column does not show
  return Rows(
    tokens_RL,
    starts_RS,
    {
      each.name: column_lib.Stored(each, _mapped(folder / each.file), each.width(*widths))
      for each in columns
    },
  )


def _mapped(path):
  """Returns the array of a .npy file, mapped; one without rows cannot be."""
  with open(path, 'rb') as file:
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return np.memmap(path, dtype, 'r', file.tell(), shape) if shape[0] else np.empty(shape, dtype)


def needs(prepared: Prepared, masking: Any) -> None:
  """Raises UserError where prepared data lacks what a policy asks for.

  Args:
    prepared: Prepared.
    masking: `config.masking`.
  """
  # Asked before training: a policy cannot find them in rows that were prepared without.
  has = {'collocations': prepared.joins is not None, 'classes': bool(prepared.classes)}
  examples = {'collocations': '20000', 'classes': 'conllu'}
  for setting, value, key in config.data_needs(masking):
    if not has[key]:
      raise config.UserError(
        f'config.{setting} = {value!r}: {prepared.directory} was prepared without '
        f'config.data.{key}; prepare it again in another folder with mlm-jax prepare '
        f'--workdir=NEW --config.data.{key}={examples[key]} and its other settings'
      )
