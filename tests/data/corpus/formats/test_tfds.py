import os
import pathlib
import shutil
import tempfile
from typing import Any

import numpy as np
import pytest

from mlm_jax import config
from mlm_jax.data import prepare
from tests.data import invented
from tests.data.invented import sentences
from tests.data.invented import settings

TEXTS = sentences(600)


@pytest.fixture(scope='module')
def library():
  """Returns TensorFlow Datasets, with a data set `invented` of two splits in its catalogue."""
  import tensorflow_datasets as tfds

  class Invented(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version('1.2.0')

    def _info(self):
      text = tfds.features.Text()
      return tfds.core.DatasetInfo(
        builder=self,
        disable_shuffling=True,
        features=tfds.features.FeaturesDict(
          {'text': text, 'length': np.int64, 'words': tfds.features.Sequence(text)}
        ),
      )

    def _split_generators(self, manager):
      return {'train': self._examples(TEXTS[:500]), 'test': self._examples(TEXTS[500:])}

    def _examples(self, texts):
      for i, text in enumerate(texts):
        yield i, {'text': text, 'length': len(text), 'words': text.split()}

    _generate_examples = _examples

  class Failing(Invented):
    def _examples(self, texts):
      yield from super()._examples(texts[:5])
      raise RuntimeError('its files\nare gone')

  class NeedsLibrary(Invented):
    def _split_generators(self, manager) -> Any:
      import tensorflow  # pyrefly: ignore[missing-import]  # it is not there

      return tensorflow

  class ByHand(Invented):
    MANUAL_DOWNLOAD_INSTRUCTIONS = 'Ask the authors.'

  return tfds


@pytest.fixture(scope='module')
def prepared_folder(library, tmp_path_factory):
  """Returns the library's folder, with `invented` prepared by the library itself."""
  folder = tmp_path_factory.mktemp('tfds')
  library.builder('invented', data_dir=folder).download_and_prepare(file_format='array_record')
  return folder


@pytest.fixture
def folder(prepared_folder, monkeypatch):
  monkeypatch.setenv('TFDS_DATA_DIR', str(prepared_folder))
  return prepared_folder


@pytest.fixture
def copy(prepared_folder, tmp_path, monkeypatch):
  """Returns a copy of that folder, to be altered."""
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'tfds'))
  return pathlib.Path(shutil.copytree(prepared_folder, tmp_path / 'tfds'))


def read(spec, **changes):
  texts, _, skipped = invented.read(f'tfds:{spec}', **changes)
  return texts, skipped


def refused(spec, **changes):
  """Returns the message of one line that a source is refused with."""
  with pytest.raises(config.UserError) as error:
    read(spec, **changes)
  assert '\n' not in str(error.value)
  return str(error.value)


@pytest.mark.parametrize(
  'spec, wanted',
  [
    ('invented', TEXTS[:500]),
    ('invented:test', TEXTS[500:]),
    ('invented:1.2.0', TEXTS[:500]),
    ('invented:1.*.*:test:text', TEXTS[500:]),
    ('invented:train[10:20]', TEXTS[10:20]),
    ('invented:test[50%:]+train[:1%]', TEXTS[550:] + TEXTS[:5]),
  ],
)
def test_what_the_library_prepared_is_read_in_its_order(folder, spec, wanted, capfd):
  texts, skipped = read(spec)
  assert texts == wanted and not skipped.records
  assert capfd.readouterr() == ('', '')


def test_the_splitting_rule_holds_for_each_text(folder):
  assert len(read('invented', document='regex', document_regex=r'\.$')[0]) == 1000


@pytest.mark.parametrize('field', ['length', 'words'])
def test_what_is_not_text_is_counted(folder, field):
  texts, skipped = read(f'invented:test:{field}')
  assert not texts and skipped.records == 100
  assert skipped.first_record == f'tfds:invented:test:{field} record 1'


def test_what_is_not_prepared_is_prepared_and_reported(library, tmp_path, monkeypatch, capfd):
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
  assert read('invented')[0] == TEXTS[:500]
  assert capfd.readouterr() == (f'invented: preparing invented/1.2.0 in {tmp_path}\n', '')
  assert read('invented:test')[0] == TEXTS[500:]
  assert capfd.readouterr() == ('', '')


@pytest.mark.parametrize(
  'spec, message',
  [
    ('invented:dev', "invented/1.2.0 has no split 'dev'; it has: train, test"),
    ('invented:train[:x%]', "has no split 'train[:x%]'"),
    ('invented:train:nix', "no field 'nix'; set config.data.field to one of: "),
    ('invented:1.3.0', 'cannot be loaded at version 1.3.0, only: 1.2.0'),
    ('invented/small', 'BuilderConfig small not found'),
    ('invented/1.2.0:test', 'a version comes after a colon: tfds:invented:1.2.0'),
    ('invented:train[:0%]', "invented/1.2.0 has no records in 'train[:0%]'"),
    ('invented:train:nix', 'one of: length, text, words'),
    ('invent', "no data set 'invent' in "),
    ('invent', 'did you mean invented?'),
    ('imdb_review', 'did you mean imdb_reviews?'),
    ('a b', 'write tfds:NAME[/CONFIG]'),
    ('a:b:c:d', 'write tfds:NAME[/CONFIG]'),
    ('../a', 'write tfds:NAME'),
    ('imdb_reviews', 'imdb_reviews/plain_text/1.0.0 is not prepared in '),
    (
      'imdb_reviews',
      'needs a download; prepare it once where that is at hand: tfds build imdb_reviews ',
    ),
    ('wikipedia', 'needs Apache Beam and a download; prepare it once'),
    ('glue/nix', 'cannot be opened (ValueError: '),
    ('robonet', 'cannot be opened without tensorflow'),
    ('by_hand', 'needs files fetched by hand'),
    (
      'needs_library',
      'cannot be prepared without tensorflow, which is not installed; prepare it once',
    ),
  ],
)
def test_what_cannot_be_read_is_refused_in_one_line_and_in_silence(folder, spec, message, capfd):
  assert message in refused(spec)
  out, error = capfd.readouterr()
  assert not error and (not out or out.startswith('needs_library: preparing'))


def test_the_library_does_not_warn_of_its_own(copy, caplog):
  (copy / 'imdb_reviews/plain_text/1.0.0').mkdir(parents=True)
  assert 'is not prepared' in refused('imdb_reviews')
  assert not caplog.records


def test_a_name_is_not_asked_for_in_place_of_itself(copy):
  (copy / 'strange').mkdir()
  assert 'strange?' not in refused('strange') and 'strange or' not in refused('strange')


def test_what_the_library_makes_beside_its_folder_is_removed(library, tmp_path, monkeypatch):
  (tmp_path / 'beside').mkdir()
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'beside'))
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'tfds'))
  assert 'needs a download' in refused('imdb_reviews')
  assert read('invented')[0] == TEXTS[:500]
  assert not list((tmp_path / 'beside').iterdir()) and tempfile.tempdir == str(tmp_path / 'beside')


def test_what_is_on_disk_is_read_without_its_builder(copy):
  os.rename(copy / 'invented', copy / 'strange')
  for path in (copy / 'strange/1.2.0').iterdir():
    path.rename(path.with_name(path.name.replace('invented', 'strange')))
  info = copy / 'strange/1.2.0/dataset_info.json'
  info.write_text(info.read_text().replace('"invented"', '"strange"'))
  assert read('strange:test')[0] == TEXTS[500:]
  assert refused('strange:1.3.0').endswith('has no strange:1.3.0; it has: strange/1.2.0')
  assert refused('strange/1.2.0').endswith(
    'has no strange/1.2.0; a version comes after a colon: tfds:strange:1.2.0'
  )
  assert refused('strange/small').endswith('has no strange/small; it has: strange/1.2.0')


def test_a_preparation_that_fails_leaves_nothing_half_made(folder):
  assert 'cannot be prepared (RuntimeError: its files are gone' in refused('failing')
  assert not list(folder.glob('failing/**/*.*'))


def test_a_format_that_only_tensorflow_reads_is_refused(copy):
  info = copy / 'invented/1.2.0/dataset_info.json'
  info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
  assert 'holds tfrecord, which only TensorFlow reads; remove it and prepare it' in refused(
    'invented'
  )


@pytest.mark.parametrize('harm', ['empty', 'cut', 'altered', 'gone'])
def test_a_damaged_file_is_refused(copy, harm):
  (path,) = copy.glob('invented/1.2.0/invented-train*')
  data = path.read_bytes()
  path.write_bytes(
    {
      'empty': b'',
      'cut': data[: len(data) // 2],
      'gone': b'',
      'altered': data[:300] + b'XXXXXXXX' + data[308:],
    }[harm]
  )
  if harm == 'gone':
    path.unlink()
  assert ('No such file' if harm == 'gone' else 'cannot be read, so it may be damaged') in refused(
    'invented'
  )


def test_a_data_set_is_reused_wherever_it_is_and_a_change_noticed(copy, tmp_path, monkeypatch):
  data = settings(source='tfds:invented', document='file')
  lines = []
  prepared = prepare.prepare(data, tmp_path / 'out', log=lines.append)
  assert prepared.sources == ('invented',) and len(prepared.train[0])
  os.rename(copy, tmp_path / 'moved')
  monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path / 'moved'))
  assert (
    prepare.prepare(data, tmp_path / 'out', log=lines.append).fingerprint == prepared.fingerprint
  )
  (path,) = (tmp_path / 'moved').glob('invented/1.2.0/invented-train*')
  path.write_bytes(path.read_bytes() + b'x')
  with pytest.raises(config.UserError, match='prepared from other files'):
    prepare.prepare(data, tmp_path / 'out', log=lines.append)
