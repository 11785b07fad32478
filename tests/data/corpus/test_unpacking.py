import gzip
import io
import lzma
import tarfile

import pytest
import zstandard

from mlm_jax import config
from mlm_jax.data.corpus import sources
from mlm_jax.data.corpus import unpacking

TEXT = ('Some text.\r\n' * 40_000).encode()
COMPRESS = {
  '': bytes,
  '.gz': gzip.compress,
  '.xz': lzma.compress,
  '.zst': zstandard.ZstdCompressor().compress,
}


def read(path):
  return [
    (name, b''.join(chunks)) for name, chunks in unpacking.texts(str(path), sources.Skipped())
  ]


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
  path.write_bytes(data[: len(data) // 2] if harm == 'cut' else b'XXXX' + data[4:])
  with pytest.raises(config.UserError, match=f'a{kind}{ending} .*damaged or cut short'):
    read(path)


def test_an_archive_cut_in_a_member_is_named(tmp_path):
  path = tmp_path / 'a.tar'
  path.write_bytes(tar([('b.txt', TEXT)])[:100_000])
  with pytest.raises(config.UserError, match='a.tar.*damaged or cut short'):
    read(path)


@pytest.mark.parametrize(
  'name, content',
  [
    ('a.TXT.GZ', b'x'),
    ('a.txt.Gz', b'x'),
    ('A.TAR.GZ', tar([('b.txt', b'x')])),
    ('a.TGZ', tar([('b.TXT.GZ', gzip.compress(b'x'))])),
  ],
)
def test_endings_count_in_any_case(tmp_path, name, content):
  path = tmp_path / name
  path.write_bytes(gzip.compress(content))
  assert [text for _, text in read(path)] == [b'x']


def test_links_in_archives_are_skipped_and_named(tmp_path):
  out = io.BytesIO()
  with tarfile.open(fileobj=out, mode='w') as archive:
    for name, kind in (
      ('d', tarfile.DIRTYPE),
      ('b.txt', tarfile.REGTYPE),
      ('soft.txt', tarfile.SYMTYPE),
      ('hard.txt', tarfile.LNKTYPE),
    ):
      info = tarfile.TarInfo(name)
      info.type, info.linkname = kind, 'b.txt'
      archive.addfile(info, io.BytesIO())
  path = tmp_path / 'a.tar'
  path.write_bytes(out.getvalue())
  skipped = sources.Skipped()
  assert [name for name, _ in unpacking.texts(str(path), skipped)] == [f'{path}:b.txt']
  assert skipped.links == [f'{path}:soft.txt', f'{path}:hard.txt']
