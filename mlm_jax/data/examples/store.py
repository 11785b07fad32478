"""Packed rows of examples on disk: a folder with a part for each split.

  facts.json              what the training examples decide, such as the names of the labels
  tokenizer/              that of the run whose encoder is taken
  manifest.json           settings, inputs, counts, and size and sha256 of each file
  SPLIT/examples.jsonl    the examples themselves, in the order of their file
  SPLIT/rows.npy          [n, L] uint16, int32 for more than 65,536 pieces
  SPLIT/starts.npy        [n, S] int32, where each example starts; -1 where unused
  SPLIT/COLUMN.npy        what the task says of each example [n, S, ...] or token [n, L, ...]

It is built as `data/store.py` builds a corpus, and opened only whole. Each split has the column
example_BS, the number of each example in its file.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any

import numpy as np

from mlm_jax import config
from mlm_jax.data import pack
from mlm_jax.data import store
from mlm_jax.data import tokenizers

EXAMPLE = 'example_BS'
EXAMPLES = 'examples.jsonl'
FACTS = 'facts.json'  # in the folder, and in that of a run
CALIBRATION = 'calibration.json'  # in that of a finished run: facts that its model decides
IN_MEMORY = 'given'  # the split of examples that are not on disk
_VERSION = 1
_AGAIN = 'remove the folder, and the same command makes it again'


@dataclasses.dataclass(frozen=True)
class Encoded:
  """The examples of a split as tokens.

  Attributes:
    examples: of each what JSON can hold.
    tokens: int32 [CLS] ... [SEP] of each, at most a row.
    columns: {name: a value for each of them}: of NAME_BS an array [N, ...], of NAME_BL a list of
      arrays [its tokens, ...].
    fills: {name: the value where there is no example, or no token}.
    cut: how many had to be cut to the length of a row.
    counts: {what: how many} of what else was left out or altered, in words that follow the number,
      such as {'words are left out': 3}.
    number: int32 [N], ascending, the number of the example that each is of; None for 0, 1, ... An
      example that is longer than a row may be several, or one of several texts.
    together: whether what is of one example lies in one row, side by side in its order; then it is
      at most a row together.
    per_row: how many such examples a row has at most; 0 = as many as fit.
  """

  examples: Sequence[dict[str, Any]]
  tokens: Sequence[np.ndarray]
  columns: Mapping[str, Any]
  fills: Mapping[str, int]
  cut: int = 0
  counts: Mapping[str, int] = dataclasses.field(default_factory=dict)
  number: np.ndarray | None = None
  together: bool = False
  per_row: int = 0


@dataclasses.dataclass(frozen=True)
class Column:
  """A column on disk. Indexed by rows, it gives their values.

  Attributes:
    array: [n, ...].
    fill: the value where there is nothing.
  """

  array: np.ndarray
  fill: int

  @property
  def shape(self) -> tuple[int, ...]:
    return self.array.shape

  @property
  def dtype(self) -> np.dtype:
    return self.array.dtype

  def __getitem__(self, rows: Any) -> np.ndarray:
    return self.array[rows]


@dataclasses.dataclass(frozen=True)
class Prepared:
  """Examples that are prepared: what the loaders read.

  Attributes:
    directory: the folder.
    manifest: dict, as in manifest.json.
    tokenizer: Tokenizer.
    splits: {name: store.Rows}.
  """

  directory: pathlib.Path
  manifest: dict
  tokenizer: tokenizers.Tokenizer
  splits: Mapping[str, store.Rows]

  def split(self, name: str) -> tuple[store.Rows, ...]:
    """Returns the Rows of a split, as of a corpus of one source."""
    return (self.splits[name],)

  def examples(self, name: str) -> list[dict[str, Any]]:
    """Returns the examples of a split, in their order, as `Encoded` had them."""
    with (self.directory / name / EXAMPLES).open(encoding='utf-8') as file:
      return [config.as_tuples(json.loads(line)) for line in file]

  @property
  def fingerprint(self) -> str:
    return self.manifest['fingerprint']

  @property
  def facts(self) -> dict:
    """What the task has found in the examples, such as the names of the labels."""
    return self.manifest['facts']


def prepare(
  directory: str | os.PathLike,
  settings: dict[str, Any],
  files: Sequence[str],
  tokenizer: tokenizers.Tokenizer,
  make: Callable[[], tuple[dict, dict[str, Encoded]]],
  log: Callable[[str], Any] = print,
) -> Prepared:
  """Prepares examples in a folder, or opens it where that is done.

  Args:
    directory: the folder.
    settings: what decides about the rows: of JSON's types.
    files: the files that the examples are in; what is prepared goes with what they hold.
    tokenizer: Tokenizer.
    make: () -> (facts, of JSON's types; {split: Encoded}), called where it is not done.
    log: takes lines of text.

  Raises:
    UserError: whatever `make` raises; a folder that holds something else, was prepared with other
      settings, files or tokenizer, or is damaged.
  """
  folder = pathlib.Path(directory)
  ours = {'settings': json.loads(json.dumps(settings)), 'tokenizer': tokenizer.sha256}
  if store.finished(folder):
    manifest = _read_manifest(folder)
    # Files that are gone are not missed: the rows made of them are there.
    there = [each for each in files if pathlib.Path(each).exists()]
    _check_same(folder, ours | {'inputs': {each: _digest(each) for each in there}}, manifest)
    log(f'examples: reusing {folder} ({manifest["fingerprint"][:12]})')
    return _open(folder, manifest, tokenizer)
  ours['inputs'] = {each: _digest(each) for each in files}
  facts, encoded = make()
  with store.building(folder) as building:
    counts = {
      split: _write(building / split, each, tokenizer, settings) for split, each in encoded.items()
    }
    text = json.dumps(facts, ensure_ascii=False, indent=1) + '\n'
    (building / FACTS).write_text(text, encoding='utf-8')
    (building / store.TOKENIZER).parent.mkdir()
    (building / store.TOKENIZER).write_bytes(tokenizer.model)
    content = {'examples_version': _VERSION, **ours, 'facts': facts, 'splits': counts}
    store.finish(building, content)
  prepared = _open(folder, _read_manifest(folder), tokenizer)
  for split, count in counts.items():
    log(_said(split, count, settings))
    for what, number in count['counts'].items():
      log(f'{split}: {number:,} {what}')
  return prepared


def in_memory(encoded: Encoded, tokenizer: tokenizers.Tokenizer, data: Any) -> Prepared:
  """Returns examples of one split, IN_MEMORY, as packed rows.

  Args:
    encoded: of the examples.
    tokenizer: Tokenizer.
    data: `config.data`: row_length and max_segments.
  """
  arrays = _packed(encoded, tokenizer, data.row_length, data.max_segments)
  fills = {EXAMPLE: -1, **encoded.fills}
  columns = {name: Column(arrays[name], fill) for name, fill in fills.items()}
  rows = store.Rows(arrays['rows'], arrays['starts'], columns)
  return Prepared(pathlib.Path(), {}, tokenizer, {IN_MEMORY: rows})


def _digest(path: str) -> str:
  return hashlib.sha256(config.read_bytes(path)).hexdigest()


def _check_same(folder: pathlib.Path, ours: dict, manifest: dict) -> None:
  theirs = manifest['settings']
  differing = [
    f'config.{key} (then {theirs.get(key)!r}, now {ours["settings"].get(key)!r})'
    for key in {**ours['settings'], **theirs}
    if ours['settings'].get(key) != theirs.get(key)
  ]
  differing += [
    f'the content of {path}'
    for path, digest in ours['inputs'].items()
    if manifest['inputs'].get(path) != digest and not any(path in each for each in differing)
  ]
  if manifest['tokenizer'] != ours['tokenizer']:
    differing.append('the tokenizer')
  if differing:
    raise config.UserError(
      f'{folder} holds examples that were prepared with other settings: {", ".join(differing)}; '
      'set them back, or give another folder'
    )


def _said(split: str, count: dict, settings: dict) -> str:
  """Returns the line about a split."""
  cut = f', {count["cut"]:,} cut to the length of a row' if count['cut'] else ''
  fill = count['tokens'] / (count['rows'] * settings['data.row_length'])
  parts = f' ({count["segments"]:,} parts)' if count['segments'] != count['examples'] else ''
  return (
    f'{split}: {count["examples"]:,} examples{parts} in {count["rows"]:,} rows of '
    f'{settings["data.row_length"]}, filled {fill:.1%}{cut}'
  )


def _write(
  folder: pathlib.Path, encoded: Encoded, tokenizer: tokenizers.Tokenizer, settings: dict
) -> dict:
  """Writes the rows of a split; returns what is counted of them."""
  length, most = settings['data.row_length'], settings['data.max_segments']
  arrays = _packed(encoded, tokenizer, length, most)
  folder.mkdir(parents=True)
  for name, array in arrays.items():
    np.save(folder / f'{name}.npy', array)
  lines = (json.dumps(each, ensure_ascii=False) + '\n' for each in encoded.examples)
  (folder / EXAMPLES).write_text(''.join(lines), encoding='utf-8')
  return {
    'examples': len(encoded.examples),
    'segments': len(encoded.tokens),
    'rows': len(arrays['rows']),
    'tokens': sum(map(len, encoded.tokens)),
    'cut': encoded.cut,
    'counts': {what: number for what, number in encoded.counts.items() if number},
    'fills': {EXAMPLE: -1, **encoded.fills},
  }


def _packed(
  encoded: Encoded, tokenizer: tokenizers.Tokenizer, length: int, most: int
) -> dict[str, np.ndarray]:
  """Returns {'rows', 'starts' and each column: array} of packed rows."""
  dtype, _ = store.dtypes(tokenizer.size, length)
  sizes = np.array([len(each) for each in encoded.tokens], np.int64)
  number = np.arange(len(sizes), dtype=np.int32) if encoded.number is None else encoded.number
  together = number if encoded.together else None
  row_N, order_N, rows = _plan(sizes, together, length, most, encoded.per_row)
  tokens_RL = np.full((rows, length), tokenizer.pad_id, dtype)
  starts_RS = np.full((rows, most), -1, np.int32)
  columns = _empty(encoded, rows, length, most)
  at = place = 0
  for k, (row, n) in enumerate(zip(row_N.tolist(), order_N.tolist())):
    is_new = k == 0 or row != row_N[k - 1]
    at, place = (0, 0) if is_new else (at, place)
    here = slice(at, at + int(sizes[n]))
    tokens_RL[row, here] = encoded.tokens[n]
    starts_RS[row, place] = at
    columns[EXAMPLE][row, place] = number[n]
    for name, values in encoded.columns.items():
      columns[name][(row, here) if name.endswith('L') else (row, place)] = values[n]
    at, place = here.stop, place + 1
  return {'rows': tokens_RL, 'starts': starts_RS, **columns}


def _plan(
  sizes: np.ndarray, number: np.ndarray | None, length: int, most: int, per_row: int
) -> tuple[np.ndarray, np.ndarray, int]:
  """Returns (the row of each segment, ascending; which segment it is; the number of rows).

  Args:
    sizes: tokens of each segment.
    number: see Encoded, where the segments of one example lie together; else None.
    length, most: tokens and segments of a row at most.
    per_row: see Encoded.
  """
  # A plan leaves out what has no pieces; here it is a text of which cleaning leaves nothing.
  fit = lambda sizes, most: pack.best_fit(np.maximum(sizes - pack.OVERHEAD, 1), length, most)
  if number is None:
    plan = fit(sizes, most)
    return plan.row_N, plan.document_N, plan.rows
  # The segments of an example are packed as one of their whole size.
  begins = np.flatnonzero(np.diff(number, prepend=-1))
  counts = np.diff(np.append(begins, len(number)))
  whole = np.add.reduceat(sizes, begins)
  assert whole.max() <= length, 'what lies together fits a row'
  plan = fit(whole, per_row or most // int(counts.max()))
  counts_N = counts[plan.document_N]
  within = np.arange(counts_N.sum()) - np.repeat(np.cumsum(counts_N) - counts_N, counts_N)
  order_N = np.repeat(begins[plan.document_N], counts_N) + within
  return np.repeat(plan.row_N, counts_N), order_N, plan.rows


def _empty(encoded: Encoded, rows: int, length: int, most: int) -> dict[str, np.ndarray]:
  """Returns the columns of rows in which there is nothing."""
  made = {EXAMPLE: np.full((rows, most), -1, np.int32)}
  for name, values in encoded.columns.items():
    one = np.asarray(values[0])
    shape = (length, *one.shape[1:]) if name.endswith('L') else (most, *one.shape)
    made[name] = np.full((rows, *shape), encoded.fills[name], one.dtype)
  return made


def _read_manifest(folder: pathlib.Path) -> dict:
  path = folder / store.MANIFEST
  manifest = config.read_json(path, _AGAIN)
  try:
    if 'examples_version' not in manifest:
      raise config.UserError(
        f'{folder} holds the rows of a corpus, not examples; give another folder'
      )
    if manifest['examples_version'] != _VERSION:
      raise config.UserError(
        f'{path} is of version {manifest["examples_version"]}, not {_VERSION}; {_AGAIN}'
      )
    for each in manifest['splits'].values():
      _ = each['examples'], each['rows'], dict(each['fills'])
    _ = dict(manifest['settings']), dict(manifest['inputs']), dict(manifest['facts'])
    _ = manifest['fingerprint'][:12], manifest['tokenizer']
    return manifest
  except (ValueError, KeyError, TypeError, AttributeError):
    raise config.UserError(f'{path} is damaged; {_AGAIN}') from None


def _open(folder: pathlib.Path, manifest: dict, tokenizer: tokenizers.Tokenizer) -> Prepared:
  splits = {}
  try:
    for name, entry in manifest['files'].items():
      if (folder / name).stat().st_size != entry['bytes']:
        raise config.UserError(f'{folder / name} is cut short or altered; {_AGAIN}')
    for name, count in manifest['splits'].items():
      mapped = lambda each: np.load(folder / name / f'{each}.npy', mmap_mode='r')
      columns = {each: Column(mapped(each), fill) for each, fill in count['fills'].items()}
      splits[name] = store.Rows(mapped('rows'), mapped('starts'), columns)
  except (OSError, ValueError, KeyError, TypeError) as error:
    raise config.UserError(f'{folder} is damaged: {config.one_line(error)}; {_AGAIN}') from None
  return Prepared(folder, manifest, tokenizer, splits)
