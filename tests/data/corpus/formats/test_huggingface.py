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
import types

import huggingface_hub
import pytest

from mlm_jax import config
from mlm_jax.data import prepare
from tests.data import invented
from tests.data.corpus.formats import layouts
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


LAYOUTS = json.loads((GOLDEN.parent / 'huggingface_layouts.json').read_text())


def test_layouts_give_the_rows_of_load_dataset(tmp_path):
  # tests/parity/test_load_dataset.py draws them and writes the rows down.
  assert len(LAYOUTS) > 30
  for i, layout in enumerate(LAYOUTS):
    layouts.build(tmp_path / f'repository {i}', layout)
    for name, split, rows in layout['read']:
      folder = f'{tmp_path}/repository {i}{"/" + name if name else ""}'
      assert read(f'{folder}:{split}')[0] == rows, (layout, name, split)


def card(folder, text):
  (folder / 'README.md').write_text(f'---\n{text}\n---\n')


@pytest.fixture
def two(tmp_path):
  """Returns a repository of two configs, neither of them the default."""
  layouts.write(tmp_path / 'en' / 'a.jsonl', ['one'])
  layouts.write(tmp_path / 'de' / 'b.jsonl', ['eins'])
  card(
    tmp_path,
    'configs: [{config_name: en, data_dir: en}, {config_name: german, data_files: de/*}]',
  )
  return tmp_path


def test_a_config_is_named_after_the_folder(two):
  assert read(f'{two}/en')[0] == ['one']
  assert read(f'{two}/german')[0] == read(f'{two}/german:train')[0] == ['eins']
  assert read(f'{two}/de')[0] == ['eins']  # a folder of its own


def test_a_config_that_is_not_named_or_not_there_is_refused_with_those_that_are(two):
  with pytest.raises(config.UserError, match='several configs; write hf:.*/CONFIG .*: en, german$'):
    read(two)
  with pytest.raises(config.UserError, match="has no config 'nix'; it has: en, german$"):
    read(f'{two}/nix')
  with pytest.raises(
    config.UserError, match="no split 'test'; write hf:.*/german:SPLIT .*: train$"
  ):
    read(f'{two}/german:test')


@pytest.mark.parametrize(
  'text, message',
  [
    ('configs: [', 'README.md is not in order'),
    ('configs: 3', 'must be a list, each with config_name'),
    ('configs: [{data_files: a.txt}]', 'must be a list, each with config_name'),
    ('configs: [{config_name: a, data_files: nix.jsonl}]', 'names nix.jsonl, which is not there'),
    ('configs: [{config_name: a, data_files: ../x.jsonl}]', 'names files outside of itself'),
    ('configs: [{config_name: a, data_files: /etc/passwd}]', 'names files outside of itself'),
    ('configs: [{config_name: a, data_files: "hf://x/y.parquet"}]', 'outside of itself'),
    ('configs: [{config_name: a, data_files: [{split: train}]}]', 'name no split and path'),
    ('configs: [{config_name: a, data_files: "nix*"}]', 'has no .parquet, .arrow, .jsonl'),
    ('configs: [{config_name: a, field: data}]', "sets field for its config 'a', which is not"),
    (
      'configs: [{config_name: a, default: true}, {config_name: b, default: true}]',
      'several default configs: a, b$',
    ),
  ],
)
def test_a_card_that_cannot_be_followed_is_refused_in_one_line(tmp_path, text, message):
  layouts.write(tmp_path / 'a.jsonl', ['one'])
  card(tmp_path, text)
  with pytest.raises(config.UserError, match=message) as error:
    read(tmp_path)
  assert '\n' not in str(error.value)


def test_formats_that_are_not_read_are_refused(tmp_path):
  (tmp_path / 'train.csv').write_text('text\none\n')
  with pytest.raises(
    config.UserError, match='has .csv files for split .train., which are not read'
  ):
    read(tmp_path)


def test_the_cache_of_the_hub_is_a_repository(tmp_path):
  folder = tmp_path / 'datasets--owner--name'
  layouts.write(folder / 'snapshots' / 'abc' / 'train.jsonl', ['one'])
  (folder / 'refs').mkdir()
  (folder / 'refs' / 'main').write_text('abc')
  assert read(folder)[0] == ['one']


def test_a_repository_on_the_hub_is_resolved_by_its_list_of_files(two, tmp_path, monkeypatch):
  listed = [path.relative_to(two).as_posix() for path in two.rglob('*') if path.is_file()]
  fetched = []

  class Hub:
    def dataset_info(self, name):
      assert name == 'owner/name'
      files = [types.SimpleNamespace(rfilename=path) for path in listed]
      return types.SimpleNamespace(sha='abc', siblings=files)

  def download(name, repo_type, revision, allow_patterns):
    assert (name, repo_type, revision) == ('owner/name', 'dataset', 'abc')
    fetched.extend(path for path in listed if path in allow_patterns)
    return str(two)

  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(huggingface_hub, 'HfApi', Hub)
  monkeypatch.setattr(huggingface_hub, 'snapshot_download', download)
  assert read('owner/name/german')[0] == ['eins']
  assert fetched == ['README.md', 'de/b.jsonl']
  with pytest.raises(config.UserError, match='owner/name has several configs'):
    read('owner/name')


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path, monkeypatch):
  def fail(self, name):
    raise ConnectionError('no\nnetwork')

  monkeypatch.setattr(huggingface_hub.HfApi, 'dataset_info', fail)
  with pytest.raises(config.UserError, match='no folder owner/other .*, and .* .no network.$'):
    read('owner/other')
