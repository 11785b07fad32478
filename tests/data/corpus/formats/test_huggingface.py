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
from typing import Any

import datasets
import huggingface_hub
import pyarrow as pa
from pyarrow import parquet as pq
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
    ('dict/dataset_dict.json', '[' * 100_000, 'dataset_dict.json is damaged .*nested too deeply'),
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


# {file: its texts}; the format is that of its name.
LAYOUTS = {
  'the configs of the README': (
    {'a/x-1.parquet': ['1'], 'a/x-0.parquet': ['0'], 'a/held.parquet': ['t'], 'old.parquet': ['o']},
    ['data_files', [{'split': 'train', 'path': 'a/x-*'}, {'split': 'test', 'path': 'a/held.*'}]],
    {'train': ['0', '1'], 'test': ['t']},
  ),
  'a list of paths': (
    {'b.jsonl': ['b'], 'a.jsonl': ['a'], 'c.jsonl': ['c']},
    ['data_files', ['b.jsonl', 'a.jsonl']],
    {'train': ['b', 'a']},
  ),
  'a folder in the README': (
    {'v2/train.parquet': ['new'], 'v2/dev.parquet': ['d'], 'train.parquet': ['old']},
    ['data_dir', 'v2'],
    {'train': ['new'], 'validation': ['d']},
  ),
  'shards': (
    {
      'data/train-00001-of-00002.parquet': ['1'],
      'data/train-00000-of-00002.parquet': ['0'],
      'data/extra-00000-of-00001.parquet': ['e'],
      'train.parquet': ['not this'],
    },
    None,
    {'train': ['0', '1'], 'extra': ['e']},
  ),
  'splits in names': (
    {'my_train_set.jsonl': ['a'], 'my-valid.jsonl': ['b'], 'eval.jsonl': ['c']},
    None,
    {'train': ['a'], 'validation': ['b'], 'test': ['c']},
  ),
  'splits as folders': (
    {'training/x.csv': ['a'], 'dev/x.csv': ['b']},
    None,
    {'train': ['a'], 'validation': ['b']},
  ),
  'no split named': (
    {'b.parquet': ['b'], 'a.parquet': ['a'], '.hidden.parquet': ['h'], '__x/c.parquet': ['c']},
    None,
    {'train': ['a', 'b']},
  ),
  'most files are of one format': (
    {'a.jsonl': ['a'], 'b.jsonl': ['b'], 'c.parquet': ['c']},
    None,
    {'train': ['a', 'b']},
  ),
  'converted by the hub': (
    {'default/train/0000.parquet': ['0'], 'default/train/0001.parquet': ['1']},
    None,
    {'train': ['0', '1']},
  ),
  'one list of objects': ({'train.json': ['a', 'b']}, None, {'train': ['a', 'b']}),
  'a line each': ({'train.txt': ['a', 'b']}, None, {'train': ['a', 'b']}),
}


def write(path, texts):
  path.parent.mkdir(parents=True, exist_ok=True)
  rows = [{'text': text} for text in texts]
  if path.suffix == '.parquet':
    pq.write_table(pa.Table.from_pylist(rows), path)
  elif path.suffix == '.json':
    path.write_text(json.dumps(rows))
  elif path.suffix == '.jsonl':
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  else:
    head = ['text'] if path.suffix == '.csv' else []
    path.write_text('\n'.join([*head, *texts]) + '\n')


def write_readme(folder, *configs):
  (folder / 'README.md').write_text(f'---\nconfigs: {json.dumps(configs)}\n---\n# Data\n')


@pytest.mark.parametrize('layout', LAYOUTS)
def test_a_repository_has_the_rows_that_load_dataset_gives(tmp_path, monkeypatch, layout):
  there, settings, splits = LAYOUTS[layout]
  for name, texts in there.items():
    write(tmp_path / 'repository' / name, texts)
  if settings:
    write_readme(tmp_path / 'repository', {'config_name': 'default', settings[0]: settings[1]})
  # Not the home's: it is written to.
  found = datasets.load_dataset(str(tmp_path / 'repository'), cache_dir=str(tmp_path / 'cache'))
  assert {split: list(rows['text']) for split, rows in found.items()} == splits
  for split, texts in splits.items():
    assert read(f'{tmp_path}/repository:{split}')[0] == texts


def test_one_of_several_configs_is_named(tmp_path):
  for name in ('en', 'fr'):
    write(tmp_path / 'r' / name / 'train.jsonl', [name])
  write_readme(
    tmp_path / 'r', *({'config_name': each, 'data_files': f'{each}/*'} for each in ('en', 'fr'))
  )
  assert read(f'{tmp_path}/r@fr')[0] == ['fr'] == read(f'{tmp_path}/r/fr')[0]
  for spec in ('r', 'r@de'):
    with pytest.raises(config.UserError, match='write hf:.*/r@CONFIG with one of: en, fr$'):
      read(f'{tmp_path}/{spec}')
  write_readme(
    tmp_path / 'r',
    {'config_name': 'en', 'data_files': 'en/*'},
    {'config_name': 'fr', 'data_files': 'fr/*', 'default': True},
  )
  assert read(f'{tmp_path}/r')[0] == ['fr']


@pytest.mark.parametrize(
  'readme',
  ('---\nconfigs: 3\n---\n', '---\n: : [\n---\n', '---\nconfigs:\n- data_files: no/*\n---\n'),
)
def test_a_readme_that_means_nothing_is_refused_in_one_line(tmp_path, readme):
  write(tmp_path / 'r/train.jsonl', ['a'])
  (tmp_path / 'r/README.md').write_text(readme)
  with pytest.raises(config.UserError, match='cannot be read as a data set') as error:
    read(f'{tmp_path}/r')
  assert '\n' not in str(error.value)


def test_a_row_without_the_field_is_refused_with_those_that_are(tmp_path):
  write(tmp_path / 'r/train.txt', ['a'])
  with pytest.raises(config.UserError, match="no field 'body'; set .* one of: text$"):
    read(f'{tmp_path}/r:train:body')
  write(tmp_path / 'q/train.jsonl', ['a'])
  with pytest.raises(config.UserError, match="no field 'body'; set .* one of: text$"):
    read(f'{tmp_path}/q:train:body')


def test_records_of_a_repository_may_be_compressed_and_other_files_are_left_alone(tmp_path):
  (tmp_path / 'train.jsonl.gz').write_bytes(gzip.compress(b'{"text": "one"}\n{"text": "two"}\n'))
  (tmp_path / 'README.md').write_text('train')
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


@pytest.fixture
def the_hub(tmp_path, monkeypatch):
  """A stand-in for the hub: a folder a repository, at one commit; returns (its folder, calls)."""
  folder, calls, commit = tmp_path / 'hub', [], 'c0ffee'
  load = datasets.load_dataset_builder

  def look(place, name=None, revision=None, **settings):
    if pathlib.Path(place).is_absolute():
      return load(place, name, **settings)
    calls.append((place, name, revision))
    if not (folder / place).exists():
      raise datasets.exceptions.DatasetNotFoundError(f"Dataset '{place}' doesn't exist on the Hub")
    builder: Any = load(str(folder / place), name, **settings)
    for paths in builder.config.data_files.values():
      address = f'hf://datasets/{place}@{(folder / "commit").read_text()}'
      paths[:] = [str(path).replace(str(folder / place), address) for path in paths]
    return builder

  def fetch(name, path, repo_type, revision, **unused):
    assert repo_type == 'dataset' and revision == (folder / 'commit').read_text()
    calls.append(path)
    return str(folder / name / path)

  monkeypatch.setattr(datasets, 'load_dataset_builder', look)
  monkeypatch.setattr(huggingface_hub, 'hf_hub_download', fetch)
  monkeypatch.chdir(tmp_path)
  folder.mkdir()
  (folder / 'commit').write_text(commit)
  return folder, calls


def test_a_name_that_is_no_folder_is_that_of_a_data_set_on_the_hub(the_hub):
  """Only the files of the split are fetched."""
  folder, calls = the_hub
  for name in ('en', 'fr'):
    write(folder / 'me/texts' / name / 'train.parquet', [name])
    write(folder / 'me/texts' / name / 'test.parquet', ['other ' + name])
  settings = ({'config_name': each, 'data_dir': each} for each in ('en', 'fr'))
  write_readme(folder / 'me/texts', *settings)
  assert read('me/texts@fr')[0] == ['fr']
  assert calls == [('me/texts', 'fr', None), 'fr/train.parquet']
  assert read('me/texts#v2@en:test:text')[0] == ['other en']
  assert calls[2:] == [('me/texts', 'en', 'v2'), 'en/test.parquet']
  with pytest.raises(config.UserError, match="has no split 'dev'"):
    read('me/texts@en:dev')
  with pytest.raises(config.UserError, match='write hf:me/texts@CONFIG with one of: en, fr$'):
    read('me/texts')


def test_data_of_the_hub_is_prepared_once_and_knows_its_commit(the_hub, monkeypatch, tmp_path):
  folder, calls = the_hub
  write(folder / 'texts' / 'train.jsonl', sentences(60))
  data = settings(source='hf:texts', document='lines')
  made = lambda: prepare.prepare(data, tmp_path / 'data', lambda line: None)
  fingerprint = made().fingerprint
  (folder / 'commit').write_text('badd1e')
  with pytest.raises(config.UserError, match='from other files than hf:texts names now'):
    made()

  def unreachable(*unused, **unused_too):
    raise ConnectionError("Couldn't reach 'texts' on the Hub (ConnectError)")

  # What is prepared needs no network.
  monkeypatch.setattr(datasets, 'load_dataset_builder', unreachable)
  assert made().fingerprint == fingerprint


@pytest.mark.parametrize('name', ('nobody/nothing', 'nothing'))
def test_a_name_of_nothing_and_a_hub_out_of_reach_are_one_line(the_hub, monkeypatch, name):
  with pytest.raises(config.UserError) as error:
    read(f'{name}#main')
  says = f'hf:{name}#main: there is no folder {name}#main (seen from {pathlib.Path.cwd()}), and '
  assert str(error.value) == says + f'the hub has no data set {name}'

  def unreachable(*unused, **unused_too):
    raise ConnectionError(f"Couldn't reach '{name}' on the Hub (LocalEntryNotFoundError)")

  monkeypatch.setattr(datasets, 'load_dataset_builder', unreachable)
  with pytest.raises(config.UserError) as error:
    read(f'{name}#main')
  assert str(error.value).startswith(says + 'the hub cannot be reached')
