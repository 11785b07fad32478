import gzip
import json
import pathlib
import shutil
import subprocess
import sys
import tarfile

import pyarrow as pa
from pyarrow import parquet
import pytest

from mlm_jax import config
from mlm_jax.data.corpus import clean
from mlm_jax.data.corpus import sources
from tests.data.invented import settings


def read(data):
  counts, skipped = clean.Counts(), sources.Skipped()
  texts = [
    text for source in sources.parse(data) for text in source.documents(data, counts, skipped)
  ]
  return texts, counts, skipped


@pytest.mark.parametrize(
  'spec, names',
  [
    ('pydocs', ['pydocs']),
    ('text:a,b/*.txt', ['a_b']),
    ('text:x/a.txt.gz,pydocs', ['a', 'pydocs']),
    ('text:x/a.txt, text:y/a.txt', ['a', 'a_2']),
    ('text:/*.txt', ['text']),
    ('text:/corpus/**', ['corpus']),
    ('pydocs,pydocs', ['pydocs', 'pydocs_2']),
    ('text:x/pydocs,texts', ['pydocs_texts']),
    ('text:tokenizer/*.txt', ['tokenizer_2']),
    ('tfds:lm1b,hf:a/b-c,text:d', ['lm1b', 'b-c', 'd']),
    ('tfds:wikipedia/20230601.en:train[:10%]:title,tfds:c4', ['wikipedia_20230601_en', 'c4']),
    ('hf:x/y:test,hf:x/y:train:body', ['y', 'y_2']),
    ('conllu:x/en-dev.conllu, conllu:y/*.conllu.gz,text:z', ['en-dev', 'y', 'z']),
  ],
)
def test_sources_are_joined_by_commas_before_a_known_kind(spec, names):
  assert [each.name for each in sources.parse(settings(source=spec))] == names


@pytest.mark.parametrize(
  'changes, message',
  [
    (
      dict(source='corpus.txt'),
      "'corpus.txt' is not a source; write text:GLOB, conllu:GLOB, tfds:NAME, hf:FOLDER, pydocs",
    ),
    (dict(source='text:'), 'is not a source'),
    (dict(source=''), 'is not a source'),
    (dict(source='pydocs', weights=(1, 2)), 'one for each of the 1 sources'),
    (dict(source='tfds:'), 'is not a source'),
    (dict(source='hf:'), 'is not a source'),
    (dict(source='pydocs,text:a', weights=(0, 0)), 'from 0 on, not all 0'),
    (dict(source='pydocs,text:a', weights=(-1, 2)), 'from 0 on, not all 0'),
    (dict(source='pydocs', weights=('a',)), 'must be numbers'),
    (dict(source='pydocs', weights=(float('inf'),)), 'must be numbers'),
    (dict(document='regex', document_regex='(a'), 'document_regex = .*unterminated'),
  ],
)
def test_an_unknown_source_or_weights_that_do_not_fit_are_refused(changes, message):
  data = settings()
  data.update(changes)
  with pytest.raises(config.UserError, match=message):
    sources.parse(data)


def test_a_source_may_weigh_nothing():
  assert len(sources.parse(settings(source='pydocs,text:a', weights=(1, 0)))) == 2


def test_libraries_are_imported_only_where_a_source_needs_them():
  code = (
    'import sys; from tests.data.invented import settings; '
    'from mlm_jax.data.corpus import sources; '
    'sources.parse(settings(source="tfds:lm1b,hf:x,text:a.parquet")); '
    'assert not {"tensorflow_datasets", "pyarrow"} & set(sys.modules)'
  )
  subprocess.run([sys.executable, '-c', code], check=True, cwd=pathlib.Path(__file__).parents[3])


def test_records_are_read_by_field_and_bad_ones_counted(tmp_path):
  path = tmp_path / 'a.jsonl'
  lines = [
    json.dumps({'body': 'one\r\ntwo'}),
    '',
    'no json',
    json.dumps({'body': 3}),
    json.dumps({'title': 'x'}),
    json.dumps([1]),
    json.dumps({'body': 'lone \ud800'}),
  ]
  path.write_text('\n'.join(lines))
  texts, counts, skipped = read(settings(source=f'text:{path}', field='body', document='file'))
  assert texts == ['one\ntwo', 'lone \ufffd']
  assert (skipped.records, skipped.first_record) == (4, f'{path} line 3')
  assert counts.touched['decoding'] == [1, 1]


def test_a_field_that_is_not_there_is_refused_with_those_that_are(tmp_path):
  (tmp_path / 'a.jsonl').write_text(json.dumps({'title': 'x', 'body': 'y'}))
  with pytest.raises(
    config.UserError, match="no field 'text'; set config.data.field to one of: body, title"
  ):
    read(settings(source=f'text:{tmp_path}/*'))


def test_an_empty_first_record_is_refused_without_a_list(tmp_path):
  (tmp_path / 'a.jsonl').write_text('{}\n{"text": "x"}\n')
  with pytest.raises(
    config.UserError, match="line 1 has no field 'text'; it is an empty object: .*line$"
  ):
    read(settings(source=f'text:{tmp_path}/*'))


def test_a_record_nested_too_deep_is_counted(tmp_path):
  (tmp_path / 'a.jsonl').write_text('[' * 100_000 + '\n{"text": "x"}\n')
  texts, _, skipped = read(settings(source=f'text:{tmp_path}/*', document='file'))
  assert (texts, skipped.records) == (['x'], 1)


@pytest.mark.parametrize('name', ['a.ndjson', 'a.JSONL', 'a.NdJson'])
def test_records_have_several_endings(tmp_path, name):
  (tmp_path / name).write_text('{"text": "x"}\n')
  assert read(settings(source=f'text:{tmp_path}/*', document='file'))[0] == ['x']


@pytest.mark.parametrize(
  'content, texts, skipped',
  [
    ('[{"text": "x"}, {"text": "y,]"}]', ['x', 'y,]'], 0),
    ('{"text": "x"}\n{"text": "y"}\n', ['x', 'y'], 0),
    ('{\n "text": "x",\n "n": 1\n}\n', ['x'], 0),
    (' [\n{"text": "x", "n": [[1], {}]},\n{"n": 1e400},\n{"text": "y"}]\n', ['x', 'y'], 1),
    ('["x", "y"]', ['x', 'y'], 0),
    ('[{"text": "x", "n": NaN}, {"text": "y", "n": -Infinity}]', ['x', 'y'], 0),
    ('[{"text": "x", "n": 1' + '0' * 5000 + '}]', ['x'], 0),
    ('[{"text": "x"}, {"text": "y"', ['x'], 1),
    ('[{"text": "x"}, ' + '[' * 100_000, ['x'], 1),
    ('[]', [], 0),
    ('no json', [], 1),
  ],
)
def test_json_may_be_a_list_or_one_object(tmp_path, content, texts, skipped):
  (tmp_path / 'a.json').write_text(content)
  got, _, left = read(settings(source=f'text:{tmp_path}/*', document='file'))
  assert (got, left.records) == (texts, skipped)


def test_a_list_of_many_records_is_read_wherever_its_chunks_end(tmp_path):
  texts = [f'{i} {chr(34)}\\' * (i % 50) for i in range(5_000)]
  (tmp_path / 'a.json').write_text(json.dumps([{'n': i, 'text': t} for i, t in enumerate(texts)]))
  assert read(settings(source=f'text:{tmp_path}/a.json', document='file'))[0] == texts


@pytest.mark.parametrize('name, is_read', [('a', True), ('a.gz', True), ('a.txt', False)])
def test_a_file_without_an_ending_is_json_by_its_first_line(tmp_path, name, is_read):
  content = '{"text": "x"}\n{"text": "y"}\n'
  packed = gzip.compress(content.encode()) if name == 'a.gz' else content.encode()
  (tmp_path / name).write_bytes(packed)
  texts = read(settings(source=f'text:{tmp_path}/*', document='file'))[0]
  assert texts == (['x', 'y'] if is_read else [content])


def test_links_to_nothing_are_named(tmp_path):
  (tmp_path / 'a.txt').write_text('x')
  (tmp_path / 'b.txt').symlink_to('absent')
  assert read(settings(source=f'text:{tmp_path}/*'))[2].links == [f'{tmp_path}/b.txt']


def test_binary_files_among_text_are_skipped_and_named(tmp_path):
  (tmp_path / 'a.txt').write_text('text\n')
  (tmp_path / 'b.txt').write_bytes(bytes(range(256)) * 50)
  (tmp_path / 'c.txt').write_bytes('broken \udcff here'.encode('utf-8', 'surrogateescape'))
  texts, counts, skipped = read(settings(source=f'text:{tmp_path}/*.txt', document='file'))
  assert texts == ['text\n', 'broken \ufffd here']
  assert skipped.files == [f'{tmp_path}/b.txt']
  assert counts.touched['decoding'] == [1, 1]


def test_tables_are_read_wherever_they_are_packed(tmp_path):
  table = pa.table({'text': ['one', 'two']})
  parquet.write_table(table, tmp_path / 'a.parquet')
  with pa.OSFile(f'{tmp_path}/a.arrow', 'wb') as file, pa.ipc.new_stream(file, table.schema) as out:
    out.write_table(table)
  packed = tmp_path / 'packed'
  packed.mkdir()
  shutil.copy(tmp_path / 'a.parquet', packed / 'a without an ending')
  (packed / 'b.arrow.gz').write_bytes(gzip.compress((tmp_path / 'a.arrow').read_bytes()))
  with tarfile.open(packed / 'c.tar', 'w') as archive:
    for name, member in (('a.parquet', 'x.Parquet'), ('a.arrow', 'y/z.bin')):
      archive.add(tmp_path / name, member)
  (packed / 'd.gz').write_bytes(gzip.compress((packed / 'c.tar').read_bytes()))
  texts, _, skipped = read(settings(source=f'text:{packed}/*', document='file'))
  assert texts == ['one', 'two'] * 6 and not skipped.files and not skipped.archives
  with pytest.raises(config.UserError, match="c.tar:x.Parquet has no column 'body'"):
    read(settings(source=f'text:{packed}/c.tar', field='body'))


def test_a_table_without_rows_gives_none(tmp_path):
  parquet.write_table(pa.table({'text': pa.array([], pa.string())}), tmp_path / 'a.parquet')
  assert read(settings(source=f'text:{tmp_path}/a.parquet'))[0] == []


def test_novels_lose_their_marks_and_line_ends(shared):
  data = settings(source=f'text:{shared}/english_novels/novels_shared.tar.xz', document='file')
  (source,) = sources.parse(data)
  counts, skipped = clean.Counts(), sources.Skipped()
  text = next(source.documents(data, counts, skipped))
  assert '\ufeff' not in text and '\r' not in text and text.count('\n') > 1000
