"""Odd files are one line, quickly, and nothing of them is left behind."""

import contextlib
import gzip
import json
import lzma
import os
import socket
import subprocess
import sys
import zipfile

import pyarrow as pa
from pyarrow import parquet
import pytest
import zstandard

from mlm_jax import config
from mlm_jax.data import prepare
from mlm_jax.data.corpus import files
from mlm_jax.data.corpus import split
from tests.data import invented
from tests.data.invented import settings


def refused(tmp_path, source, **changes):
  """Returns the one line with which a source is refused."""
  data = settings(source=source, **changes)
  with pytest.raises(config.UserError) as error:
    prepare.prepare(data, tmp_path / 'out', log=lambda line: None)
  assert '\n' not in str(error.value) and len(str(error.value)) < 2_000
  assert not list(tmp_path.glob('out*'))
  return str(error.value)


@pytest.fixture
def odd(tmp_path):
  """Returns a folder of odd files beside a good one, which anyone may enter."""
  folder = tmp_path / 'odd'
  folder.mkdir()
  (folder / 'a.txt').write_text('text\n')
  return folder


@pytest.mark.parametrize('name', ['b.txt', 'b.txt.gz', 'b.jsonl', 'b.parquet', 'b.arrow'])
def test_a_file_that_may_not_be_read_is_named(tmp_path, odd, name, monkeypatch):
  (odd / name).write_bytes(b'text')
  denied = str(odd / name)
  real = open

  def opened(path, *rest, **options):
    if path == denied:
      raise PermissionError(13, 'Permission denied', path)
    return real(path, *rest, **options)

  monkeypatch.setattr('builtins.open', opened)
  line = refused(tmp_path, f'text:{odd}/*')
  assert line == f'cannot read {denied}: Permission denied'


def test_a_folder_that_may_not_be_read_is_named(odd, monkeypatch):
  (odd / 'sub').mkdir()
  real = os.scandir

  def scandir(path='.'):
    if str(path).rstrip('/') == str(odd / 'sub'):
      raise PermissionError(13, 'Permission denied', path)
    return real(path)

  monkeypatch.setattr('os.scandir', scandir)
  with pytest.raises(config.UserError, match='cannot read .*sub/?: Permission denied'):
    files.find(f'{odd}/**/*.txt')
  with pytest.raises(config.UserError, match='cannot read .*sub/?: Permission denied'):
    invented.read(f'hf:{odd}')


def test_pipes_sockets_and_devices_are_left_alone(tmp_path, odd):
  os.mkfifo(odd / 'b.txt')
  with socket.socket(socket.AF_UNIX) as bound:
    place = os.getcwd()
    os.chdir(odd)  # the path of a socket is short
    bound.bind('c.txt')
    os.chdir(place)
  (odd / 'd.txt').symlink_to('/dev/zero')
  (odd / 'e.txt').symlink_to('e.txt')
  texts, _, skipped = invented.read(f'text:{odd}/*')
  assert texts == ['text\n'] and skipped.links == [f'{odd}/{name}.txt' for name in 'bcde']
  for name in 'bcde':
    assert f'{name}.txt is not a file, but a link' in refused(tmp_path, f'text:{odd}/{name}.txt')
    assert f'{name}.txt is not a file' in refused(tmp_path, f'conllu:{odd}/{name}.txt')
  assert invented.read(f'hf:{odd}')[0] == ['text']


def test_loops_of_links_give_each_file_once(odd):
  (odd / 'sub').mkdir()
  (odd / 'sub' / 'loop').symlink_to(odd)
  (odd / 'sub' / 'b.txt').write_text('more\n')
  assert files.find(f'{odd}/**/*.txt') == [f'{odd}/a.txt', f'{odd}/sub/b.txt']
  assert invented.read(f'hf:{odd}')[0] == ['text', 'more']


@pytest.mark.parametrize('name', ['x' * 5_000, 'x/' * 5_000, 'a.txt/b.txt'])
@pytest.mark.parametrize('kind', ['text', 'hf', 'conllu'])
def test_names_that_no_file_can_have_are_refused(tmp_path, odd, name, kind):
  assert refused(tmp_path, f'{kind}:{odd}/{name}')


@pytest.mark.parametrize('ending', ['txt', 'jsonl', 'parquet'])
@pytest.mark.parametrize('change', ['grows', 'vanishes'])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, ending, change):
  path = tmp_path / f'a.{ending}'
  texts = invented.sentences(2_000)
  if ending == 'parquet':
    parquet.write_table(pa.table({'text': texts}), path)
  else:
    lines = [json.dumps({'text': text}) if ending == 'jsonl' else text for text in texts]
    path.write_text('\n'.join(lines))
  data = settings(source=f'text:{path}')
  (source,) = invented.sources.parse(data)
  reading = source.documents(data, invented.clean.Counts(), invented.sources.Skipped())
  next(reading)
  if change == 'grows':
    with open(path, 'ab') as file:
      file.write(b'more')
  else:
    path.unlink()
  with pytest.raises(config.UserError, match='was changed while|cannot read .*No such file'):
    list(reading)


def test_a_file_that_vanishes_before_it_is_read_is_named(tmp_path):
  (tmp_path / 'a.txt').write_text('text')
  data = settings(source=f'text:{tmp_path}/a.txt')
  (source,) = invented.sources.parse(data)
  assert source.inputs()
  (tmp_path / 'a.txt').unlink()
  with pytest.raises(config.UserError, match='matches no file'):
    list(source.documents(data, invented.clean.Counts(), invented.sources.Skipped()))


@pytest.mark.parametrize(
  'name, content',
  [
    ('a.parquet', b''),
    ('a.arrow', b''),
    ('a.jsonl', b'\n' * 5),
    ('a.jsonl', b'[' * 100_000),
    ('a.json', b'[' * 3_000_000),
    ('a.json', b'{"text":' * 100_000),
    ('a.jsonl', b'{"text": NaN}\n{"text": Infinity}\n{"text": 1' + b'0' * 400 + b'}'),
    ('a.jsonl', b'{"text": "a'),
    ('a.txt', b''),
    ('a.txt', b'\xef\xbb\xbf'),
  ],
)
def test_files_that_hold_no_text_are_refused(tmp_path, name, content):
  (tmp_path / name).write_bytes(content)
  assert refused(tmp_path, f'text:{tmp_path}/{name}')


@pytest.mark.parametrize('document', ['file', 'lines', 'blocks', 'regex'])
def test_a_document_that_is_too_long_is_refused_or_dropped(tmp_path, document, monkeypatch):
  monkeypatch.setattr(split, 'LONGEST', 1_000)
  parts = ['b' * 1_000, 'a' * 1_001, 'c' * 999]
  name = {'file': 'a.jsonl'}.get(document, 'a.txt')
  separator = {'blocks': '\n\n', 'regex': '\n###\n'}.get(document, '\n')
  lines = parts if name == 'a.txt' else [json.dumps({'text': part}) for part in parts]
  with gzip.open(tmp_path / name, 'wt') as file:
    file.write(separator.join(lines))
  changes = dict(document=document, document_regex='\n###\n', block_characters=1)
  source = f'text:{tmp_path}/{name}'
  if name == 'a.jsonl':  # the line itself is too long
    assert 'line 1 has more than 1,000 characters' in refused(tmp_path, source, **changes)
    return
  assert 'a.txt has a document of more than 1,000 characters; cut it finer' in refused(
    tmp_path, source, **changes
  )
  texts, counts, _ = invented.read(source, **changes, max_characters=2_000)
  assert [text.strip() for text in texts] == parts[::2]
  assert counts.touched['max_characters'] == [1, 1_000]


def test_a_folder_in_place_of_a_file_is_refused(tmp_path, odd):
  (odd / 'b.jsonl').mkdir()
  assert 'is a folder' in refused(tmp_path, f'text:{odd}/b.jsonl')
  assert 'is a folder' in refused(tmp_path, f'conllu:{odd}')


def test_a_pipe_in_place_of_a_tokenizer_or_a_part_is_refused(tmp_path, odd):
  os.mkfifo(tmp_path / 'pipe')
  line = refused(tmp_path, f'text:{odd}/a.txt', tokenizer=str(tmp_path / 'pipe'))
  assert 'cannot read' in line and 'not a file' in line
  (odd / 'state.json').write_text('{"_split": null, "_data_files": [{"filename": "data.arrow"}]}')
  os.mkfifo(odd / 'data.arrow')
  assert 'data.arrow is not a file' in refused(tmp_path, f'hf:{odd}')


@pytest.mark.slow
@pytest.mark.parametrize(
  'name, document',
  [
    ('a.txt.zst', 'file'),
    ('a.txt.zst', 'blocks'),
    ('a.txt.zst', 'regex'),
    ('a.jsonl.xz', 'file'),
    ('a.json.gz', 'file'),
    ('a.zip', 'file'),
  ],
)
def test_a_bomb_takes_the_memory_of_a_document(tmp_path, name, document):
  unit = b'a b ' * (1 << 18)
  begin = b'{"text": "' if 'json' in name else b''
  with contextlib.ExitStack() as stack:
    if name == 'a.zip':
      archive = stack.enter_context(zipfile.ZipFile(tmp_path / name, 'w', zipfile.ZIP_DEFLATED))
      file = stack.enter_context(archive.open('a.txt', 'w', force_zip64=True))
    else:
      opened = {'.zst': zstandard.open, '.xz': lzma.open, '.gz': gzip.open}
      file = stack.enter_context(opened[os.path.splitext(name)[1]](tmp_path / name, 'wb'))
    file.write(begin)
    for _ in range(1_200):
      file.write(unit)
  code = (
    'import resource, sys\n'
    'from mlm_jax import config\n'
    'from tests.data import invented\n'
    'peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n'
    'before = peak()\n'
    'try:\n'
    f'  invented.read("text:{tmp_path}/{name}", document="{document}", document_regex="###")\n'
    'except config.UserError as error:\n'
    '  print(peak() - before, error)\n'
  )
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
  kilobytes, line = done.stdout.split(' ', 1)
  assert 'more than 134,217,728 characters' in line
  assert int(kilobytes) < 700_000  # of 1.2 GB
