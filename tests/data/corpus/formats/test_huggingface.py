"""The folder tests/golden/huggingface was written by `datasets` 5.2.0:

text = [f'Text {i} with ümlauts.' for i in range(12)]
make = lambda texts: Dataset.from_dict({'text': texts, 'body': [t and t[::-1] for t in texts],
                                        'label': list(range(len(texts)))})
train, test = make(text[:8]).select([7, 6, 5, 4, 3, 2, 1, 0]), make(text[8:11] + [None])
DatasetDict({'train': train, 'test': test}).save_to_disk('dict', num_shards={'train': 2, 'test': 1})
train.save_to_disk('single')
train.to_parquet('repository/data/train-00000-of-00001.parquet')
test.to_json('repository/test.jsonl')
"""

import gzip
import json
import pathlib
import shutil

import pytest

from mlm_jax import config
from mlm_jax.data import prepare
from tests.data import invented
from tests.data.invented import sentences
from tests.data.invented import settings

GOLDEN = pathlib.Path(__file__).parents[3] / 'golden' / 'huggingface'
TRAIN = [f'Text {i} with ümlauts.' for i in (7, 6, 5, 4, 3, 2, 1, 0)]
TEST = [f'Text {i} with ümlauts.' for i in (8, 9, 10)]


@pytest.fixture
def golden(tmp_path):
  """Returns a copy of the golden folder, to be altered."""
  return pathlib.Path(shutil.copytree(GOLDEN, tmp_path / 'golden'))


def read(spec, **changes):
  texts, _, skipped = invented.read(f'hf:{spec}', **changes)
  return texts, skipped


@pytest.mark.parametrize(
  'spec, wanted',
  [
    ('dict', TRAIN),
    ('dict:train', TRAIN),
    ('dict/', TRAIN),
    ('dict:test', TEST),
    ('single', TRAIN),
    ('dict/train', TRAIN),
    ('repository', TRAIN),
    ('dict:test:body', [text[::-1] for text in TEST]),
    ('single::body', [text[::-1] for text in TRAIN]),
  ],
)
def test_what_the_library_wrote_is_read_in_its_order(spec, wanted):
  texts, skipped = read(f'{GOLDEN}/{spec}')
  assert texts == wanted and skipped.records == (1 if len(wanted) == len(TEST) else 0)


def test_the_field_of_the_config_holds_where_none_is_named():
  assert read(f'{GOLDEN}/dict', field='body')[0] == [text[::-1] for text in TRAIN]
  assert read(f'{GOLDEN}/dict:train:text', field='body')[0] == TRAIN


@pytest.mark.parametrize(
  'spec, message',
  [
    ('nix', 'there is no folder .*nix'),
    ('dict:dev', "no split 'dev'; write hf:.*dict:SPLIT with one of: test, train$"),
    ('repository:test', "no split 'test'; write hf:.*repository:SPLIT with one of: train$"),
    ('single:dev', "single is one saved Dataset; leave out the split 'dev'$"),
    ('dict:train:nix', "no column 'nix'; set config.data.field to one of: text, body, label$"),
    (
      'repository:train:nix',
      "no column 'nix'; set config.data.field to one of: text, body, label$",
    ),
  ],
)
def test_a_name_that_is_not_there_is_refused_with_those_that_are(spec, message):
  with pytest.raises(config.UserError, match=message) as error:
    read(f'{GOLDEN}/{spec}')
  assert '\n' not in str(error.value)


@pytest.mark.parametrize(
  'file, text, message',
  [
    ('dict/dataset_dict.json', '{"splits": [', 'dataset_dict.json is damaged .JSONDecodeError'),
    ('dict/dataset_dict.json', '{}', "dataset_dict.json is damaged .KeyError: 'splits'"),
    ('dict/dataset_dict.json', '"abc"', 'dataset_dict.json is damaged .TypeError'),
    ('dict/dataset_dict.json', '{"splits": null}', 'dataset_dict.json is damaged .TypeError'),
    (
      'dict/dataset_dict.json',
      '{"splits": [1, "train"]}',
      'dataset_dict.json is damaged .TypeError',
    ),
    ('dict/dataset_dict.json', '[' * 100_000, 'dataset_dict.json is damaged .RecursionError'),
    ('dict/train/state.json', '[]', 'state.json is damaged .TypeError'),
    (
      'dict/train/state.json',
      '{"_split": null, "_data_files": [{"name": "x"}]}',
      "state.json is damaged .KeyError: 'filename'",
    ),
    (
      'dict/train/state.json',
      '{"_split": null, "_data_files": ["x"]}',
      'state.json is damaged .TypeError',
    ),
    (
      'dict/train/state.json',
      '{"_split": null, "_data_files": [{"filename": 1}]}',
      'damaged .TypeError',
    ),
    (
      'dict/train/state.json',
      '{"_split": null, "_data_files": 3}',
      'state.json is damaged .TypeError',
    ),
    ('dict/train/state.json', None, 'cannot read .*state.json'),
    (
      'dict/train/data-00001-of-00002.arrow',
      None,
      'cannot read .*data-00001-of-00002.arrow: No such file',
    ),
    (
      'dict/train/data-00001-of-00002.arrow',
      'version https',
      'data-00001-of-00002.arrow is damaged',
    ),
  ],
)
def test_a_damaged_folder_is_refused_in_one_line(golden, file, text, message):
  (golden / file).unlink() if text is None else (golden / file).write_text(text)
  with pytest.raises(config.UserError, match=message) as error:
    read(f'{golden}/dict')
  assert '\n' not in str(error.value)


def test_a_saved_part_knows_its_split(golden):
  state = json.loads((golden / 'single/state.json').read_text())
  (golden / 'single/state.json').write_text(json.dumps({**state, '_split': 'test'}))
  assert read(f'{golden}/single:test')[0] == read(f'{golden}/single')[0] == TRAIN
  with pytest.raises(config.UserError, match="of split 'test'; leave out the split 'train'"):
    read(f'{golden}/single:train')


def test_a_split_that_lacks_a_part_is_refused(golden):
  data = golden / 'repository' / 'data'
  (data / 'train-00000-of-00001.parquet').rename(data / 'train-00001-of-00002.parquet')
  with pytest.raises(config.UserError, match="has 1 of the 2 parts of split 'train'"):
    read(golden / 'repository')
  shutil.copy(data / 'train-00001-of-00002.parquet', data / 'train-00000-of-00002.parquet')
  assert read(golden / 'repository')[0] == TRAIN * 2


def test_the_format_of_most_files_is_read_and_parquet_of_as_many(tmp_path):
  shutil.copy(GOLDEN / 'repository/data/train-00000-of-00001.parquet', tmp_path / 'a_train.parquet')
  (tmp_path / 'b_train.jsonl').write_text('{"text": "one"}\n')
  assert read(tmp_path)[0] == TRAIN
  (tmp_path / 'c_train.jsonl').write_text('{"text": "two"}\n')
  assert read(tmp_path)[0] == ['one', 'two']


def test_records_of_a_repository_may_be_compressed_and_other_files_are_left_alone(tmp_path):
  (tmp_path / 'train.jsonl.gz').write_bytes(gzip.compress(b'{"text": "one"}\n{"text": "two"}\n'))
  (tmp_path / 'README.md').write_text('train')
  (tmp_path / 'train.txt').write_text('{}')
  (tmp_path / '.git').mkdir()
  assert read(tmp_path)[0] == ['one', 'two']


def test_records_without_a_text_are_reported_by_the_field_that_the_source_names(tmp_path):
  (tmp_path / 'train.jsonl').write_text('{"body": 3}\n')
  with pytest.raises(config.UserError, match="skipped 1 records without a text in 'body'$"):
    prepare.prepare(
      settings(source=f'hf:{tmp_path}:train:body'), tmp_path / 'out', log=lambda line: None
    )


def test_a_folder_is_prepared_and_a_change_of_its_files_noticed(tmp_path):
  (tmp_path / 'in').mkdir()
  write = lambda texts: (tmp_path / 'in/train.jsonl').write_text(
    ''.join(json.dumps({'body': text}) + '\n' for text in texts)
  )
  write(sentences(500))
  data = settings(source=f'hf:{tmp_path}/in', document='file', field='body')
  quiet = lambda line: None
  prepared = prepare.prepare(data, tmp_path / 'out', log=quiet)
  assert prepared.sources == ('in',) and len(prepared.train[0])
  assert prepare.prepare(data, tmp_path / 'out', log=quiet).fingerprint == prepared.fingerprint
  write(sentences(500, seed=1))
  with pytest.raises(config.UserError, match='prepared from other files'):
    prepare.prepare(data, tmp_path / 'out', log=quiet)
