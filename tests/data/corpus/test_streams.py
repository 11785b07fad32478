import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
import zipfile

from backports import zstd
import pytest

from mlm_jax import config
from mlm_jax.data.corpus import sources
from mlm_jax.data.corpus import streams

TEXT = ('Some text.\r\n' * 40_000).encode()
COMPRESS = {
  '': bytes,
  '.gz': gzip.compress,
  '.xz': lzma.compress,
  '.bz2': bz2.compress,
  '.zst': zstd.compress,
}


def read(path):
  return [(name, b''.join(chunks)) for name, chunks in streams.texts(str(path), sources.Skipped())]


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


@pytest.mark.parametrize('ending', ['.gz', '.xz', '.bz2', '.zst'])
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


def zipped(members, **settings):
  out = io.BytesIO()
  with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED) as archive:
    for name, data in members:
      archive.writestr(name, data)
  return out.getvalue()


def old_tar(members):
  """As tar wrote them before 1988, without the word `ustar`."""
  block = bytearray(tar(members))
  block[257:265] = bytes(8)
  block[148:156] = b' ' * 8
  block[148:156] = b'%06o\0 ' % sum(block[:512])
  return bytes(block)


PAIR = [('a.txt', b'one\n'), ('d/b.txt', b'two\n')]


@pytest.mark.parametrize('name', ('urlsf_subset-0.xz', 'data', 'a.txt', 'a.gz', 'b.tar', 'c.zip'))
@pytest.mark.parametrize('pack', (tar, zipped, lambda members: old_tar(members[:1])))
@pytest.mark.parametrize('compress', COMPRESS.values())
def test_what_a_file_is_tells_its_beginning_and_not_its_name(tmp_path, name, pack, compress):
  (tmp_path / name).write_bytes(compress(pack(PAIR)))
  texts = [text for _, text in read(tmp_path / name)]
  assert texts in ([b'one\n', b'two\n'], [b'one\n'])


def test_archives_and_compressions_contain_each_other_in_any_order(tmp_path):
  inner = tar([('b.txt', b'x'), ('c.zst', zstd.compress(tar([('d', b'y')])))])
  members = [
    ('in.tar', inner),
    ('in.tar.gz', gzip.compress(inner)),
    (
      'in.zip',
      zipped([('e', lzma.compress(b'z')), ('f.tgz', gzip.compress(gzip.compress(inner)))]),
    ),
    ('g.txt', b'v'),
  ]
  for name, pack in (('a.tar', tar), ('a.zip', zipped)):
    (tmp_path / name).write_bytes(pack(members))
    found = read(tmp_path / name)
    assert b''.join(text for _, text in found) == b'xyxyzxyv'
    assert found[1][0] == f'{tmp_path}/{name}:in.tar:c.zst:d' and found[4][0].endswith(':in.zip:e')


@pytest.mark.parametrize('ending', [each for each in COMPRESS if each])
def test_several_streams_in_a_row_are_one_file(tmp_path, ending):
  (tmp_path / 'a').write_bytes(COMPRESS[ending](b'one ') + COMPRESS[ending](b'two'))
  assert read(tmp_path / 'a')[0][1] == b'one two'


def test_frames_that_zstd_skips_are_skipped(tmp_path):
  extra = b'\x52\x2a\x4d\x18' + (5).to_bytes(4, 'little') + b'notes'
  (tmp_path / 'a').write_bytes(extra + zstd.compress(b'one ') + extra + zstd.compress(b'two'))
  assert read(tmp_path / 'a')[0][1] == b'one two'


def test_text_is_read_whatever_its_name_says(tmp_path):
  for name in ('a.gz', 'a.tar', 'a.zip', 'a.zst'):
    (tmp_path / name).write_bytes(b'just text')
    assert read(tmp_path / name)[0][1] == b'just text'


@pytest.mark.parametrize(
  'head', (b"7z\xbc\xaf'\x1c", b'Rar!\x1a\x07\x01', b'\x1f\x9d\x90', b'\x04"M\x18', b'LZIP\x01')
)
def test_archives_of_other_kinds_are_refused(tmp_path, head):
  (tmp_path / 'a.txt').write_bytes(head + bytes(600))
  with pytest.raises(config.UserError, match='a.txt is a file of the kind .* unpack it'):
    read(tmp_path / 'a.txt')
  (tmp_path / 'a.tar').write_bytes(tar([('b', head + bytes(600))]))
  with pytest.raises(config.UserError, match='a.tar:b is a file of the kind'):
    read(tmp_path / 'a.tar')


def test_a_zip_that_wants_a_password_is_refused(tmp_path):
  data = bytearray(zipped([('b.txt', b'secret')]))
  for magic, at in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
    data[data.index(magic) + at] |= 1
  (tmp_path / 'a.zip').write_bytes(data)
  with pytest.raises(config.UserError, match='a.zip:b.txt cannot be read .*password'):
    read(tmp_path / 'a.zip')


def test_a_zip_that_is_cut_or_altered_is_named(tmp_path):
  data = zipped([('b.txt', TEXT)])
  for harmed in (data[:-30], data[:60] + b'X' + data[61:]):
    (tmp_path / 'a.zip').write_bytes(harmed)
    with pytest.raises(config.UserError, match='a.zip.* damaged or cut short'):
      read(tmp_path / 'a.zip')


def test_what_is_packed_without_end_is_refused(tmp_path):
  data = b'x'
  for _ in range(12):
    data = gzip.compress(data)
  (tmp_path / 'a').write_bytes(data)
  with pytest.raises(config.UserError, match='inside each other'):
    read(tmp_path / 'a')


@pytest.mark.parametrize('ending', [each for each in COMPRESS if each])
def test_what_grows_a_thousandfold_is_read_in_small_pieces(tmp_path, ending):
  packed = COMPRESS[ending](COMPRESS[ending](bytes(1 << 27)))
  (tmp_path / 'a').write_bytes(packed)
  tracemalloc.start()
  size = sum(
    len(chunk)
    for _, chunks in streams.texts(str(tmp_path / 'a'), sources.Skipped())
    for chunk in chunks
  )
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert size == 1 << 27 and peak < 1 << 25


def test_zstd_that_looks_back_far_is_read(tmp_path):
  options = {
    zstd.CompressionParameter.window_log: 30,
    zstd.CompressionParameter.enable_long_distance_matching: 1,
    zstd.CompressionParameter.content_size_flag: 0,
  }
  compressor = zstd.ZstdCompressor(options=options)
  (tmp_path / 'a').write_bytes(compressor.compress(TEXT) + compressor.flush())
  assert read(tmp_path / 'a')[0][1] == TEXT


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
  assert [name for name, _ in streams.texts(str(path), skipped)] == [f'{path}:b.txt']
  assert skipped.links == [f'{path}:soft.txt', f'{path}:hard.txt']
