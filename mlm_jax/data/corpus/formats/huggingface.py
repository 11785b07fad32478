"""Data sets of Hugging Face: what `save_to_disk` writes, a cloned repository, or one on the hub.

Which files of a repository are of which split, its README, its folders and the names of its files
say together, by rules that only the `datasets` library has whole: it is asked. It is imported when
a repository is read, since it takes a while.
"""

from collections.abc import Iterator
import dataclasses
import functools
import logging
import os
import pathlib
import re
import tempfile
from typing import Any

from mlm_jax import config
from mlm_jax.data.corpus import clean
from mlm_jax.data.corpus import files
from mlm_jax.data.corpus import records
from mlm_jax.data.corpus.formats import hub

# Which of how many parts: train-00000-of-00002.parquet
_PART = re.compile(r'(.*-)\d{5}-of-(\d{5})\b.*')
# Formats that `records` reads, as `datasets` calls them; others that it gives the rows of.
_OWN = ('parquet', 'arrow')
_LINES = re.compile(r'\.(jsonl|ndjson)(\.\w+)?$')


@dataclasses.dataclass(frozen=True)
class HuggingFace:
  """hf:FOLDER[@CONFIG][:SPLIT[:FIELD]] or hf:NAME[#REVISION][@CONFIG][:SPLIT[:FIELD]].

  The path of the folder has no colon. The folder is one of
    a saved Dataset: it is read whole, and SPLIT may only be the one it was cut from;
    a saved DatasetDict: one folder a split;
    a repository: its files are those of `datasets.load_dataset(FOLDER, CONFIG, split=SPLIT)`.
  Where there is no such folder, NAME is that of a repository on the hub, at a branch, tag or
  commit. What is prepared knows the commit, and is not used for another one. Only the split is
  fetched. Without SPLIT it is `train`, without FIELD `config.data.field`; CONFIG is for
  repositories that have several and no default.
  """

  spec: str
  name: str
  folder: pathlib.Path
  config_name: str
  split: str
  field: str
  on_hub: str = ''  # its name there, '' for a folder
  revision: str = ''

  def inputs(self) -> list[tuple]:
    """Returns [(path, bytes, digest)] of the split's files, see `files.described`.

    A file on the hub has its commit in its name, and is not fetched to describe it.
    """
    return [(path, 0, '') if hub.is_file(path) else files.described(path) for path in self._files()]

  def documents(self, data: Any, counts: clean.Counts, skipped: Any) -> Iterator[str]:
    """Yields each document's text; arguments as for `records.documents`."""
    field = self.field or data.field
    paths = self._saved_files()
    if not paths:
      builder = self._builder
      paths = self._paths(builder)
      # Others are lists of objects, tables in text and so on, of which it gives the rows.
      if builder.name not in _OWN and not all(_LINES.search(path) for path in paths):
        yield from records.cut(self._rows(builder, field), data, counts, skipped)
        return
    for path in paths:
      yield from records.documents(hub.fetched(path), field, data, counts, skipped)

  def _files(self) -> list[str]:
    """Returns the paths of the split's files, in the order of their rows."""
    return self._saved_files() or self._paths(self._builder)

  def _saved_files(self) -> list[str]:
    """Returns the paths of the files that `save_to_disk` wrote, [] for a repository."""
    if self.on_hub:
      return []
    if not os.path.isdir(self.folder):  # False too for a name that no folder can have
      raise config.UserError(f'hf: {self._no_folder}')
    # `save_to_disk` writes state.json for a Dataset, dataset_dict.json for a DatasetDict.
    if (self.folder / 'state.json').exists():
      return _saved(self.folder, self.split)
    if (self.folder / 'dataset_dict.json').exists():
      splits = _read(self.folder / 'dataset_dict.json', lambda info: _names(info['splits']))
      return _saved(self.folder / self._chosen(splits))
    return []

  @property
  def _no_folder(self) -> str:
    shown = config.one_line(self.folder)
    return f'there is no folder {shown} (seen from {pathlib.Path.cwd()})'

  @functools.cached_property
  def _builder(self) -> Any:
    """The datasets.DatasetBuilder of a repository, which knows its files.

    Asked for once: what is read must be of the commit that `inputs` names.
    """
    import datasets

    if not self.on_hub:
      _check_readable(self.folder)
    # Of a repository without a README, or without settings there, it would warn each time.
    logging.getLogger('huggingface_hub.repocard').setLevel(logging.ERROR)
    try:
      # What it keeps for a later call is of no use here.
      with tempfile.TemporaryDirectory(prefix='mlm_jax-') as cache:
        # Absolute, or a folder called csv would be taken for the format of that name.
        place = self.on_hub or str(self.folder.absolute())
        builder = datasets.load_dataset_builder(
          place, self.config_name or None, cache_dir=cache, revision=self.revision or None
        )
    # It raises those of several libraries: README may hold anything.
    except Exception as error:
      raise config.UserError(f'{self.spec}: {self._why(error)}') from None
    if not builder.config.data_files:
      raise config.UserError(f'{self.spec}: {place} has no data files')
    return builder

  def _paths(self, builder: Any) -> list[str]:
    """Returns the paths of a split's files, in the order of their rows."""
    split = self._chosen(builder.config.data_files)
    paths = [str(path) for path in builder.config.data_files[split]]
    # A part that is missing, of an interrupted download say, would silently change the corpus.
    parts: dict[tuple[str, str], int] = {}
    for path in paths:
      if match := _PART.fullmatch(os.path.basename(path)):
        key = (os.path.join(os.path.dirname(path), match[1]), match[2])
        parts[key] = parts.get(key, 0) + 1
    for (stem, wanted), there in parts.items():
      if there != int(wanted):
        raise config.UserError(
          f'{os.path.dirname(stem)} has {there} of the {int(wanted)} parts of split {split!r}; '
          'fetch the others, or remove what is of another version'
        )
    return paths

  def _why(self, error: Exception) -> str:
    """Returns what the library's error says, in one line; it names configs in lists."""
    if self.on_hub and (why := hub.why(error, self.on_hub)):
      return f'{self._no_folder}, and {why}'
    text = str(error)
    there = re.search(r'(?:available configs|Available): \[(.*?)\]', text)
    if there:
      names = ', '.join(re.findall(r"'([^']*)'", there[1]))
      return f'write hf:{self.folder}@CONFIG with one of: {names}'
    below = [] if self.on_hub else self.folder.iterdir()
    folders = sorted(p.name for p in below if p.is_dir() and p.name[0] != '.')
    more = f'; name one of its folders: {", ".join(folders)}' if folders else ''
    # The library's own words say where it looked, at length.
    said = config.one_line(text.partition('\n')[0])
    return f'{self.folder} cannot be read as a data set ({said}){more}'

  def _rows(self, builder: Any, field: str) -> Iterator[tuple[str, Any]]:
    """Yields (where it is, value of the field) of each row, in formats that `datasets` reads."""
    split = self._chosen(builder.config.data_files)
    try:
      for number, row in enumerate(builder.as_streaming_dataset(split=split), 1):
        if field not in row:
          raise config.UserError(
            f'{self.spec} has no field {field!r}; set config.data.field to one of: '
            f'{", ".join(sorted(row))}'
          )
        yield f'{self.spec} row {number}', row[field]
    except config.UserError:
      raise
    except Exception as error:  # damaged files raise those of several libraries
      raise config.UserError(
        f'{self.spec} is damaged or cut short ({config.one_line(error)}); fetch it again'
      ) from None

  def _chosen(self, splits):
    split = self.split or 'train'
    if split not in splits:
      raise config.UserError(
        f'{self.spec}: {self.folder} has no split {split!r}; write '
        f'hf:{self.folder}:SPLIT with one of: {", ".join(sorted(map(str, splits)))}'
      )
    return split


def make(spec: str, argument: str) -> HuggingFace:
  """Returns the HuggingFace of an argument, see there."""
  # Padded with empty texts, so that there are three parts whatever was left out.
  place, split, field = (argument.split(':', 2) + ['', ''])[:3]
  folder, config_name = pathlib.Path(place).expanduser(), ''
  if '@' in place and not folder.exists():  # a folder's name may have it too
    before, _, config_name = place.rpartition('@')
    folder = pathlib.Path(before).expanduser()
  on_hub, _, revision = ('' if os.path.isdir(folder) else str(folder)).partition('#')
  if not hub.is_name(on_hub):
    on_hub = revision = ''
  name = re.sub(r'[^\w-]+', '_', pathlib.Path(on_hub or folder).name) or 'hf'
  return HuggingFace(spec, name, folder, config_name, split, field, on_hub, revision)


def _check_readable(folder):
  """Raises UserError for a folder in it that may not be read, which the library passes over."""

  def fail(error):
    raise files.unreadable(error.filename, error)

  for _ in os.walk(folder, onerror=fail):
    pass


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
    return take(config.parse_json(config.read_bytes(path)))
  except (ValueError, KeyError, TypeError) as error:
    raise config.UserError(
      f'{path} is damaged ({type(error).__name__}: {error}); save the data again'
    ) from None


def _names(names):
  if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
    raise TypeError(f'{names!r:.40} is not a list of names')
  return names
