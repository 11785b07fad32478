"""Records come as they are in the file, with their line; what is none is an error of one line."""

import csv
import json

import pyarrow
from pyarrow import parquet
import pytest

from mlm_jax import config
from mlm_jax.data.examples import tables

ROWS = [('a "b", c', '1'), ('two\nlines', 'x y'), (' é 漢字 ', '')]


def records(path, *columns):
  return [tuple(each.values[c] for c in columns) for each in tables.read(str(path), columns)]


def test_csv_is_read_as_pythons_own_writer_writes_it(tmp_path):
  path = tmp_path / 'a.csv'
  with path.open('w', newline='') as file:
    csv.writer(file).writerows([('label', 'text'), *((b, a) for a, b in ROWS)])
  assert records(path, 'text', 'label') == ROWS
  # The second record begins in the third line and ends in the fourth.
  assert [each.line for each in tables.read(str(path), ['text'])] == [2, 3, 5]
  path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes() + b'\r\n\r\n')
  assert records(path, 'text', 'label') == ROWS


def test_columns_that_are_numbers_are_of_a_file_without_a_header(tmp_path):
  path = tmp_path / 'a.csv'
  path.write_text('good,1\nbad,0\n')
  assert records(path, '0', '1') == [('good', '1'), ('bad', '0')]


def test_tsv_has_no_quotes(tmp_path):
  path = tmp_path / 'a.tsv'
  path.write_text('text\tlabel\n"open\t1\n')
  assert records(path, 'text', 'label') == [('"open', '1')]


def test_jsonl_and_parquet_keep_types(tmp_path):
  rows = [{'text': 'a', 'label': 1, 'more': [1]}, {'text': 'b', 'label': 0, 'more': []}]
  (tmp_path / 'a.jsonl').write_text('\n'.join(map(json.dumps, rows)))
  parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / 'a.parquet')
  for name in ('a.jsonl', 'a.parquet'):
    assert records(tmp_path / name, 'more', 'label') == [([1], 1), ([], 0)]


@pytest.mark.parametrize(
  'name, content, says',
  (
    ('a.csv', 'text,label\na,1\nb\n', 'line 3: 1 fields in place of 2'),
    ('a.csv', 'text,label\na,1\n\nb,2\n', 'line 3: an empty line in place of 2'),
    ('a.csv', 'text,label\n"a,1\n', 'line 2: unexpected end of data'),
    ('a.csv', 'sentence,label\na,1\n', "no column 'text'; there are 'sentence', 'label'"),
    ('a.tsv', 'text\tlabel\na\t1\tx\n', 'line 2: 3 fields in place of 2'),
    ('a.jsonl', '{"text": "a", "label": 1}\n{"text": "b"}', "line 2: no column 'label'"),
    ('a.jsonl', '{"text": "a", "label": 1}\n\n{"text"', 'line 2: is an empty line'),
    ('a.jsonl', '{"text": "a", "label": 1}\n[1]', 'line 2: must be an object'),
    ('a.jsonl', '{', 'line 1: is no JSON'),
    ('a.parquet', 'no', 'is damaged'),
    ('a.txt', 'a', 'must be a file of the kinds'),
    ('a.csv', b'\xff\xfe', 'is not UTF-8'),
    ('none.csv', None, 'No such file'),
  ),
)
def test_what_is_no_record_is_named_with_its_line(tmp_path, name, content, says):
  path = tmp_path / name
  if content is not None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
  with pytest.raises(config.UserError, match=says) as error:
    list(tables.read(str(path), ['text', 'label']))
  assert str(error.value).count('\n') == 0
