import itertools
import random
import tracemalloc

import pyarrow as pa
from pyarrow import parquet
import pytest

from mlm_jax import config
from mlm_jax.data.corpus.formats import arrow
from mlm_jax.data.corpus.formats import parquet_pages
from tests.data import invented
from tests.data.invented import sentences

TEXTS = sentences(1000)
FILE = 'a.file.arrow'  # holds the file format of Arrow, which is not a stream


def write(path, table):
  if path.name == FILE:
    with pa.OSFile(str(path), 'wb') as file, pa.ipc.new_file(file, table.schema) as out:
      out.write_table(table, max_chunksize=100)
  elif path.suffix == '.arrow':
    with pa.OSFile(str(path), 'wb') as file, pa.ipc.new_stream(file, table.schema) as out:
      out.write_table(table, max_chunksize=100)
  else:
    parquet.write_table(table, path, row_group_size=300)
  return path


def read(pattern, **changes):
  return invented.read(f'text:{pattern}', **changes)


@pytest.mark.parametrize('ending', ['.parquet', '.PARQUET', '.arrow', '.file.arrow'])
@pytest.mark.parametrize(
  'kind', [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_a_column_is_read_in_the_order_of_its_rows(tmp_path, ending, kind):
  write(
    tmp_path / f'a{ending}', pa.table({'other': range(1000), 'text': pa.array(TEXTS).cast(kind)})
  )
  assert read(tmp_path / f'a{ending}')[0] == TEXTS


def test_files_of_a_glob_are_read_in_the_order_of_their_names(tmp_path):
  for name, texts in (('b', TEXTS[500:]), ('a', TEXTS[:500])):
    write(tmp_path / f'{name}.parquet', pa.table({'body': texts}))
  assert read(tmp_path / '*.parquet', field='body')[0] == TEXTS


def test_the_splitting_rule_holds_for_each_text(tmp_path):
  write(tmp_path / 'a.parquet', pa.table({'text': ['one\r\ntwo', 'three\rfour\n']}))
  assert read(tmp_path / 'a.parquet', document='lines')[0] == ['one', 'two', 'three', 'four', '']


@pytest.mark.parametrize('ending', ['.parquet', '.arrow', '.file.arrow'])
def test_what_is_not_text_is_counted_and_its_first_row_named(tmp_path, ending):
  path = write(
    tmp_path / f'a{ending}', pa.table({'text': ['x', None, 'y', None], 'n': [1, 2, 3, 4]})
  )
  texts, _, skipped = read(path)
  assert texts == ['x', 'y'] and (skipped.records, skipped.first_record) == (2, f'{path} row 2')
  texts, _, skipped = read(path, field='n')
  assert not texts and (skipped.records, skipped.first_record) == (4, f'{path} row 1')


@pytest.mark.parametrize('ending', ['.parquet', '.arrow', '.file.arrow'])
def test_bytes_that_are_not_utf_8_are_replaced_and_counted(tmp_path, ending):
  broken = pa.array([b'good', b'bro\xff\xfeken']).view(pa.string())
  texts, counts, _ = read(write(tmp_path / f'a{ending}', pa.table({'text': broken})))
  assert texts == ['good', 'bro\ufffd\ufffdken'] and counts.touched['decoding'] == [1, 2]


@pytest.mark.parametrize('ending', ['.parquet', '.arrow', '.file.arrow'])
def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path, ending):
  write(tmp_path / f'a{ending}', pa.table({'title': ['x'], 'body': ['y']}))
  with pytest.raises(
    config.UserError, match=f"a{ending} has no column 'text'; set .* one of: title, body$"
  ):
    read(tmp_path / f'a{ending}')


def test_two_columns_of_one_name_are_refused(tmp_path):
  write(tmp_path / 'a.parquet', pa.Table.from_arrays([pa.array(['x'])] * 2, ['text', 'text']))
  with pytest.raises(config.UserError, match="2 columns 'text'"):
    read(tmp_path / 'a.parquet')


@pytest.mark.parametrize('ending', ['.parquet', '.arrow', '.file.arrow'])
@pytest.mark.parametrize('harm', ['empty', 'cut', 'without end', 'altered begin', 'no such thing'])
def test_a_damaged_file_is_named_in_one_line(tmp_path, ending, harm):
  path = write(tmp_path / f'a{ending}', pa.table({'text': TEXTS}))
  data = path.read_bytes()
  path.write_bytes(
    {
      'empty': b'',
      'cut': data[: len(data) // 2],
      'without end': data[:-8],
      'altered begin': b'XXXXXXXX' + data[8:],
      'no such thing': b'some text\n' * 100,
    }[harm]
  )
  if (ending, harm) == ('.parquet', 'altered begin'):  # that column's first bytes: the rest is read
    data = data.replace(data[4:40], b'X' * 36)
    path.write_bytes(data)
  message = rf'a\{ending} is damaged or cut short \([^\n]*\); fetch it again$'
  with pytest.raises(config.UserError, match=message):
    read(path)


@pytest.mark.parametrize('name', ['a.arrow', FILE])
@pytest.mark.parametrize(
  'altered', [(0, 3, 5, 0x70000000), (0, 3, 900, 6), (0, 3, 5, 60), (0, 3, -5, 6)]
)
def test_an_altered_offset_is_refused(tmp_path, altered, name):
  path = write(tmp_path / name, pa.table({'text': ['abc', 'de', 'f']}))
  as_bytes = lambda numbers: b''.join(n.to_bytes(4, 'little', signed=True) for n in numbers)
  assert path.read_bytes().count(as_bytes((0, 3, 5, 6))) == 1
  path.write_bytes(path.read_bytes().replace(as_bytes((0, 3, 5, 6)), as_bytes(altered)))
  with pytest.raises(config.UserError, match='damaged'):
    read(path)


@pytest.mark.parametrize('name', ['a.arrow', FILE])
@pytest.mark.parametrize(
  'true, altered', [((0, 1, 0, 2, 1), (0, 1, 0, 9999999, 1)), ((0, 3, 5, 9), (0, 3, 5, 0x70000000))]
)
def test_an_altered_dictionary_is_refused(tmp_path, true, altered, name):
  kind = pa.dictionary(pa.int32(), pa.string())
  texts = pa.array(['abc', 'de', 'abc', 'fghi', 'de'])
  path = write(tmp_path / name, pa.table({'text': texts.cast(kind)}))
  as_bytes = lambda numbers: b''.join(n.to_bytes(4, 'little') for n in numbers)
  assert path.read_bytes().count(as_bytes(true)) == 1
  path.write_bytes(path.read_bytes().replace(as_bytes(true), as_bytes(altered)))
  with pytest.raises(config.UserError, match='damaged'):
    read(path)


@pytest.mark.parametrize('name', ['a.parquet', 'a.arrow', FILE])
def test_a_damaged_name_of_a_column_is_refused(tmp_path, name):
  path = write(tmp_path / name, pa.table({'text': ['a'], 'other': ['b']}))
  path.write_bytes(path.read_bytes().replace(b'other', b'oth\xffr'))
  with pytest.raises(config.UserError, match='damaged'):
    read(path)


def test_a_stream_cut_between_two_batches_is_refused(tmp_path):
  path = write(tmp_path / 'a.arrow', pa.table({'text': TEXTS}))
  whole = path.read_bytes()
  begins = [i for i in range(len(whole)) if whole.startswith(b'\xff' * 4, i)]
  path.write_bytes(whole[: begins[5]])
  with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
    assert stream.read_all().num_rows < 1000  # what pyarrow makes of it
  with pytest.raises(config.UserError, match='its end is missing'):
    read(path)


def test_a_column_is_read_without_holding_the_file(tmp_path):
  texts = [f'{i} ' + 'words ' * 5000 for i in range(2000)]
  parquet.write_table(
    pa.table({'text': texts}), tmp_path / 'a.parquet', write_batch_size=32
  )  # small pages
  del texts
  before = pa.total_allocated_bytes()
  most = max(
    pa.total_allocated_bytes() - before
    for _ in arrow.parquet(str(tmp_path / 'a.parquet'), 'text', 'a')
  )
  assert most < 30e6  # of 60 MB of text, in one group of rows


@pytest.mark.parametrize('is_dictionary', (True, False))
def test_a_long_text_that_is_there_many_times_is_held_once(tmp_path, monkeypatch, is_dictionary):
  """A dictionary of one text, which 512 rows name: 4 kB of Parquet, a gigabyte of text."""
  text = 'a' * (1 << 21)
  monkeypatch.setattr(arrow, '_BATCH', 4 * len(text))
  column = pa.DictionaryArray.from_arrays(pa.array([0] * 512, pa.int32()), pa.array([text]))
  if not is_dictionary:  # to its reader; in the file it is
    column = column.dictionary_decode()
  parquet.write_table(pa.table({'text': column}), tmp_path / 'a.parquet', compression='zstd')
  assert (tmp_path / 'a.parquet').stat().st_size < 10_000
  before = pa.total_allocated_bytes()
  tracemalloc.start()
  number = most = 0
  for _, value in arrow.parquet(str(tmp_path / 'a.parquet'), 'text'):
    number += value == text.encode()
    most = max(most, pa.total_allocated_bytes() - before)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert number == 512 and peak < 10 * len(text) and most < 10 * len(text)


def test_a_row_group_that_is_nearly_all_air_is_refused_in_one_line(tmp_path, monkeypatch):
  """Its pages may be as large as it is, and are unpacked as a whole."""
  monkeypatch.setattr(arrow, '_LARGE', 1 << 20)
  write = lambda texts: parquet.write_table(
    pa.table({'text': texts}), tmp_path / 'a.parquet', compression='zstd', use_dictionary=False
  )
  write(['a' * (1 << 21)])
  with pytest.raises(config.UserError, match='row group 1 of .*a.parquet holds .* in') as error:
    list(arrow.parquet(str(tmp_path / 'a.parquet'), 'text'))
  assert '\n' not in str(error.value)
  write([random.Random(0).randbytes(1 << 20).hex()])
  assert len(list(arrow.parquet(str(tmp_path / 'a.parquet'), 'text'))) == 1


@pytest.mark.parametrize('version', ['1.0', '2.0'])
@pytest.mark.parametrize('dictionary', [False, True])
@pytest.mark.parametrize('compression', ['none', 'zstd'])
def test_the_headers_of_pages_say_what_the_chunk_holds(version, dictionary, compression, tmp_path):
  """By the sum that the file's index has of them, headers included."""
  g = random.Random(0)
  texts = [g.randbytes(g.randrange(900)).hex() for _ in range(5_000)] * 2
  form = {'data_page_version': version, 'compression': compression}
  settings = {'use_dictionary': dictionary, 'data_page_size': 100_000, 'write_batch_size': 50}
  table = pa.table({'number': range(10_000), 'text': texts})
  path = tmp_path / 'a.parquet'
  parquet.write_table(table, path, row_group_size=6_000, **form, **settings)
  metadata = parquet.ParquetFile(path).metadata
  with open(path, 'rb') as file:
    for group, column in itertools.product(range(2), range(2)):
      chunk = metadata.row_group(group).column(column)
      found = list(parquet_pages.sizes(file, chunk))
      kinds = [kind for kind, _ in found]
      assert kinds.count(parquet_pages.DICTIONARY) == dictionary
      headers = chunk.total_uncompressed_size - sum(size for _, size in found)
      assert 10 * len(found) < headers < 4_000 * len(found)
      assert column == 0 or len(found) > 20


def test_a_page_that_is_too_large_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
  monkeypatch.setattr(arrow, '_PAGE', 1 << 20)
  path = str(tmp_path / 'a.parquet')
  texts = [random.Random(n).randbytes(1 << 17).hex() for n in range(10)]
  write = lambda rows: parquet.write_table(
    pa.table({'text': texts}), path, use_dictionary=False, row_group_size=rows
  )
  write(10)
  with pytest.raises(
    config.UserError, match='row group 1 of .*a.parquet has a page of 2,'
  ) as error:
    next(arrow.parquet(path, 'text'))
  assert '\n' not in str(error.value)
  write(2)
  assert len(list(arrow.parquet(path, 'text'))) == 10
