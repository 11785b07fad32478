"""What is packed is told by its bytes, whatever it is called and however deep it is packed."""

import bz2
import gzip
import io
import lzma
import os
import random
import struct
import tarfile
import tempfile
import tracemalloc
import types
import zipfile

import pytest
import zstandard

from mlm_jax import config
from mlm_jax.data.corpus import archives
from mlm_jax.data.corpus import sources
from mlm_jax.data.corpus import streams
from mlm_jax.data.corpus import unpacking

TEXT = 'Ein Stück Text.\n'.encode() * 4000
COMPRESS = {
  'gz': gzip.compress,
  'bz2': bz2.compress,
  'xz': lzma.compress,
  'lzma': lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
  'zst': zstandard.ZstdCompressor().compress,
}


def tar(members, dialect=tarfile.PAX_FORMAT):
  out = io.BytesIO()
  with tarfile.open(fileobj=out, mode='w', format=dialect) as archive:
    for name, data in members:
      info = tarfile.TarInfo(name)
      info.size = len(data)
      archive.addfile(info, io.BytesIO(data))
  return out.getvalue()


def old_tar(members):
  """Returns a tar as version 7 of Unix wrote it: no mark, a signed checksum."""
  out = b''
  for name, data in members:
    block = bytearray(512)
    block[: len(name)] = name.encode()
    block[100:108], block[108:116], block[116:124] = [b'000644 \0', b'000000 \0', b'000000 \0']
    block[124:136], block[136:148] = b'%011o ' % len(data), b'%011o ' % 0
    block[148:156] = b' ' * 8
    signed = sum(byte - 256 * (byte > 127) for byte in block)
    block[148:156] = b'%06o\0 ' % signed
    out += bytes(block) + data + bytes(-len(data) % 512)
  return out + bytes(1024)


def zip_(members, method=zipfile.ZIP_DEFLATED):
  out = io.BytesIO()
  with zipfile.ZipFile(out, 'w', method) as archive:
    for name, data in members:
      archive.writestr(name, data)
  return out.getvalue()


def read(path, alone=True):
  skipped = sources.Skipped()
  got = [(name, b''.join(each)) for name, each in unpacking.texts(str(path), skipped, alone)]
  return got, skipped


def texts(path, **options):
  return [text for _, text in read(path, **options)[0]]


@pytest.mark.parametrize('name', ['a.txt', 'a', 'a.gz', 'a.zst'])
@pytest.mark.parametrize('kind', COMPRESS)
def test_compression_is_undone_whatever_the_name(tmp_path, name, kind):
  (tmp_path / name).write_bytes(COMPRESS[kind](TEXT))
  assert texts(tmp_path / name) == [TEXT]


@pytest.mark.parametrize('kind', COMPRESS)
def test_streams_that_follow_one_another_are_one_text(tmp_path, kind):
  parts = [b'one ', b'', TEXT, b' two']
  (tmp_path / 'a').write_bytes(b''.join(map(COMPRESS[kind], parts)))
  assert texts(tmp_path / 'a') == [b''.join(parts)]


@pytest.mark.parametrize('kind', COMPRESS)
def test_what_is_cut_anywhere_or_followed_by_something_else_is_damaged(tmp_path, kind):
  whole = COMPRESS[kind](bytes(range(97, 123)) * 4)
  for end in range(20, len(whole) - 1):
    (tmp_path / 'a').write_bytes(whole[:end])
    with pytest.raises(config.UserError, match='a is damaged or cut short'):
      texts(tmp_path / 'a')
  (tmp_path / 'a').write_bytes(whole + b'something else')
  with pytest.raises(config.UserError, match='a is damaged or cut short'):
    texts(tmp_path / 'a')


def test_zstd_frames_of_every_header_are_read(tmp_path):
  draw = random.Random(0)
  noise = draw.randbytes(300_000)
  for content in (b'', b'x', b'x' * 300, b'y' * 70_000, b'z' * 3_000_000, noise, noise + b'a' * 9):
    text = b'text' * 20_000 + content
    for options in ({}, {'write_checksum': True}, {'write_content_size': False}):
      frame = zstandard.ZstdCompressor(**options).compress(text)
      skippable = struct.pack('<II', 0x184D2A53, 5) + b'other'
      (tmp_path / 'a').write_bytes(skippable + frame + skippable + frame)
      assert texts(tmp_path / 'a') == [text * 2]


def test_zstd_windows_of_two_gigabytes_are_read(tmp_path):
  options = zstandard.ZstdCompressionParameters(
    window_log=31, enable_ldm=True, write_content_size=0
  )
  writer = zstandard.ZstdCompressor(compression_params=options).compressobj()
  (tmp_path / 'a.zst').write_bytes(writer.compress(TEXT) + writer.flush())
  assert texts(tmp_path / 'a.zst') == [TEXT]


@pytest.mark.parametrize(
  'make',
  [
    tar,
    lambda members: tar(members, tarfile.USTAR_FORMAT),
    lambda members: tar(members, tarfile.GNU_FORMAT),
    old_tar,
    zip_,
    lambda members: zip_(members, zipfile.ZIP_STORED),
    lambda members: zip_(members, zipfile.ZIP_LZMA),
  ],
)
@pytest.mark.parametrize('outer', ['', *COMPRESS])
def test_archives_are_known_by_their_bytes(tmp_path, make, outer):
  path = tmp_path / 'urlsf_subset00-1_data'
  members = [('b.txt', TEXT), ('ä/a', b'x'), ('c', gzip.compress(b'y'))]
  path.write_bytes(
    COMPRESS.get(outer, bytes)(make(members if make is not old_tar else members[::2]))
  )
  got = read(path)[0]
  if make is old_tar:
    assert got == [(f'{path}:b.txt', TEXT), (f'{path}:c', b'y')]
  else:
    assert got == [(f'{path}:b.txt', TEXT), (f'{path}:ä/a', b'x'), (f'{path}:c', b'y')]


def test_long_names_of_tar_members_are_no_text(tmp_path):
  for dialect in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
    (tmp_path / 'a').write_bytes(tar([('d/' * 150 + 'a.txt', TEXT)], dialect))
    assert texts(tmp_path / 'a') == [TEXT]


def test_archives_in_archives_in_compression_are_unpacked(tmp_path):
  inner = tar([('x.txt', b'one'), ('y', gzip.compress(zip_([('z', b'two'), ('w.tar', tar([]))])))])
  outer = zip_([('in.tar.xz', lzma.compress(inner)), ('in.zip', zip_([('v', b'three')]))])
  (tmp_path / 'a').write_bytes(bz2.compress(gzip.compress(outer)))
  assert texts(tmp_path / 'a') == [b'one', b'two', b'three']


def test_archives_one_after_another_are_all_read(tmp_path):
  (tmp_path / 'a').write_bytes(tar([('x', b'one')]) * 300 + tar([('y', b'two')]))
  assert texts(tmp_path / 'a') == [b'one'] * 300 + [b'two']
  (tmp_path / 'a').write_bytes(tar([('x', b'one')]) + b'something else')
  with pytest.raises(config.UserError, match='a is damaged or cut short'):
    texts(tmp_path / 'a')


def test_a_damaged_header_is_no_end(tmp_path):
  data = bytearray(tar([('x', b'one'), ('y', b'two' * 500), ('z', b'three')]))
  data[1024 + 10] = 77
  (tmp_path / 'a.tar').write_bytes(data)
  with pytest.raises(config.UserError, match='a.tar is damaged or cut short'):
    texts(tmp_path / 'a.tar')


def test_a_packing_that_holds_itself_is_refused(tmp_path):
  data = b'x'
  for _ in range(20):
    data = gzip.compress(data)
  (tmp_path / 'a').write_bytes(data)
  with pytest.raises(config.UserError, match='packed more than 16 times'):
    texts(tmp_path / 'a')


UNREAD = {
  b"7z\xbc\xaf'\x1c\0\4": 'a 7z archive',
  b'Rar!\x1a\x07\x01\0': 'a RAR archive',
  b'\x04\x22\x4d\x18dddd': 'compressed by lz4',
  b'\x1f\x9d\x90abc': 'compressed by compress',
}


@pytest.mark.parametrize('data', UNREAD)
def test_other_packings_are_refused_and_skipped_in_archives(tmp_path, data):
  (tmp_path / 'a.txt').write_bytes(data)
  for alone in (True, False):
    with pytest.raises(config.UserError, match=f'a.txt is {UNREAD[data]}.*not read; unpack it'):
      read(tmp_path / 'a.txt', alone)
  (tmp_path / 'b').write_bytes(tar([('x', data), ('y', b'text')]))
  got, skipped = read(tmp_path / 'b')
  assert got == [(f'{tmp_path}/b:y', b'text')] and skipped.archives == [f'{tmp_path}/b:x']


@pytest.mark.parametrize(
  'data',
  [
    b'%PDF-1.4\n' + b'text ' * 50,
    b'\x89PNG\r\n\x1a\n' + b'text ' * 50,
    bytes(range(256)) * 9,
    'UTF-16 text'.encode('utf-16'),
    zip_([('[Content_Types].xml', b'<xml/>'), ('word/document.xml', b'<xml>text</xml>')]),
  ],
)
def test_what_is_no_text_is_refused_by_name_and_skipped_among_others(tmp_path, data):
  (tmp_path / 'a.txt').write_bytes(data)
  with pytest.raises(config.UserError, match='a.txt is '):
    read(tmp_path / 'a.txt')
  (tmp_path / 'b').write_bytes(tar([('x.txt', data), ('y', b'text')]))
  got, skipped = read(tmp_path / 'b')
  assert got == [(f'{tmp_path}/b:y', b'text')]
  assert skipped.files + skipped.archives == [f'{tmp_path}/b:x.txt']


@pytest.mark.parametrize('ending', ['.gz', '.xz', '.zst', '.bz2', '.tar', '.zip', '.tgz'])
@pytest.mark.parametrize('data', [b'<html>404 Not Found</html>', b''])
def test_a_name_that_promises_what_is_not_there_is_refused(tmp_path, ending, data):
  (tmp_path / f'a{ending}').write_bytes(data)
  with pytest.raises(config.UserError, match=rf'a\{ending} is damaged or cut short'):
    read(tmp_path / f'a{ending}')


def test_an_encrypted_zip_is_refused_before_anything_of_it_is_read(tmp_path):
  data = bytearray(zip_([('a.txt', b'one'), ('b.txt', b'two')]))
  at = data.rindex(b'PK\x01\x02')
  data[at + 8] |= 1
  (tmp_path / 'a.zip').write_bytes(data)
  got = []
  with pytest.raises(config.UserError, match='a zip archive in which b.txt is encrypted'):
    for name, _ in unpacking.texts(str(tmp_path / 'a.zip'), sources.Skipped(), True):
      got.append(name)
  assert not got


def test_a_damaged_member_of_a_zip_is_named(tmp_path):
  data = zip_([('a.txt', b'some text')], zipfile.ZIP_STORED)
  (tmp_path / 'a.zip').write_bytes(data.replace(b'some text', b'same text'))
  with pytest.raises(config.UserError, match='a.zip:a.txt is damaged .*CRC'):
    read(tmp_path / 'a.zip')


def test_odd_names_of_members_stay_in_one_line(tmp_path):
  for data in (tar([('a\nb\udcff', b'x')]), zip_([('a\nb', b'x')])):
    (tmp_path / 'a').write_bytes(data)
    ((name, _),) = read(tmp_path / 'a')[0]
    assert '\n' not in name and name.encode()


def test_nothing_stays_in_the_temporary_folder(tmp_path, monkeypatch):
  monkeypatch.setenv('TMPDIR', str(tmp_path / 'temporary'))
  monkeypatch.setattr('tempfile.tempdir', None)
  (tmp_path / 'temporary').mkdir()
  (tmp_path / 'a').write_bytes(gzip.compress(zip_([('a', b'one')])))
  assert texts(tmp_path / 'a') == [b'one']
  (tmp_path / 'a').write_bytes(gzip.compress(zip_([('a', b'one')])[:-9]))
  with pytest.raises(config.UserError, match='damaged'):
    read(tmp_path / 'a')
  assert not os.listdir(tmp_path / 'temporary')


@pytest.mark.parametrize('kind', [*COMPRESS, 'zip'])
def test_a_bomb_is_unpacked_in_bounded_memory(tmp_path, kind):
  size = 1 << 25
  bomb = COMPRESS[kind](b'a' * size) if kind != 'zip' else zip_([('a', b'a' * size)])
  path = tmp_path / 'a'
  path.write_bytes(tar([('b', bomb)]))
  tracemalloc.start()
  try:
    lengths = [
      len(chunk)
      for _, chunks in unpacking.texts(str(path), sources.Skipped(), True)
      for chunk in chunks
    ]
    peak = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  assert sum(lengths) == size and max(lengths) <= streams.CHUNK
  assert peak < (
    12e6 if kind in ('bz2', 'xz', 'lzma') else 4e6
  )  # with what a decoder looks back at


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(4))
def test_damage_anywhere_is_one_line_or_does_no_harm(tmp_path, seed):
  draw = random.Random(seed)
  members = [('a.txt', TEXT[:3_000]), ('b' * 120, b'x' * 700), ('c.gz', gzip.compress(TEXT))]
  kinds = [tar(members), tar(members, tarfile.GNU_FORMAT), zip_(members)]
  kinds += [compress(TEXT[:5_000]) for compress in COMPRESS.values()]
  kinds += [compress(kinds[0]) for compress in COMPRESS.values()]
  for whole in kinds:
    for _ in range(100):
      data = bytearray(whole)
      for _ in range(draw.choice((1, 1, 3, 10))):
        data[draw.randrange(len(data))] = draw.randrange(256)
      (tmp_path / 'a').write_bytes(data[: draw.choice((len(data), draw.randrange(len(data))))])
      try:
        read(tmp_path / 'a')
      except config.UserError as error:
        assert '\n' not in str(error)


def test_a_tar_without_its_end_is_cut_between_two_members(tmp_path):
  """No member is cut, and nothing else tells; `cat` of whole ones has zeros in between."""
  whole = tar([('x', b'one'), ('y', b'two'), ('z', b'three')])
  for number in (1, 2, 3):
    cut = whole[: number * 1024]  # a header and a block each
    for name, data in (('a.tar', cut), ('b', cut), ('c.tgz', gzip.compress(cut))):
      (tmp_path / name).write_bytes(data)
      with pytest.raises(
        config.UserError, match='cut short .its end, two blocks of zeros,'
      ) as error:
        texts(tmp_path / name)
      assert '\n' not in str(error.value)
    (tmp_path / 'a.tar').write_bytes(whole + cut)
    with pytest.raises(config.UserError, match='two blocks of zeros'):
      texts(tmp_path / 'a.tar')
  (tmp_path / 'a.tar').write_bytes(whole[:3072] + bytes(1024))  # as the message says
  assert texts(tmp_path / 'a.tar') == [b'one', b'two', b'three']


def test_what_must_go_to_the_disk_leaves_half_of_what_is_free(tmp_path, monkeypatch):
  """A zip in a stream, and Parquet in an archive: of a bomb no disk is filled."""
  inner = zip_([('x', b'one' * 100_000)], zipfile.ZIP_STORED)
  (tmp_path / 'a').write_bytes(gzip.compress(inner))
  free = lambda folder: types.SimpleNamespace(free=3 * len(inner))
  monkeypatch.setattr(archives.shutil, 'disk_usage', free)
  assert texts(tmp_path / 'a') == [b'one' * 100_000]
  monkeypatch.setattr(
    archives.shutil, 'disk_usage', lambda folder: types.SimpleNamespace(free=9999)
  )
  before = set(os.listdir(tempfile.gettempdir()))
  with pytest.raises(config.UserError, match='a: it unpacks to more than half of the .* TMPDIR'):
    texts(tmp_path / 'a')
  assert set(os.listdir(tempfile.gettempdir())) == before
