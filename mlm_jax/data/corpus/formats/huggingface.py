"""Data sets of Hugging Face: what `save_to_disk` writes, or a repository, on disk or on the hub."""

from collections.abc import Iterator
import dataclasses
import functools
import glob
import json
import os
import pathlib
import re
from typing import Any

from mlm_jax import config
from mlm_jax.data.corpus import clean
from mlm_jax.data.corpus import files
from mlm_jax.data.corpus import records
from mlm_jax.data.corpus.formats import repository

_ON_HUB = re.compile(r'([\w-][\w.-]*/[\w-][\w.-]*)(?:/([^/]+))?')  # OWNER/NAME[/CONFIG]
_CARD = 1 << 24  # bytes of a card that are read


@dataclasses.dataclass(frozen=True)
class HuggingFace:
  """hf:FOLDER[/CONFIG][:SPLIT[:FIELD]]; the path of the folder has no colon.

  The folder is one of
    a saved Dataset: it is read whole, and SPLIT may only be the one it was cut from;
    a saved DatasetDict: one folder a split;
    a repository: its rows are those of datasets.load_dataset(FOLDER, CONFIG, split=SPLIT), see
      `repository`; where there is no such folder, OWNER/NAME is looked up on the hub.
  Without SPLIT it is `train`, without FIELD `config.data.field`.
  """

  spec: str
  name: str
  folder: pathlib.Path
  split: str
  field: str

  def inputs(self) -> list[tuple]:
    """Returns [(path, bytes, digest)] of the split's files, see `files.described`."""
    return [files.described(path) for path in self._files()[1]]

  def documents(self, data: Any, counts: clean.Counts, skipped: Any) -> Iterator[str]:
    """Yields each document's text; arguments as for `records.documents`."""
    form, paths = self._files()
    for path in paths:
      yield from records.documents(
        path, self.field or data.field, data, counts, skipped, alone=True, form=form
      )

  def _files(self):
    """Returns (format, paths of the split's files in the order of the rows)."""
    try:
      return self._found()
    except OSError as error:  # a name that no file can have, a folder that may not be entered
      raise files.unreadable(config.one_line(self.folder), error) from None

  def _found(self):
    folder, name = self.folder, ''
    if not folder.is_dir():
      # The last part may be the name of a config.
      folder, name = folder.parent, folder.name
      if not folder.is_dir() or not _cards(folder):
        return self._on_hub()
    elif folder.name in _configs(folder.parent):
      folder, name = folder.parent, folder.name
    folder = _snapshot(folder)
    # `save_to_disk` writes state.json for a Dataset, dataset_dict.json for a DatasetDict.
    if not name and (folder / 'state.json').is_file():
      return 'arrow', _saved(folder, self.split)
    if not name and (folder / 'dataset_dict.json').is_file():
      splits = _read(folder / 'dataset_dict.json', lambda info: _names(info['splits']))
      return 'arrow', _saved(folder / self._chosen(splits))
    there = repository.make(str(folder), _listed(folder), _cards(folder))
    form, paths = there.files(self.split or 'train', name)
    return form, [str(folder / path) for path in paths]

  def _on_hub(self):
    place = _ON_HUB.fullmatch(str(self.folder))
    if not place:
      raise config.UserError(
        f'{self.spec}: there is no folder {self.folder} (seen from {pathlib.Path.cwd()})'
      )
    try:
      return _fetched(place[1], self.split or 'train', place[2] or '')
    except config.UserError:
      raise
    except Exception as error:  # it raises those of several libraries
      raise config.UserError(
        f'{self.spec}: there is no folder {self.folder} (seen from {pathlib.Path.cwd()}), and it '
        f'could not be read from the hub ({config.one_line(error)})'
      ) from None

  def _chosen(self, splits):
    split = self.split or 'train'
    if split not in splits:
      raise config.UserError(
        f'{self.spec}: {self.folder} has no split {split!r}; write '
        f'hf:{self.folder}:SPLIT with one of: {", ".join(sorted(splits))}'
      )
    return split


def make(spec: str, argument: str) -> HuggingFace:
  """Returns the HuggingFace of an argument FOLDER[/CONFIG][:SPLIT[:FIELD]]."""
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


def _listed(folder):
  """Returns the relative paths of the files in a folder, but those of git."""
  listed = []

  def fail(error):
    raise files.unreadable(error.filename, error)

  for place, folders, names in os.walk(folder, onerror=fail):
    folders[:] = [each for each in folders if each != '.git']
    listed += [
      path.relative_to(folder).as_posix()
      for path in (pathlib.Path(place, name) for name in names)
      if path.is_file()
    ]
  return listed


def _cards(folder):
  """Returns {name: text} of the cards in a folder."""
  cards = {}
  for name in repository.CARDS:
    try:
      if (folder / name).is_file():
        with open(folder / name, encoding='utf-8', errors='replace') as file:
          cards[name] = file.read(_CARD)
    except OSError as error:
      raise files.unreadable(str(folder / name), error) from None
  return cards


def _configs(folder):
  """Returns the names of the configs that the card of a folder has."""
  return repository.make(str(folder), [], _cards(folder)).configs


def _snapshot(folder):
  """Returns the folder itself, or the snapshot in one of the hub's cache (datasets--NAME)."""
  snapshots = folder / 'snapshots'
  if not folder.name.startswith('datasets--') or not snapshots.is_dir():
    return folder
  main = folder / 'refs' / 'main'
  named = snapshots / main.read_text(errors='replace').strip() if main.is_file() else None
  if not named or not named.is_dir():
    raise config.UserError(f'{folder} has no snapshot called main; fetch the data again')
  return named


@functools.cache  # a repository does not change while a program runs
def _fetched(name, split, config_name):
  """Returns (format, paths) as `HuggingFace._files`, of a repository on the hub, fetched."""
  import huggingface_hub  # slow to import, and rarely needed

  fetch = functools.partial(huggingface_hub.snapshot_download, name, repo_type='dataset')
  found = huggingface_hub.HfApi().dataset_info(name)
  cards = pathlib.Path(fetch(revision=found.sha, allow_patterns=list(repository.CARDS)))
  listed = [each.rfilename for each in found.siblings or []]
  form, paths = repository.make(name, listed, _cards(cards)).files(split, config_name)
  patterns = [glob.escape(path) for path in paths]
  folder = pathlib.Path(fetch(revision=found.sha, allow_patterns=patterns))
  return form, [str(folder / path) for path in paths]
