"""`mlm-jax embed` writes what run.embed gives, in the order of its input, whole or not at all."""

import json

import numpy as np
import pyarrow
from pyarrow import parquet
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.inference import embed_file
from tests import shared_runs
from tests.cli.test_main import call

TEXTS = [' '.join(['ab cd', *['efg'] * (n * 7 % 11)]) for n in range(50)]
CLOSE = dict(rtol=1e-5, atol=1e-6)


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  return str(shared_runs.from_the_command_line(tmp_path_factory))


@pytest.fixture(scope='module')
def expected(workdir):
  run = mlm_jax.open_run(workdir)
  return np.concatenate([run.embed([each]) for each in TEXTS])


def write(path, texts):
  match path.suffix:
    case '.txt':
      path.write_text('\n'.join(texts) + '\n\n')
    case '.csv':
      path.write_text('n,text\n' + ''.join(f'{n},{each}\n' for n, each in enumerate(texts)))
    case '.jsonl':
      path.write_text(''.join(json.dumps({'text': each}) + '\n' for each in texts))
    case '.parquet':
      parquet.write_table(pyarrow.table({'text': texts}), path)
  return str(path)


def read(path):
  if path.suffix == '.npy':
    return np.load(path)
  return np.stack(parquet.read_table(path)['embedding'].to_numpy())


@pytest.mark.parametrize(
  'source, output',
  (('.txt', '.npy'), ('.csv', '.parquet'), ('.jsonl', '.npy'), ('.parquet', '.parquet')),
)
def test_vectors_are_those_of_embed_in_their_order(
  workdir, expected, tmp_path, monkeypatch, source, output
):
  monkeypatch.setattr(embed_file, '_TOGETHER', 20)  # three parts
  path = tmp_path / f'out{output}'
  found = embed_file.run(workdir, write(tmp_path / f'in{source}', TEXTS), str(path))
  assert found == (50, 32)
  assert read(path).dtype == np.float32
  np.testing.assert_allclose(read(path), expected, **CLOSE)


def test_the_command_passes_what_it_is_asked_for(workdir, tmp_path, capsys):
  source, output = write(tmp_path / 'in.csv', TEXTS), tmp_path / 'out.npy'
  places = (f'--workdir={workdir}', f'--input={source}', f'--output={output}')
  status, said, _ = call(capsys, 'embed', *places, '--text=n', '--pooling=cls')
  assert status == 0 and '50 vectors of 32 numbers' in said
  ours = mlm_jax.open_run(workdir).embed([str(n) for n in range(50)], pooling='cls')
  np.testing.assert_allclose(np.load(output), ours, **CLOSE)
  status, _, error = call(capsys, 'embed', *places, '--pooling=all')
  assert status == 2 and 'pooling' in error and error.count('\n') == 1


@pytest.mark.parametrize(
  'name, content, output, says',
  (
    ('in.txt', 'a\n\nb\n', 'out.npy', "in.txt line 2: its text is '', and must not be empty"),
    ('in.txt', '\n', 'out.npy', 'in.txt holds no text'),
    ('in.txt', b'a\n\xff\n', 'out.npy', 'is not UTF-8'),
    ('in.csv', 'x,y\na,b\n', 'out.npy', "no column 'text'; there are 'x', 'y'"),
    ('in.csv', 'text,y\na,b\nc\n', 'out.npy', 'line 3: 1 fields in place of 2'),
    ('in.jsonl', '{"text": "a"}\n{"text": 1}\n', 'out.npy', 'line 2: its text is 1'),
    ('in.doc', 'a', 'out.npy', 'in.doc: must be a file of the kinds .txt, .csv'),
    ('in.txt', 'a\n', 'out.csv', 'out.csv: must be a file of the kinds .npy, .parquet'),
    ('in.txt', 'a\n', 'none/out.npy', 'none/out.npy'),
    ('none.txt', None, 'out.npy', 'none.txt'),
  ),
)
def test_what_is_wrong_is_one_line_and_nothing_is_half_written(
  workdir, tmp_path, monkeypatch, name, content, output, says
):
  monkeypatch.setattr(embed_file, '_TOGETHER', 1)  # what comes before is written by then
  if content is not None:
    content = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(content)
  there = sorted(tmp_path.iterdir())
  with pytest.raises(config_lib.UserError) as error:
    embed_file.run(workdir, str(tmp_path / name), str(tmp_path / output))
  assert says in str(error.value) and '\n' not in str(error.value)
  assert sorted(tmp_path.iterdir()) == there
