"""Prepared data on disk: a folder of rows, a tokenizer and a manifest.

  manifest.json             settings, inputs, counts, and size and sha256 of each file
  statistics.npz            what was counted over the training rows (see `statistics`)
  tokenizer/tokenizer.model SentencePiece
  SOURCE/SPLIT/rows.npy     [n, L] uint16, int32 for more than 65,536 pieces
  SOURCE/SPLIT/starts.npy   [n, S] int16, int32 for rows above 32,767: segment starts, or -1

It is built beside its place and renamed into it, the manifest written last: a folder
with a manifest is whole.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import pathlib
import shutil

import numpy as np

from mlm_jax import config
from mlm_jax.data import statistics as statistics_lib
from mlm_jax.data import tokenizer as tokenizer_lib

VERSION = 2
SPLITS = ('train', 'held_out')
MANIFEST = 'manifest.json'
TOKENIZER = 'tokenizer/tokenizer.model'
STATISTICS = 'statistics.npz'
_BLOCK = 1 << 22  # bytes hashed at a time


@dataclasses.dataclass(frozen=True)
class Rows:
  """One source's part of one split, memory-mapped.

  Attributes:
    tokens_RL: uint16 or int32.
    starts_RS: int16 or int32.
  """
  tokens_RL: np.ndarray
  starts_RS: np.ndarray

  def __len__(self):
    return len(self.tokens_RL)


@dataclasses.dataclass(frozen=True)
class Prepared:
  """A finished preparation.

  Attributes:
    directory: pathlib.Path.
    manifest: dict, as in manifest.json.
    tokenizer: tokenizer.Tokenizer.
    statistics: statistics.Statistics, counted over the training rows.
    sources: names, in the order of config.data.source.
    train, held_out: a Rows for each source.
  """
  directory: pathlib.Path
  manifest: dict
  tokenizer: tokenizer_lib.Tokenizer
  statistics: statistics_lib.Statistics
  sources: tuple
  train: tuple
  held_out: tuple

  def split(self, name):
    return {'train': self.train, 'held_out': self.held_out}[name]

  @property
  def counts_V(self):
    """int64, how often each piece stands in the training rows."""
    return self.statistics.counts_V

  @property
  def fingerprint(self):
    return self.manifest['fingerprint']

  @property
  def row_length(self):
    return self.manifest['settings']['row_length']

  @property
  def table(self):
    return self.tokenizer.table(self.counts_V)


def dtypes(vocab_size, length):
  """Returns the dtypes of (tokens, starts)."""
  return (np.uint16 if vocab_size <= 1 << 16 else np.int32,
          np.int16 if length < 1 << 15 else np.int32)


class ArrayWriter:
  """Writes a .npy file of rows whose number is not known before the end."""

  def __init__(self, path, columns, dtype):
    path.parent.mkdir(parents=True, exist_ok=True)
    self._file = open(path, 'wb')
    self._columns, self._dtype = columns, np.dtype(dtype).newbyteorder('<')
    self.rows = 0
    self._header()

  def _header(self):
    """The header keeps its length: numpy leaves room for a growing first axis."""
    np.lib.format.write_array_header_1_0(
        self._file, {'descr': self._dtype.str, 'fortran_order': False,
                     'shape': (self.rows, self._columns)})

  def write(self, rows):
    self._file.write(np.ascontiguousarray(rows, self._dtype))
    self.rows += len(rows)

  def close(self):
    self._file.seek(0)
    self._header()
    self._file.flush()
    os.fsync(self._file.fileno())
    self._file.close()


@contextlib.contextmanager
def building(directory):
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
        raise config.UserError(f'{directory} exists and holds no prepared data; '
                               'give another folder, or remove it')
      folder = place.with_name(place.name + '.building')
      stack.callback(_remove_empty, [each for each in folder.parents if not each.exists()])
      folder.mkdir(parents=True, exist_ok=True)
      lock = stack.enter_context(open(folder / '.lock', 'w'))
    except OSError as error:
      raise _cannot_write(directory, error) from None
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise config.UserError(f'another process is preparing {directory}; wait for it, '
                             'or give another folder') from None
    made = stack.enter_context(contextlib.ExitStack())
    made.callback(shutil.rmtree, folder, ignore_errors=True)
    try:
      for each in folder.iterdir():
        if each.name != '.lock':
          shutil.rmtree(each) if each.is_dir() else each.unlink()
      yield folder
      os.rename(folder, place)
      made.pop_all()  # a folder of that name is from now on another process's
      (place / '.lock').unlink()
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
  return config.UserError(f'cannot write the prepared data to {directory}: '
                          f'{error.strerror or error}; give a folder that can be written')


def sha256(path):
  """Returns the hex digest of a file."""
  digest = hashlib.sha256()
  with open(path, 'rb') as file:
    while block := file.read(_BLOCK):
      digest.update(block)
  return digest.hexdigest()


def finish(folder, manifest):
  """Writes the manifest of a folder whose other files are all there."""
  paths = sorted(path for path in folder.rglob('*') if path.is_file() and path.name != '.lock')
  files = {path.relative_to(folder).as_posix(): {'bytes': path.stat().st_size, 'sha256': sha256(path)}
           for path in paths}
  contents = json.dumps({name: entry['sha256'] for name, entry in files.items()}, sort_keys=True)
  fingerprint = hashlib.sha256(contents.encode()).hexdigest()
  manifest = {'version': VERSION, 'fingerprint': fingerprint, **manifest, 'files': files}
  with open(folder / MANIFEST, 'w', encoding='utf-8') as file:
    json.dump(manifest, file, indent=1)
    file.write('\n')
    file.flush()
    os.fsync(file.fileno())


def finished(directory):
  """Whether a folder holds a finished preparation."""
  return os.path.isfile(os.path.join(directory, MANIFEST))  # False for any name that cannot be


def read_manifest(directory):
  """Returns the manifest; UserError where there is none or it is damaged."""
  path = pathlib.Path(directory) / MANIFEST
  try:
    manifest = json.loads(path.read_text(encoding='utf-8'))
    version = manifest['version']
    if version == VERSION:
      _check_manifest(manifest)
  except OSError as error:
    raise config.UserError(f'{directory} holds no prepared data ({path.name}: {error.strerror}); '
                           'make it with mlm-jax prepare') from None
  except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
    raise config.UserError(f'{path} is damaged; {_AGAIN}') from None
  if version != VERSION:
    raise config.UserError(f'{path} is of version {version}, this program reads {VERSION}; {_AGAIN}')
  return manifest


_AGAIN = 'remove the folder and prepare again'


def _check_manifest(manifest):
  """Raises KeyError, TypeError or AttributeError where a manifest lacks what is read from it."""
  def string(entry, key):
    if not isinstance(entry[key], str):
      raise TypeError(key)
    return entry[key]

  string(manifest, 'fingerprint')
  string(manifest['tokenizer'], 'sha256')
  if not isinstance(manifest['settings']['row_length'], int):
    raise TypeError('row_length')
  sources = [string(entry, 'name') for entry in manifest['sources']]
  inputs = manifest['inputs']
  if not isinstance(inputs, list) or [type(each) for each in inputs] != [str] * len(sources):
    raise TypeError('inputs')
  arrays = {f'{name}/{split}/{array}.npy' for name in sources for split in SPLITS
            for array in ('rows', 'starts')}
  for name in {TOKENIZER, STATISTICS, *arrays, *manifest['files']}:
    string(manifest['files'][name], 'sha256')
    if not isinstance(manifest['files'][name]['bytes'], int):
      raise TypeError(name)


def open_prepared(directory, verify=False):
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
    # Small enough to be always verified, since all else hangs on them.
    model = _read_verified(directory, TOKENIZER, manifest)
    statistics = statistics_lib.read(_read_verified(directory, STATISTICS, manifest))
    sources = tuple(each['name'] for each in manifest['sources'])
    splits = {split: tuple(_rows(directory / name / split) for name in sources) for split in SPLITS}
    threads = manifest['settings']['tokenizer_threads']
  except (KeyError, TypeError, ValueError, OSError):
    raise config.UserError(f'{directory} is damaged; {_AGAIN}') from None
  tokenizer = tokenizer_lib.Tokenizer(model, str(directory / TOKENIZER), threads)
  return Prepared(directory, manifest, tokenizer, statistics, sources, **splits)


def _check(directory, name, entry, verify):
  path = directory / name
  try:
    size = path.stat().st_size
    if size != entry['bytes']:
      raise config.UserError(f'{path} has {size} bytes, not the {entry["bytes"]} written; {_AGAIN}')
    if verify and sha256(path) != entry['sha256']:
      raise config.UserError(f'{path} has been altered: its sha256 differs; {_AGAIN}')
  except OSError as error:
    raise config.UserError(f'{path}: {error.strerror}; {_AGAIN}') from None


def _read_verified(directory, name, manifest):
  data = (directory / name).read_bytes()
  if hashlib.sha256(data).hexdigest() != manifest['files'][name]['sha256']:
    raise config.UserError(f'{directory / name} has been altered: its sha256 differs; {_AGAIN}')
  return data


def _rows(folder):
  return Rows(_mapped(folder / 'rows.npy'), _mapped(folder / 'starts.npy'))


def _mapped(path):
  """Returns the array of a .npy file, mapped; one without rows cannot be."""
  with open(path, 'rb') as file:
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return np.memmap(path, dtype, 'r', file.tell(), shape) if shape[0] else np.empty(shape, dtype)
