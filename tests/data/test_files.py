import gzip
import io
import lzma
import tarfile

import pytest
import zstandard

from mlm_jax import config
from mlm_jax.data import files

TEXT = ('Some text.\r\n' * 40_000).encode()
COMPRESS = {'': bytes, '.gz': gzip.compress, '.xz': lzma.compress,
            '.zst': zstandard.ZstdCompressor().compress}


def read(path):
  return [(name, b''.join(chunks)) for name, chunks in files.texts(str(path))]


def tar(members):
  out = io.BytesIO()
  with tarfile.open(fileobj=out, mode='w') as archive:
    for name, data in members:
      info = tarfile.TarInfo(name)
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))
  return out.getvalue()


@pytest.mark.parametrize('ending', COMPRESS)
def test_a_file_reads_the_same_however_it_is_compressed(tmp_path, ending):
  path = tmp_path / f'a.txt{ending}'
  path.write_bytes(COMPRESS[ending](TEXT))
  assert read(path) == [(str(path), TEXT)]


@pytest.mark.parametrize('ending', COMPRESS)
def test_an_archive_gives_its_members_in_its_own_order(tmp_path, ending):
  path = tmp_path / f'a.tar{ending}'
  path.write_bytes(COMPRESS[ending](tar([('b.txt', TEXT), ('d/a.txt.gz', gzip.compress(b'x'))])))
  assert read(path) == [(f'{path}:b.txt', TEXT), (f'{path}:d/a.txt.gz', b'x')]


def test_several_zstd_frames_are_one_file(tmp_path):
  path = tmp_path / 'a.txt.zst'
  path.write_bytes(COMPRESS['.zst'](b'one ') + COMPRESS['.zst'](b'two'))
  assert read(path)[0][1] == b'one two'


@pytest.mark.parametrize('ending', ['.gz', '.xz', '.zst'])
@pytest.mark.parametrize('kind', ['.txt', '.tar'])
@pytest.mark.parametrize('harm', ['cut', 'altered'])
def test_a_damaged_file_is_named(tmp_path, ending, kind, harm):
  path = tmp_path / f'a{kind}{ending}'
  data = COMPRESS[ending](tar([('b.txt', TEXT)]) if kind == '.tar' else TEXT)
  # zstd has no checksum over its text here, so what is altered is its first bytes.
  path.write_bytes(data[:len(data) // 2] if harm == 'cut' else b'XXXX' + data[4:])
  with pytest.raises(config.UserError, match=f'a{kind}{ending} .*damaged or cut short'):
    read(path)


def test_an_archive_cut_in_a_member_is_named(tmp_path):
  path = tmp_path / 'a.tar'
  path.write_bytes(tar([('b.txt', TEXT)])[:100_000])
  with pytest.raises(config.UserError, match='a.tar.*damaged or cut short'):
    read(path)


def test_a_glob_is_sorted_and_one_without_a_match_is_refused(tmp_path):
  for name in ('b.txt', 'a.txt', 'c.md'):
    (tmp_path / name).write_text(name)
  assert [p.split('/')[-1] for p in files.find(f'{tmp_path}/*.txt')] == ['a.txt', 'b.txt']
  with pytest.raises(config.UserError, match='matches no file'):
    files.find(f'{tmp_path}/*.zip')
  with pytest.raises(config.UserError, match='is a folder'):
    files.find(str(tmp_path))
