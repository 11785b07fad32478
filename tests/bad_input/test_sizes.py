"""Small files that would fill the memory: what they inflate to, or say of their sizes."""

import bz2
import gzip
import io
import json
import lzma
import shutil
import struct
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import zstandard

from tests import shared_runs
from tests.bad_input import hostile
from tests.bad_input import models

pytestmark = pytest.mark.slow

MUCH = 1 << 29  # bytes that a bomb inflates to
MEBIBYTES = 300  # that a call may add to the memory of the process: less than that
_PART = 1 << 20
_PLAIN = {'use_dictionary': False, 'write_statistics': False}


@pytest.fixture
def run(tmp_path, tmp_path_factory):
  """A copy of a run, without what it was before its end."""
  ignored = shutil.ignore_patterns('2', '4', 'tensorboard')
  run = shared_runs.from_the_command_line(tmp_path_factory)
  return shutil.copytree(run, tmp_path / 'run', ignore=ignored)


def _npz(path, compression, shape, content):
  """Writes an .npz file of one array, `content` repeated; its header says `shape`."""
  header = io.BytesIO()
  described = {'descr': '<f4', 'fortran_order': False, 'shape': shape}
  np.lib.format.write_array_header_1_0(header, described)
  with zipfile.ZipFile(path, 'w', compression, compresslevel=1) as archive:
    with archive.open('counts_V.npy', 'w', force_zip64=True) as file:
      file.write(header.getvalue())
      for part in content:
        file.write(part)


def _bomb(run):
  zeros = (bytes(_PART) for _ in range(MUCH // _PART))
  _npz(run / 'statistics.npz', zipfile.ZIP_DEFLATED, (MUCH // 4,), zeros)


def _boast(run):
  _npz(run / 'statistics.npz', zipfile.ZIP_STORED, (10**9,), [bytes(64)])


def _more_rows(run):
  path = run / 'data' / 'corpus' / 'validation' / 'rows.npy'
  content = path.read_bytes()
  begin = content.index(b"'shape': (") + 10
  end = content.index(b',', begin)
  # As long as the header was: spaces fill it up.
  digits = b'9' * 12
  spare = len(digits) - (end - begin)
  header = content[:begin] + digits + content[end:]
  place = header.index(b' ' * spare)
  path.write_bytes(header[:place] + header[place + spare :])
  assert path.stat().st_size == len(content)


@pytest.mark.parametrize('damage', [_bomb, _boast, _more_rows])
@pytest.mark.parametrize(
  'command', [['fill', '--workdir={}', 'a [MASK]'], ['mask', '--workdir={}', '--row=0']]
)
def test_arrays_of_a_run(run, damage, command):
  damage(run)
  status = hostile.call([each.format(run) for each in command], mebibytes=MEBIBYTES)
  assert status == 2 or (damage, command[0]) == (_more_rows, 'fill')  # which reads no rows


def _long_header(folder):
  path = folder / 'model.safetensors'
  path.write_bytes(struct.pack('<Q', 1 << 62) + path.read_bytes()[8:])


def _large_tensor(folder):
  header = json.dumps(
    {'a': {'dtype': 'F32', 'shape': [10**6, 10**6], 'data_offsets': [0, 4 * 10**12]}}
  ).encode()
  (folder / 'model.safetensors').write_bytes(struct.pack('<Q', len(header)) + header)


def _set(name, value):
  def change(folder):
    path = folder / 'config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))

  return change


NUMBERS = (
  'hidden_size', 'vocab_size', 'num_hidden_layers', 'intermediate_size', 'num_attention_heads',
  'max_position_embeddings', 'type_vocab_size',
)  # fmt: skip


@pytest.mark.parametrize(
  'damage',
  [_long_header, _large_tensor, *(_set(name, 10**n) for name in NUMBERS for n in (7, 12))],
)
def test_sizes_that_a_model_says(tmp_path, damage):
  models.of_vocab_txt(tmp_path / 'model')
  damage(tmp_path / 'model')
  argv = ['import', f'--from={tmp_path / "model"}', f'--workdir={tmp_path / "run"}']
  assert hostile.call(argv, mebibytes=MEBIBYTES) == 2
  assert not (tmp_path / 'run').exists()


def _compressed(path, part):
  """Writes a part many times, each compressed by itself, which all four may be joined by."""
  compress = {
    '.gz': gzip.compress,
    '.bz2': bz2.compress,
    '.xz': lzma.compress,
    '.zst': zstandard.compress,
  }[path.suffix]
  path.write_bytes(compress(part) * (MUCH // len(part)))


def _packed(path, part):
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
    with archive.open('a.txt', 'w') as file:
      for _ in range(MUCH // len(part)):
        file.write(part)


def _tarred(path, part):
  """Says of a file in it that it is large, and ends."""
  member = tarfile.TarInfo('a.txt')
  member.size = 1 << 40
  path.write_bytes(member.tobuf() + part)


def _parquet(path, part):
  """One page, which is unpacked as a whole."""
  table = pa.table({'text': [(part * (MUCH // len(part) + 1)).decode()]})
  pyarrow.parquet.write_table(table, path, compression='zstd', **_PLAIN)


WRITERS = {
  'a.txt.gz': _compressed,
  'a.txt.bz2': _compressed,
  'a.txt.xz': _compressed,
  'a.jsonl.zst': _compressed,
  'a.zip': _packed,
  'a.tar': _tarred,
  'a.parquet': _parquet,
}


@pytest.mark.parametrize('name', WRITERS)
def test_a_corpus_that_inflates(tmp_path, name):
  WRITERS[name](tmp_path / name, b'a' * _PART)
  assert (tmp_path / name).stat().st_size < MUCH / 100
  recipe = tmp_path / 'recipe.py'
  recipe.write_text(
    'from tests import toys\n'
    'def get_config(variant=None):\n  return toys.training_config("x", data__document="lines")\n'
  )
  kind = {'jsonl': 'jsonl', 'parquet': 'parquet'}.get(name.split('.')[1], 'text')
  source = f'{kind}:{tmp_path / name}'
  argv = ['prepare', f'--config={recipe}', f'--config.data.source={source}']
  assert hostile.call([*argv, f'--workdir={tmp_path / "run"}'], mebibytes=MEBIBYTES) == 2
  assert not (tmp_path / 'run').exists()
