"""Documents of TensorFlow Datasets, read through its data source without TensorFlow.

The library is imported when a source is used: that takes a while. It warns, prints
banners and draws bars of its own; what matters of them is in the errors here.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import dataclasses
import difflib
import importlib
import io
import logging
import os
import pathlib
import re
import tempfile
import textwrap
from typing import Any

from mlm_jax import config
from mlm_jax.data.corpus import clean
from mlm_jax.data.corpus import files
from mlm_jax.data.corpus import records

_READ = 256  # records read in one call
_LONGEST = 300  # characters of the library's own messages that are shown
_NEWEST = '*.*.*'  # any version; with one named, the library looks on disk before its catalogue
_VERSION = re.compile(r'[\d*]+\.[\d*]+\.[\d*]+')
_OUTSIDE_BRACKETS = re.compile(r':(?![^\[]*\])')  # a split may be train[:10%]


@dataclasses.dataclass(frozen=True)
class Tfds:
  """tfds:NAME[/CONFIG][:VERSION][:SPLIT[:FIELD]].

  The data set is prepared in the library's folder (TFDS_DATA_DIR, or
  ~/tensorflow_datasets), as array_record; the newest version there, where none is
  named. What is not there is prepared where that takes no download, no Apache Beam
  and no TensorFlow. SPLIT may be a slice such as train[:10%]; without it it is
  `train`, without FIELD `config.data.field`.
  """

  spec: str
  name: str
  dataset: str
  split: str
  field: str

  def inputs(self, log: Callable[[str], Any] = print) -> list[tuple]:
    """Returns the data set's full name, the split and its size, and its files without folders.

    Raises:
      UserError: it is not there and cannot be prepared here, or has no such split.
    """
    builder = self._prepared(log)
    split = self._split(builder)
    return [
      (builder.info.full_name, self.split, split.num_examples),
      *(
        (path.name, *files.described(str(path))[1:]) for path in map(pathlib.Path, split.filepaths)
      ),
    ]

  def documents(self, data: Any, counts: clean.Counts, skipped: Any) -> Iterator[str]:
    """Yields each document's text; arguments as for `records.documents`."""
    builder = self._prepared(print)
    self._split(builder)
    yield from records.cut(self._values(builder, self.field or data.field), data, counts, skipped)

  def _values(self, builder, field):
    """Yields (where it is, value of the field) of each record."""
    features = builder.info.features
    there = sorted(features) if hasattr(features, 'keys') else []
    if field not in there:
      raise config.UserError(
        f'{self.spec}: {builder.info.full_name} has no field {field!r}; set '
        f'config.data.field to one of: {", ".join(there)}'
      )
    with self._told('cannot be read, so it may be damaged'):
      source = builder.as_data_source(self.split)
    # Many in one call: reading them one by one is slower.
    for begin in range(0, len(source), _READ):
      with self._told('cannot be read, so it may be damaged'):
        read = source.__getitems__(range(begin, min(begin + _READ, len(source))))
      for number, record in enumerate(read, begin + 1):
        yield f'{self.spec} record {number}', record[field]

  def _split(self, builder):
    try:
      split = builder.info.splits[self.split]
    except (KeyError, ValueError):
      raise config.UserError(
        f'{self.spec}: {builder.info.full_name} has no split {self.split!r}; it has: '
        f'{", ".join(builder.info.splits)}'
      ) from None
    if not split.num_examples:
      raise config.UserError(
        f'{self.spec}: {builder.info.full_name} has no records in {self.split!r}; name more of it'
      )
    return split

  def _prepared(self, log):
    """Returns the builder of the prepared data set."""
    import tensorflow_datasets as tfds

    with self._told('cannot be opened'):
      builder = _builder(tfds, self.dataset)
    if builder is None:
      raise config.UserError(_unknown(tfds, self))
    with self._told('cannot be opened'):
      is_prepared = builder.is_prepared()
    if not is_prepared:
      needed = _needed(tfds, builder)
      if needed:
        raise config.UserError(
          f'{self.spec}: {builder.info.full_name} is not prepared in '
          f'{_data_dir()}, and needs {needed}; {self._build}'
        )
      log(f'{self.name}: preparing {builder.info.full_name} in {_data_dir()}')
      with self._told('cannot be prepared'):
        # With these settings nothing is fetched.
        builder.download_and_prepare(
          file_format='array_record',
          download_config=tfds.download.DownloadConfig(
            force_checksums_validation=True, try_download_gcs=False
          ),
        )
    if str(builder.info.file_format) not in map(str, tfds.core.FileFormat.with_random_access()):
      raise config.UserError(
        f'{self.spec}: {builder.data_dir} holds {builder.info.file_format.value}, which '
        f'only TensorFlow reads; remove it and {self._build}'
      )
    return builder

  @property
  def hint(self) -> str:
    """How to write the version where it was given as the configuration, or ''."""
    name, _, version = self.dataset.removesuffix(f':{_NEWEST}').partition('/')
    return (
      f'; a version comes after a colon: tfds:{name}:{version}'
      if _VERSION.fullmatch(version)
      else ''
    )

  @property
  def _build(self):
    dataset = self.dataset.partition(':')[0]
    return (
      'prepare it once where that is at hand: '
      f'tfds build {dataset} --file_format=array_record --data_dir={_data_dir()}'
    )

  @contextlib.contextmanager
  def _told(self, what):
    """Keeps the library silent, and makes what it raises a UserError of one line."""
    try:
      with _quiet():
        yield
    except Exception as error:  # the library and its builders may raise anything
      error = error.__cause__ or error  # it raises again, with what it was about
      absent = re.search(r"No module named '(\w+)", str(error))
      if absent:
        raise config.UserError(
          f'{self.spec} {what} without {absent.group(1)}, which is not installed; {self._build}'
        ) from None
      reason = textwrap.shorten(f'{type(error).__name__}: {error}', _LONGEST)
      raise config.UserError(f'{self.spec} {what} ({reason}){self.hint}') from None


def make(spec: str, argument: str) -> Tfds:
  """Returns the Tfds of an argument NAME[/CONFIG][:VERSION][:SPLIT[:FIELD]]."""
  dataset, *rest = _OUTSIDE_BRACKETS.split(argument)
  version = rest.pop(0) if rest and _VERSION.fullmatch(rest[0]) else _NEWEST
  if len(rest) > 2 or not re.fullmatch(r'\w+(/[\w.+-]+)?', dataset):
    raise config.UserError(
      f'{spec}: write tfds:NAME[/CONFIG][:VERSION][:SPLIT[:FIELD]], such as '
      'tfds:wikipedia/20230601.en:train:text'
    )
  split, field = (rest + ['', ''])[:2]
  return Tfds(
    spec, re.sub(r'[^\w-]+', '_', dataset), f'{dataset}:{version}', split or 'train', field
  )


def _data_dir():
  return os.path.expanduser(os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets')


@contextlib.contextmanager
def _quiet():
  logger = logging.getLogger('absl')  # through which the library warns
  level = logger.level
  logger.setLevel(logging.CRITICAL)
  try:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
      yield
  finally:
    logger.setLevel(level)


def _builder(tfds, dataset):
  """Returns the builder of what is on disk, else of what is in the catalogue, else None."""
  name = re.split('[/:]', dataset)[0]
  # First without the catalogue's modules: what is on disk needs none of them.
  for modules in ([], _modules(tfds, name)):
    for module in modules:
      importlib.import_module(module)
    # Only this error means that the next place is to be tried; any other is told to the user.
    with contextlib.suppress(tfds.core.DatasetNotFoundError):
      with _own_temporary_folder():
        return tfds.builder(dataset, data_dir=_data_dir())
  return None


@contextlib.contextmanager
def _own_temporary_folder():
  """Removes what is left in the temporary folder: the library leaves a folder for each builder."""
  before = tempfile.tempdir
  with tempfile.TemporaryDirectory() as folder:
    tempfile.tempdir = folder
    try:
      yield
    finally:
      tempfile.tempdir = before


def _root(tfds):
  return pathlib.Path(tfds.__file__).parent


def _modules(tfds, name):
  """Returns the catalogue's modules of that name; without TensorFlow it imports none by itself."""
  root = _root(tfds)
  paths = [*root.glob(f'*/{name}.py'), *root.glob(f'*/{name}/{name}.py')]
  return [
    f'{root.name}.' + '.'.join(path.relative_to(root).with_suffix('').parts)
    for path in sorted(paths)
  ]


def _needed(tfds, builder):
  """Returns what preparing needs that is not done here, or ''."""
  if isinstance(builder, tfds.core.BeamBasedBuilder):
    return 'Apache Beam and a download'
  if builder.url_infos:
    return 'a download'
  return 'files fetched by hand' if builder.MANUAL_DOWNLOAD_INSTRUCTIONS else ''


def _unknown(tfds, source):
  """Returns the message for a data set that is neither on disk nor in the catalogue."""
  folder = pathlib.Path(_data_dir())
  name = re.split('[/:]', source.dataset)[0]
  there = sorted(
    str(path.parent.relative_to(folder)) for path in folder.glob(f'{name}/**/dataset_info.json')
  )
  if there:
    wanted = source.dataset.removesuffix(f':{_NEWEST}')
    return f'{source.spec}: {folder} has no {wanted}' + (
      source.hint or f'; it has: {", ".join(there)}'
    )
  root = _root(tfds)
  known = {
    path.stem for path in [*folder.glob('*'), *root.glob('datasets/*'), *root.glob('text/*')]
  }
  near = difflib.get_close_matches(name, known - {name}, 3)
  return (
    f'{source.spec}: no data set {name!r} in {folder}, nor in the catalogue of TensorFlow Datasets'
    + (f'; did you mean {" or ".join(near)}?' if near else '')
  )
