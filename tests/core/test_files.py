import dataclasses
import hashlib
import io
import os
import zipfile

import numpy as np
import pytest

from mlm_jax.core import files


def test_a_file_is_replaced_as_a_whole(tmp_path):
  path = tmp_path / 'a.json'
  for content in ('first', 'naïve', b'\x00\xff'):
    files.write(path, content)
    assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
  assert [each.name for each in tmp_path.iterdir()] == ['a.json']


@pytest.mark.parametrize('fails', ['fsync', 'open'])
def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path, monkeypatch, fails):
  path = tmp_path / 'a.json'
  files.write(path, 'whole')
  if fails == 'fsync':

    def full(descriptor):
      raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
  else:
    (tmp_path / 'a.json.partial').mkdir()
  with pytest.raises(OSError):
    files.write(path, 'half')
  assert path.read_text() == 'whole'


def test_the_new_content_is_on_disk_before_it_takes_its_place(tmp_path, monkeypatch):
  path, order = tmp_path / 'a', []
  files.write(path, 'old')
  sync = os.fsync

  def checked(descriptor):
    order.append(path.read_text())
    sync(descriptor)

  monkeypatch.setattr(os, 'fsync', checked)
  files.write(path, 'new')
  assert order == ['old'] and path.read_text() == 'new'


@dataclasses.dataclass(frozen=True)
class Holder:
  counts: np.ndarray
  names: np.ndarray


def test_arrays_come_back_and_the_same_ones_are_the_same_bytes(tmp_path):
  holder = Holder(np.arange(5), np.zeros((0, 3), np.uint16))
  for name in 'ab':
    files.write_arrays(tmp_path / name, holder)
  assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()
  found = files.read_arrays(Holder, (tmp_path / 'a').read_bytes())
  for field in ('counts', 'names'):
    wanted, got = getattr(holder, field), getattr(found, field)
    assert np.array_equal(wanted, got) and wanted.dtype == got.dtype
  np.savez(tmp_path / 'c.npz', counts=holder.counts)
  with pytest.raises(KeyError, match='names'):
    files.read_arrays(Holder, (tmp_path / 'c.npz').read_bytes())


def test_a_manifest_names_what_is_gone_altered_or_new(tmp_path):
  (tmp_path / 'deep').mkdir()
  (tmp_path / 'deep' / 'a').write_bytes(b'x' * 3_000_000)
  (tmp_path / 'b').write_text('b')
  (tmp_path / 'manifest.json').write_text('not in itself')
  recorded = files.hashes(tmp_path, 'manifest')
  assert recorded == {
    'b': hashlib.sha256(b'b').hexdigest(),
    'deep/a': hashlib.sha256(b'x' * 3_000_000).hexdigest(),
  }
  assert files.difference(recorded, files.hashes(tmp_path, 'manifest')) == ''
  (tmp_path / 'deep' / 'a').write_bytes(b'x' * 2_999_999 + b'y')
  assert files.difference(recorded, files.hashes(tmp_path, 'manifest')) == 'has an altered deep/a'
  (tmp_path / 'b').unlink()
  assert files.difference(recorded, files.hashes(tmp_path, 'manifest')) == 'lacks b'
  (tmp_path / 'b').write_text('b')
  (tmp_path / 'deep' / 'a').write_bytes(b'x' * 3_000_000)
  (tmp_path / 'c').write_text('c')
  assert files.difference(recorded, files.hashes(tmp_path, 'manifest')) == 'has an altered c'


def archive(compression, header_shape, content):
  """Returns an .npz file of one array, whose header says a shape."""
  header, out = io.BytesIO(), io.BytesIO()
  described = {'descr': '<f4', 'fortran_order': False, 'shape': header_shape}
  np.lib.format.write_array_header_1_0(header, described)
  with zipfile.ZipFile(out, 'w', compression) as file:
    file.writestr('a.npy', header.getvalue() + content)
  return out.getvalue()


def test_arrays_are_read_as_numpy_reads_them():
  out = io.BytesIO()
  arrays = {
    'a': np.arange(6.0).reshape(2, 3),
    'b': np.asfortranarray(np.arange(6).reshape(2, 3)),
    'c': np.zeros((0, 4), bool),
    'd': np.array(3, np.uint8),
  }
  np.savez(out, **arrays)
  found = files.read_npz(out.getvalue())
  assert list(found) == list(arrays)
  for name, array in np.load(io.BytesIO(out.getvalue())).items():
    assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
  'content',
  [
    b'',
    b'x' * 50,
    archive(zipfile.ZIP_DEFLATED, (4,), bytes(16)),  # it could inflate to anything
    archive(zipfile.ZIP_STORED, (10**12,), bytes(16)),
    archive(zipfile.ZIP_STORED, (10**6, 10**13), bytes(16)),
    archive(zipfile.ZIP_STORED, (5,), bytes(16)),
    archive(zipfile.ZIP_STORED, (3,), bytes(16)),
    archive(zipfile.ZIP_STORED, (4,), bytes(16))[:-30],
  ],
)
def test_an_archive_that_says_another_size_than_it_has_is_damaged(content):
  with pytest.raises(ValueError):
    files.read_npz(content)
