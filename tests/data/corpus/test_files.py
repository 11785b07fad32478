import gzip
import io
import lzma
import tarfile

import pytest
import zstandard

from mlm_jax import config
from mlm_jax.data.corpus import files
from mlm_jax.data.corpus import sources

TEXT = ('Some text.\r\n' * 40_000).encode()
COMPRESS = {
  '': bytes,
  '.gz': gzip.compress,
  '.xz': lzma.compress,
  '.zst': zstandard.ZstdCompressor().compress,
}


def read(path):
  return [(name, b''.join(chunks)) for name, chunks in files.texts(str(path), sources.Skipped())]


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


def test_archives_inside_archives_and_of_other_kinds_are_skipped_and_named(tmp_path):
  inner = tar([('b.txt', b'x')])
  path = tmp_path / 'a.tar'
  path.write_bytes(
    tar(
      [
        ('in.tar', inner),
        ('in.TGZ', gzip.compress(inner)),
        ('in.tar.gz', gzip.compress(inner)),
        ('in.zip', b'PK text'),
        ('c.txt', b'y'),
      ]
    )
  )
  skipped = sources.Skipped()
  assert [(name, b''.join(chunks)) for name, chunks in files.texts(str(path), skipped)] == [
    (f'{path}:c.txt', b'y')
  ]
  assert skipped.archives == [
    f'{path}:{name}' for name in ('in.tar', 'in.TGZ', 'in.tar.gz', 'in.zip')
  ]
  (tmp_path / 'b.zip').write_bytes(b'PK text')
  assert not list(files.texts(str(tmp_path / 'b.zip'), skipped))
  assert skipped.archives[-1] == str(tmp_path / 'b.zip')


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
  assert [name for name, _ in files.texts(str(path), skipped)] == [f'{path}:b.txt']
  assert skipped.links == [f'{path}:soft.txt', f'{path}:hard.txt']


def test_links_to_nothing_are_not_files(tmp_path):
  (tmp_path / 'a.txt').write_text('a')
  (tmp_path / 'b.txt').symlink_to('a.txt')
  (tmp_path / 'c.txt').symlink_to('absent')
  (tmp_path / 'd.txt').mkdir()
  assert files.find(f'{tmp_path}/*.txt') == [f'{tmp_path}/a.txt', f'{tmp_path}/b.txt']
  assert files.not_files(f'{tmp_path}/*.txt') == [f'{tmp_path}/c.txt']


def test_a_name_with_brackets_is_taken_before_a_glob(tmp_path):
  (tmp_path / 'a[1].txt').write_text('a')
  (tmp_path / 'a1.txt').write_text('b')
  assert files.find(f'{tmp_path}/a[1].txt') == [f'{tmp_path}/a[1].txt']
  (tmp_path / 'a[1].txt').unlink()
  assert files.find(f'{tmp_path}/a[1].txt') == [f'{tmp_path}/a1.txt']


@pytest.mark.parametrize('size', [0, 10, 1 << 20, (1 << 20) + 10, (2 << 20) + 10])
def test_an_edit_at_either_end_is_noticed(tmp_path, size):
  path = tmp_path / 'a.txt'
  seen = set()
  for at in (None, 0, -1):
    data = bytearray(size)
    if at is not None and size:
      data[at] = 1
    path.write_bytes(data)
    seen.add(files.described(str(path)))
  assert len(seen) == (3 if size else 1) and {entry[1] for entry in seen} == {size}


def test_a_glob_is_sorted_and_one_without_a_match_is_refused(tmp_path):
  for name in ('b.txt', 'a.txt', 'c.md'):
    (tmp_path / name).write_text(name)
  assert [p.split('/')[-1] for p in files.find(f'{tmp_path}/*.txt')] == ['a.txt', 'b.txt']
  with pytest.raises(config.UserError, match='matches no file'):
    files.find(f'{tmp_path}/*.zip')
  with pytest.raises(config.UserError, match='is a folder'):
    files.find(str(tmp_path))
