import json
import os
import shutil

import numpy as np
import pytest

from mlm_jax import config
from mlm_jax.data import store


@pytest.fixture
def copy(prepared, tmp_path):
  return shutil.copytree(prepared.directory, tmp_path / 'moved')


def flip(path, at):
  data = bytearray(path.read_bytes())
  data[at] ^= 1
  path.write_bytes(data)


def files_of(folder):
  return [name for name in json.loads((folder / 'manifest.json').read_text())['files']]


def test_what_is_prepared_opens_elsewhere(prepared, copy):
  moved = store.open_prepared(copy, verify=True)
  assert np.array_equal(moved.train[0].tokens_RL, prepared.train[0].tokens_RL)
  assert isinstance(moved.train[0].tokens_RL, np.memmap)
  assert moved.train[0].tokens_RL.dtype == np.uint16 and moved.train[0].starts_RS.dtype == np.int16
  assert np.array_equal(
    np.load(copy / moved.sources[0] / 'train' / 'rows.npy'), moved.train[0].tokens_RL
  )
  assert len(files_of(copy)) == 6


def test_a_file_cut_short_or_gone_is_named(copy):
  for name in files_of(copy):
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[:-1])
    with pytest.raises(config.UserError, match=f'{name} has .* bytes'):
      store.open_prepared(copy)
    (copy / name).unlink()
    with pytest.raises(config.UserError, match=f'{name}: No such file'):
      store.open_prepared(copy)
    (copy / name).write_bytes(data)


def test_a_flipped_bit_is_named_when_verified(copy):
  for name in files_of(copy):
    flip(copy / name, -1)
    with pytest.raises(config.UserError, match=f'{name} has been altered'):
      store.open_prepared(copy, verify=True)
    flip(copy / name, -1)
  store.open_prepared(copy, verify=True)


@pytest.mark.parametrize('text', ['', '{', '[]', '{"version": %d}', '{"version": %d, "files": {}}'])
def test_a_damaged_manifest_is_refused(copy, text):
  (copy / 'manifest.json').write_text(text.replace('%d', str(store.VERSION)))
  with pytest.raises(config.UserError, match='manifest.json is damaged'):
    store.open_prepared(copy)


@pytest.mark.parametrize(
  'harm',
  [
    lambda m: m.pop('fingerprint'),
    lambda m: m.pop('inputs'),
    lambda m: m['tokenizer'].pop('sha256'),
    lambda m: m.update(inputs='ab'),
    lambda m: m['inputs'].append('a'),
    lambda m: m.update(inputs=[3]),
    lambda m: m.update(fingerprint=3),
    lambda m: m.update(settings=[]),
    lambda m: m['sources'][0].pop('name'),
    lambda m: m['files'].pop('lines/train/rows.npy'),
    lambda m: m['files'].pop('lines/validation/starts.npy'),
    lambda m: m['files'].pop('tokenizer/tokenizer.model'),
    lambda m: m['files']['lines/train/rows.npy'].pop('bytes'),
    lambda m: m['files']['lines/train/rows.npy'].pop('sha256'),
    lambda m: m['files']['lines/train/rows.npy'].update(bytes='many'),
  ],
)
def test_a_manifest_that_lacks_something_is_refused(copy, harm):
  manifest = json.loads((copy / 'manifest.json').read_text())
  harm(manifest)
  (copy / 'manifest.json').write_text(json.dumps(manifest))
  with pytest.raises(config.UserError, match='manifest.json is damaged'):
    store.open_prepared(copy, verify=True)


def test_another_version_or_no_data_is_refused(copy, tmp_path):
  for version in (store.VERSION - 1, 99):
    (copy / 'manifest.json').write_text(json.dumps({'version': version, 'files': {}}))
    with pytest.raises(
      config.UserError, match=f'is of version {version}, this program reads {store.VERSION}'
    ):
      store.open_prepared(copy)
  with pytest.raises(config.UserError, match='holds no prepared data.*mlm-jax prepare'):
    store.open_prepared(tmp_path / 'absent')


def test_large_vocabularies_and_long_rows_take_wider_numbers():
  assert store.dtypes(65_536, 32_767) == (np.uint16, np.int16)
  assert store.dtypes(65_537, 32_768) == (np.int32, np.int32)


@pytest.mark.parametrize('rows', [[0], [1], [3, 0, 12_345_678 // 4000]])
def test_rows_written_in_parts_read_as_one_array(tmp_path, rows):
  writer = store.ArrayWriter(tmp_path / 'a' / 'rows.npy', 4, np.uint16)
  parts = [np.full((n, 4), i, np.uint16) for i, n in enumerate(rows)]
  for part in parts:
    writer.write(part)
  writer.close()
  assert np.array_equal(np.load(tmp_path / 'a' / 'rows.npy'), np.concatenate(parts))
  assert np.array_equal(store._mapped(tmp_path / 'a' / 'rows.npy'), np.concatenate(parts))


def test_no_other_process_builds_between_the_end_and_the_renaming(tmp_path, monkeypatch):
  rename, locked = os.rename, []
  monkeypatch.setattr(
    os, 'rename', lambda old, new: (locked.append((old / '.lock').exists()), rename(old, new))
  )
  with store.building(tmp_path / 'data') as folder:
    (folder / 'a').write_text('x')
  assert locked == [True]
  assert [path.name for path in tmp_path.rglob('*')] == ['data', 'a']


def test_what_another_process_builds_after_the_renaming_is_left_alone(tmp_path, monkeypatch):
  rename = os.rename
  monkeypatch.setattr(os, 'rename', lambda old, new: (rename(old, new), old.mkdir()))
  with store.building(tmp_path / 'data'):
    pass
  assert (tmp_path / 'data.building').exists()


def test_a_closed_output_is_not_a_failure_to_write(tmp_path):
  with pytest.raises(BrokenPipeError):
    with store.building(tmp_path / 'new' / 'data'):
      raise BrokenPipeError
  assert not list(tmp_path.iterdir())
