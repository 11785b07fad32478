"""Data set folders of Hugging Face on disk: what `save_to_disk` writes, or a cloned repository."""

from collections.abc import Iterator
import dataclasses
import json
import pathlib
import re
from typing import Any

from mlm_jax import config
from mlm_jax.data.corpus import clean
from mlm_jax.data.corpus import files
from mlm_jax.data.corpus import records

# The split, then which of how many parts, then the format: train-00000-of-00002.parquet
_FILE = re.compile(
  r'(.+?)(?:-\d+-of-(\d+)(?:-[0-9a-f]+)?)?'
  r'\.(parquet|arrow|(?:jsonl|ndjson)(?:\.(?:gz|xz|zst))?)'
)


@dataclasses.dataclass(frozen=True)
class HuggingFace:
  """hf:FOLDER[:SPLIT[:FIELD]]; the path of the folder has no colon.

  The folder is one of
    a saved Dataset: it is read whole, and SPLIT may only be the one it was cut from;
    a saved DatasetDict: one folder a split;
    a repository: .parquet, .arrow or .jsonl files in it or in its folder `data`, each
      named after its split; one with several configurations has a folder for each, to
      be named here.
  Without SPLIT it is `train`, without FIELD `config.data.field`.
  """

  spec: str
  name: str
  folder: pathlib.Path
  split: str
  field: str

  def inputs(self) -> list[tuple]:
    """Returns [(path, bytes, digest)] of the split's files, see `files.described`."""
    return [files.described(path) for path in self._files()]

  def documents(self, data: Any, counts: clean.Counts, skipped: Any) -> Iterator[str]:
    """Yields each document's text; arguments as for `records.documents`."""
    for path in self._files():
      yield from records.documents(path, self.field or data.field, data, counts, skipped)

  def _files(self):
    """Returns the sorted paths of the split's files."""
    if not self.folder.is_dir():
      raise config.UserError(
        f'{self.spec}: there is no folder {self.folder} (seen from {pathlib.Path.cwd()})'
      )
    # `save_to_disk` writes state.json for a Dataset, dataset_dict.json for a DatasetDict.
    if (self.folder / 'state.json').exists():
      return _saved(self.folder, self.split)
    if (self.folder / 'dataset_dict.json').exists():
      splits = _read(self.folder / 'dataset_dict.json', lambda info: _names(info['splits']))
      return _saved(self.folder / self._chosen(splits))
    splits = _repository(self.folder)
    if not splits:
      there = sorted(
        path.name for path in self.folder.iterdir() if path.is_dir() and path.name[0] != '.'
      )
      raise config.UserError(
        f'{self.spec}: {self.folder} has no .parquet, .arrow or .jsonl file'
        + (f'; name one of its folders: {", ".join(there)}' if there else '')
      )
    return splits[self._chosen(splits)]

  def _chosen(self, splits):
    split = self.split or 'train'
    if split not in splits:
      raise config.UserError(
        f'{self.spec}: {self.folder} has no split {split!r}; write '
        f'hf:{self.folder}:SPLIT with one of: {", ".join(sorted(splits))}'
      )
    return split


def make(spec: str, argument: str) -> HuggingFace:
  """Returns the HuggingFace of an argument FOLDER[:SPLIT[:FIELD]]."""
  # Padded with empty texts, so that there are three parts whatever was left out.
  folder, split, field = (argument.split(':', 2) + ['', ''])[:3]
  folder = pathlib.Path(folder).expanduser()
  return HuggingFace(spec, re.sub(r'[^\w-]+', '_', folder.name) or 'hf', folder, split, field)


def _saved(folder, split=''):
  """Returns the paths of the files of a saved Dataset, in the order of its rows."""
  path = folder / 'state.json'
  of, names = _read(
    path,
    lambda state: (state['_split'], _names([each['filename'] for each in state['_data_files']])),
  )
  if split and split != of:
    raise config.UserError(
      f'{folder} is one saved Dataset'
      + (f', of split {of!r}' if of else '')
      + f'; leave out the split {split!r}'
    )
  return [str(folder / name) for name in names]


def _read(path, take):
  """Returns what a function takes out of a small JSON file."""
  try:
    return take(json.loads(path.read_text()))
  except OSError as error:
    raise config.UserError(f'cannot read {path}: {error.strerror}') from None
  except (ValueError, KeyError, TypeError, RecursionError) as error:
    raise config.UserError(
      f'{path} is damaged ({type(error).__name__}: {error}); save the data again'
    ) from None


def _names(names):
  if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
    raise TypeError(f'{names!r:.40} is not a list of names')
  return names


def _repository(folder):
  """Returns {split: its sorted paths} of the data files in a folder and its folder `data`."""
  # first: of each split the first file and its format, by which the others are judged.
  splits, parts, first = {}, {}, {}
  for path in sorted([*folder.glob('*'), *folder.glob('data/*')]):
    match = _FILE.fullmatch(path.name)
    if match and path.is_file():
      splits.setdefault(match.group(1), []).append(str(path))
      parts.setdefault((match.group(1), match.group(2)), []).append(path)
      other, ending = first.setdefault(match.group(1), (path.name, match.group(3)))
      if ending != match.group(3):
        raise config.UserError(
          f'{folder} has split {match.group(1)!r} in two formats, {other} and '
          f'{path.name}; remove one of them'
        )
  # A part that is missing, of an interrupted download say, would silently change the corpus.
  for (split, wanted), there in parts.items():
    if wanted and len(there) != int(wanted):
      raise config.UserError(
        f'{folder} has {len(there)} of the {int(wanted)} parts of split {split!r}; '
        'fetch the others, or remove what is of another version'
      )
  return splits
