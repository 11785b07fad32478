"""Which files of a Hugging Face repository are which split, as `datasets.load_dataset` has it.

All from the list of a repository's files and the front matter of its README.md, so that a folder
and a repository on the hub are the same. The rules and patterns are those of datasets 5.2
(data_files.py, load.py, utils/metadata.py):

  configs:        in the front matter, or in .huggingface.yaml, names the files of each config
  else            data/SPLIT-00000-of-00001.*, else the first of these that matches any file:
                  folders, then files with the name of a split as a word, then all files
  formats         that of most files, the others are left alone
  never           README.md and such, names that begin with a dot, folders that begin with __,
                  unless a pattern of `configs:` begins so as well
"""

import collections
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import posixpath
import re
from typing import Any

from fsspec import utils as fsspec
import yaml

from mlm_jax import config as config_lib

CARDS = ('README.md', '.huggingface.yaml')  # what the second says counts
_IGNORED = ('README.md', 'config.json', 'dataset_info.json', 'dataset_infos.json')
_IGNORED += ('dummy_data.zip', 'dataset_dict.json')
_METADATA = ('metadata.csv', 'metadata.jsonl', 'metadata.parquet')  # count least
_FRONT = re.compile(r'^\s*---[\r\n]+([\S\s]*?)[\r\n]+---(\r\n|\n|$)')
_SHARD = '-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]*.*'
_WORDS = {
  'train': ('train', 'training'),
  'validation': ('validation', 'valid', 'dev', 'val'),
  'test': ('test', 'testing', 'eval', 'evaluation'),
}
_PART = re.compile(r'(.*)-(\d{5,})-of-(\d{5,})(?:-[0-9a-f]+)?\..*')  # first, which, of how many
_SEP = '[-._ 0-9]'
_FOLDERS = ('**/{0}/**', '**/{0}{1}*/**', '**/*{1}{0}/**', '**/*{1}{0}{1}*/**')
_FILES = ('**/{0}{1}*', '**/*{1}{0}{1}*')
# The formats that are read, by their endings, and others that may be those of most files.
_FORMATS = {
  'parquet': ('.parquet', '.geoparquet', '.gpq'),
  'arrow': ('.arrow',),
  'json': ('.json', '.jsonl', '.ndjson'),
  'text': ('.txt',),
}
_UNREAD = (
  '.csv .tsv .tar .xml .hdf5 .h5 .md .toml .eval .lance .conll .conllu .zip '
  '.png .jpg .jpeg .gif .bmp .tif .tiff .webp .mp3 .wav .flac .ogg .opus .m4a .mp4 .mkv .avi .mov '
  '.webm .pdf .nii'
).split()
_FORMAT = {ending: name for name, endings in _FORMATS.items() for ending in endings}
# For equally many files.
_PREFERRED = ('.parquet', '.lance', '.vortex', '.arrow', '.jsonl', '.json', '.csv')
# Settings of a config that would change its rows.
_UNHEEDED = (
  'field encoding encoding_errors sample_by keep_linebreaks columns filters sep delimiter skiprows '
  'column_names names usecols nrows'
).split()


@dataclasses.dataclass(frozen=True)
class Repository:
  """A repository.

  Attributes:
    name: for messages.
    paths: of its files, relative, sorted.
    configs: {name: what the card says of it}; {} where it says nothing.
    default: the config that is meant where none is named, or None.
  """

  name: str
  paths: tuple[str, ...]
  configs: Mapping[str, Any]
  default: str | None

  def splits(self, config: str = '') -> dict[str, list[str]]:
    """Returns {split: paths of its files, in the order of the rows} of a config, '' the default.

    Raises:
      UserError: there is no such config, or several and no default; or what its card says of it
        cannot be followed.
    """
    chosen = config or self.default
    known = ', '.join(self.configs)
    if config and config not in self.configs:
      raise self._error(f'has no config {config!r}' + (f'; it has: {known}' if known else ''))
    if self.configs and not chosen:
      raise self._error(f'has several configs; write hf:{self.name}/CONFIG with one of: {known}')
    said = self.configs[chosen] if chosen else {}
    unheeded = [key for key in said if key in _UNHEEDED]
    if unheeded:
      raise self._error(f'sets {", ".join(unheeded)} for its config {chosen!r}, which is not read')
    folder = self._inside(str(said.get('data_dir') or ''))
    if said.get('data_files') is None:
      patterns = _default_patterns([path for path in self.paths if _under(path, folder)], folder)
    else:
      patterns = self._patterns(said['data_files'])
    return {
      split: [path for each in wanted for path in self._resolve(posixpath.join(folder, each))]
      for split, wanted in patterns.items()
    }

  def files(self, split: str, config: str = '') -> tuple[str, list[str]]:
    """Returns (format, the paths of a split's files in the order of the rows).

    The format, one of parquet, arrow, json and text, is that of most files; others are left alone.

    Raises:
      UserError: there is no such split, it is of a format that is not read, or a part is missing;
        or as `splits`.
    """
    splits = self.splits(config)
    paths = splits.get(split)
    if not paths:
      there = ', '.join(sorted(each for each in splits if splits[each]))
      where = f'hf:{self.name}/{config}' if config else f'hf:{self.name}'
      raise self._error(
        f'has no split {split!r}; write {where}:SPLIT with one of: {there}'
        if there
        else 'has no .parquet, .arrow, .jsonl, .json or .txt file'
      )
    form, kept = self._format(split, paths)
    said = self.configs.get(config or self.default or '')
    if said is not None and form == 'text':
      kept = paths  # whatever their endings: load_dataset chooses none among those of a config
    elif said and said.get('data_files') is not None and kept != paths:
      other = next(path for path in paths if path not in kept)
      raise self._error(f'names files of two formats for split {split!r}, {kept[0]} and {other}')
    self._check_parts(split, kept)
    return form, kept

  def _check_parts(self, split, paths):
    """Raises UserError where a part is missing, of an interrupted download say."""
    parts = {}
    for path in set(paths):
      match = _PART.fullmatch(path)
      if match:
        parts.setdefault((match[1], int(match[3])), set()).add(int(match[2]))
    for (_, wanted), there in parts.items():
      if len(there) != wanted:
        raise self._error(
          f'has {len(there)} of the {wanted} parts of split {split!r}; '
          'fetch the others, or remove what is of another version'
        )

  def _format(self, split, paths):
    """Returns (format of most files, the paths of those)."""
    counts = collections.Counter(
      (f'.{part.lower()}', posixpath.basename(path) in _METADATA)
      for path in paths
      for part in posixpath.basename(path).split('.')[1:]
    )

    def rank(entry):
      (ending, is_metadata), count = entry
      return not is_metadata, count, *(ending == each for each in _PREFERRED), ending

    for (ending, _), _ in sorted(counts.items(), key=rank, reverse=True):
      if ending in _FORMAT:
        endings = '|'.join(map(re.escape, _FORMATS[_FORMAT[ending]]))
        wanted = re.compile(rf'.*({endings})(\..+)?')
        return _FORMAT[ending], [path for path in paths if wanted.fullmatch(path)]
      if ending in _UNREAD:
        raise self._error(
          f'has {ending} files for split {split!r}, which are not read; '
          'write them as .parquet or .jsonl'
        )
    raise self._error(f'has no .parquet, .arrow, .jsonl, .json or .txt file for split {split!r}')

  def _patterns(self, said):
    """Returns {split: its patterns} of what a card says in `data_files`."""
    if isinstance(said, dict):
      said = [{'split': split, 'path': path} for split, path in said.items()]
    said = said if isinstance(said, list) else [said]
    if all(isinstance(each, str) for each in said):
      said = [{'split': 'train', 'path': said}]
    patterns = {}
    for each in said:
      if not isinstance(each, dict) or set(each) != {'split', 'path'} or each['split'] in patterns:
        raise self._error(
          f'has data_files which name no split and path, or one twice: {each!r:.80}'
        )
      path = each['path']
      patterns[str(each['split'])] = [
        self._inside(str(one)) for one in (path if isinstance(path, list) else [path])
      ]
    return patterns

  def _inside(self, path):
    plain = posixpath.normpath(path) if path else ''
    if '://' in path or plain.startswith(('/', '..')):
      raise self._error(f'names files outside of itself ({path:.80}), which are not read')
    return '' if plain == '.' else plain

  def _resolve(self, pattern):
    found = _matching(pattern, self.paths)
    if not found and not re.search('[*?[]', pattern):
      raise self._error(f'names {pattern}, which is not there')
    return [path for path in found if _is_data(path)]

  def _error(self, what):
    return config_lib.UserError(f'{self.name} {what}')


def make(name: str, paths: Sequence[str], cards: Mapping[str, str]) -> Repository:
  """Returns the Repository of a list of files and the texts of those of CARDS that are there.

  Raises:
    UserError: a card cannot be understood.
  """
  said = {}
  for card, text in cards.items():
    match = _FRONT.match(text) if card.endswith('.md') else None
    if card.endswith('.md') and not match:
      continue
    try:
      found = yaml.safe_load(match[1] if match else text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
      raise config_lib.UserError(
        f'{name}: {card} is not in order ({config_lib.one_line(error)}); mend it'
      ) from None
    said |= found if isinstance(found, dict) else {}
  configs = said.get('configs') or []
  if not isinstance(configs, list) or not all(
    isinstance(each, dict) and each.get('config_name') is not None for each in configs
  ):
    raise config_lib.UserError(
      f'{name}: `configs` of its card must be a list, each with config_name'
    )
  configs = {str(each['config_name']): each for each in configs}
  return Repository(name, tuple(sorted(paths)), configs, _default(name, configs, said))


def _default(name, configs, said):
  """Returns the name of the config that is meant where none is named, or None."""
  marked = [
    each
    for each in configs
    if len(configs) == 1 or each == 'default' or configs[each].get('default')
  ]
  if len(marked) > 1:
    raise config_lib.UserError(f'{name} has several default configs: {", ".join(marked)}')
  infos = said.get('dataset_info')
  infos = infos if isinstance(infos, list) else [infos] if infos else []
  described = {info.get('config_name', 'default') for info in infos if isinstance(info, dict)}
  if not marked and len(described) == 1:
    marked = [each for each in configs if each in described]
  return marked[0] if marked else None


def _under(path, folder):
  return not folder or path.startswith(f'{folder}/')


def _default_patterns(paths, folder):
  """Returns {split: patterns}, relative to a folder, for the files in it."""
  there = lambda pattern: _matching(posixpath.join(folder, pattern), paths)
  shards = there(f'data/*{_SHARD}')
  if shards:
    named = {re.split(r'-\d{5}-of-\d{5}', posixpath.basename(path))[0] for path in shards}
    ordered = [split for split in _WORDS if split in named] + sorted(named - set(_WORDS))
    return {split: [f'data/{split}{_SHARD}'] for split in ordered}
  for forms in (_FOLDERS, _FILES):
    patterns = {
      split: [form.format(word, _SEP) for word in words for form in forms]
      for split, words in _WORDS.items()
    }
    found = {split: each for split, each in patterns.items() if any(map(there, each))}
    if found:
      return found
  return {'train': ['**']}


def _matching(pattern, paths):
  """Returns the paths that a pattern matches, as fsspec does, and that it may match."""
  matches = re.compile(fsspec.glob_translate(pattern)).match
  ignored = set(_IGNORED) - {posixpath.basename(pattern)}
  counts = lambda text: (
    sum(part.startswith('__') for part in text.split('/')[:-1]),
    sum(part.startswith('.') and set(part) != {'.'} for part in text.split('/')),
  )
  return [
    path
    for path in paths
    if matches(path) and posixpath.basename(path) not in ignored and counts(path) == counts(pattern)
  ]


def _is_data(path):
  """Whether a file has an ending that load_dataset looks at."""
  known = {*_FORMAT, *_UNREAD}
  return any(f'.{part}' in known for part in posixpath.basename(path).split('.')[1:])
