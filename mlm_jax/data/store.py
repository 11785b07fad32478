"""Prepared data on disk: a folder of rows, a tokenizer and a manifest.

  manifest.json             settings, inputs, counts, and size and sha256 of each file
  statistics.npz            what was counted over the training rows (see `statistics`)
  tokenizer/tokenizer.model SentencePiece, or a tokenizer.json
  SOURCE/SPLIT/rows.npy     [n, L] uint16, int32 for more than 65,536 pieces
  SOURCE/SPLIT/starts.npy   [n, S] int16, int32 for rows above 32,767: segment starts, or -1

with config.data.collocations

  tokenizer/collocations.npz the vocabulary of collocations (see `collocations`)
  SOURCE/SPLIT/joins.npy    [n, L / 8] uint8, a bit a token: it is in one with the token before it

with config.data.classes

  SOURCE/SPLIT/classes.npy  [n, L] uint8: i + 1 for the i-th of the manifest's classes, 0 for none

with config.data.pairs

  SOURCE/SPLIT/pairs.npy    [n, S] uint8: 1 for a right pair of sentences, 2 for a wrong one, 0 for
  none

It is built beside its place and renamed into it, the manifest written last: a folder
with a manifest is whole.
"""

import dataclasses
import hashlib
import json
import os
import pathlib

import numpy as np

from mlm_jax import config
from mlm_jax.data import statistics as statistics_lib
from mlm_jax.data.annotations import collocations as collocations_lib
from mlm_jax.data.tokenizers import registry as tokenizer_lib

VERSION = 4
SPLITS = ('train', 'validation')
MANIFEST = 'manifest.json'
TOKENIZER = 'tokenizer/tokenizer.model'
COLLOCATIONS = 'tokenizer/collocations.npz'  # where a run's copy of the tokenizer has them too
STATISTICS = 'statistics.npz'
ROWS, STARTS, JOINS, CLASSES, PAIRS = (
  'rows.npy',
  'starts.npy',
  'joins.npy',
  'classes.npy',
  'pairs.npy',
)
_BLOCK = 1 << 22  # bytes hashed at a time


@dataclasses.dataclass(frozen=True)
class Rows:
  """One source's part of one split, memory-mapped.

  Attributes:
    tokens_RL: uint16 or int32.
    starts_RS: int16 or int32.
    joins_RK: uint8, a bit a token: it is in one collocation with the token before it; None without.
    classes_RL: uint8, the class of the token's word, from 1 on, 0 for none; None without.
    pairs_RS: uint8, what each segment is as a pair (see `pairs`); None without.
  """

  tokens_RL: np.ndarray
  starts_RS: np.ndarray
  joins_RK: np.ndarray | None = None
  classes_RL: np.ndarray | None = None
  pairs_RS: np.ndarray | None = None

  def __len__(self):
    return len(self.tokens_RL)

  def joins(self, row_B):
    """Returns bool_BL: what joins_RK says of some rows."""
    return np.unpackbits(self.joins_RK[row_B], axis=1, count=self.tokens_RL.shape[1]).astype(bool)


@dataclasses.dataclass(frozen=True)
class Prepared:
  """A finished preparation.

  Attributes:
    directory: pathlib.Path.
    manifest: dict, as in manifest.json.
    tokenizer: tokenizer.Tokenizer.
    statistics: statistics.Statistics, counted over the training rows.
    sources: names, in the order of config.data.source.
    train, validation: a Rows for each source.
    joins: (tokens_BL, starts_BS) -> bool_BL, which tokens are in one collocation with the token
      before them (see `collocations.Collocations`); None without collocations.
  """

  directory: pathlib.Path
  manifest: dict
  tokenizer: tokenizer_lib.Tokenizer
  statistics: statistics_lib.Statistics
  sources: tuple
  train: tuple
  validation: tuple
  joins: collocations_lib.Collocations | None = None

  def split(self, name):
    return {'train': self.train, 'validation': self.validation}[name]

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
    return self.tokenizer.table(self.counts_V, self.classes)

  @property
  def classes(self):
    """The names of the classes of words, () without."""
    return tuple(self.manifest.get('classes', ()))


def dtypes(vocab_size, length):
  """Returns the dtypes of (tokens, starts)."""
  return (
    np.uint16 if vocab_size <= 1 << 16 else np.int32,
    np.int16 if length < 1 << 15 else np.int32,
  )


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
  files = {
    path.relative_to(folder).as_posix(): {'bytes': path.stat().st_size, 'sha256': sha256(path)}
    for path in paths
  }
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
    raise config.UserError(
      f'{directory} holds no prepared data ({path.name}: {error.strerror}); '
      'make it with mlm-jax prepare'
    ) from None
  except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
    raise config.UserError(f'{path} is damaged; {_AGAIN}') from None
  if version != VERSION:
    raise config.UserError(
      f'{path} is of version {version}, this program reads {VERSION}; {_AGAIN}'
    )
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
  has_joins, has_classes, has_pairs = (
    bool(manifest['settings'][key]) for key in ('collocations', 'classes', 'pairs')
  )
  if has_classes and not all(isinstance(each, str) for each in manifest['classes']):
    raise TypeError('classes')
  arrays = {
    f'{name}/{split}/{array}'
    for name in sources
    for split in SPLITS
    for array in (
      ROWS,
      STARTS,
      *(JOINS,) * has_joins,
      *(CLASSES,) * has_classes,
      *(PAIRS,) * has_pairs,
    )
  }
  for name in {TOKENIZER, STATISTICS, *(COLLOCATIONS,) * has_joins, *arrays, *manifest['files']}:
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
    entries = None
    if COLLOCATIONS in manifest['files']:
      entries = collocations_lib.read(_read_verified(directory, COLLOCATIONS, manifest))
    splits = {split: tuple(rows(directory / name / split) for name in sources) for split in SPLITS}
    threads = manifest['settings']['tokenizer_threads']
  except (KeyError, TypeError, ValueError, OSError):
    raise config.UserError(f'{directory} is damaged; {_AGAIN}') from None
  tokenizer = tokenizer_lib.make(model, str(directory / TOKENIZER), threads)
  joins = entries and collocations_lib.Collocations(tokenizer, entries)
  return Prepared(directory, manifest, tokenizer, statistics, sources, joins=joins, **splits)


def needs(prepared, masking):
  """Raises UserError where prepared data lack what a policy asks for.

  Args:
    prepared: Prepared.
    masking: `config.masking`.
  """
  has = {'collocations': prepared.joins is not None, 'classes': bool(prepared.classes)}
  examples = {'collocations': '20000', 'classes': 'conllu'}
  for setting, value, key in config.data_needs(masking):
    if not has[key]:
      raise config.UserError(
        f'config.{setting} = {value!r}: {prepared.directory} was prepared without '
        f'config.data.{key}; make others with mlm-jax prepare --workdir=NEW '
        f'--config.data.{key}={examples[key]} '
        'and the settings of these'
      )


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


def rows(folder):
  """Returns the Rows of the folder of one source's split, with what is marked in them so far."""
  marks = (
    _mapped(folder / name) if (folder / name).exists() else None for name in (JOINS, CLASSES, PAIRS)
  )
  return Rows(_mapped(folder / ROWS), _mapped(folder / STARTS), *marks)


def _mapped(path):
  """Returns the array of a .npy file, mapped; one without rows cannot be."""
  with open(path, 'rb') as file:
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return np.memmap(path, dtype, 'r', file.tell(), shape) if shape[0] else np.empty(shape, dtype)
