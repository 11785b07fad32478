"""Folders of BEIR and of SMART are read as their files say, or refused in a line."""

import json

import pytest

from mlm_jax import config
from mlm_jax.data.examples import collection
from mlm_jax.data.examples import smart

SMART = {
  'TINY.ALL': '.I 1\n.T\na title\n.A\nsomebody\n.W\na title\nand a text\n.I 2\n.W\nanother\n text',
  'tiny.qry': '.I 003\n.W\nwhat is it .\n.I 007\n.W\nwho is\nit\n',
  'tinyqrel': '1 1 1\n2 2 4\n2 1 -1\n',
}
BEIR = {
  'corpus.jsonl': [{'_id': 'a', 'title': 'A', 'text': 'one'}, {'_id': 'b', 'text': ' two '}],
  'queries.jsonl': [{'_id': 1, 'text': 'what'}, {'_id': 2, 'text': 'who'}],
  'qrels/train.tsv': 'query-id\tcorpus-id\tscore\n1\ta\t2\n1\tb\t0\n',
  'qrels/test.tsv': 'query-id\tcorpus-id\tscore\n2\tb\t1\n',
}


def write(folder, files):
  for name, content in files.items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str):
      content = ''.join(json.dumps(each) + '\n' for each in content)
    path.write_text(content)
  return str(folder)


def test_a_beir_folder_has_titles_before_texts_and_judgements_by_part(tmp_path):
  found = collection.read(write(tmp_path, BEIR))
  assert list(found.documents.items()) == [('a', 'A one'), ('b', 'two')]
  assert found.queries == {'1': 'what', '2': 'who'}
  assert found.judgements == {'train': {'1': {'a': 2, 'b': 0}}, 'test': {'2': {'b': 1}}}


def test_a_smart_folder_counts_queries_by_place_and_turns_codes_into_grades(tmp_path):
  found = smart.read(write(tmp_path, SMART))
  assert smart.is_smart(str(tmp_path)) and not smart.is_smart(str(tmp_path / 'none'))
  assert found.documents == {'1': 'a title and a text', '2': 'another text'}
  assert list(found.queries.items()) == [('3', 'what is it .'), ('7', 'who is it')]
  assert found.judgements == {'': {'3': {'1': 4}, '7': {'2': 1, '1': 0}}}
  # Without degrees, as in ADI: every document named is relevant.
  found = smart.read(write(tmp_path, {'tinyqrel': '1   2   0   0.000000   \n'}))
  assert found.judgements == {'': {'3': {'2': 1}}}


def test_cranfield_has_the_counts_that_it_is_known_by(shared):
  found = smart.read(str(shared / 'cranfield'))
  assert (len(found.documents), len(found.queries)) == (1400, 225)
  grades = [grade for each in found.judgements[''].values() for grade in each.values()]
  assert len(grades) == 1837 and [grades.count(n) for n in range(5)] == [225, 363, 734, 387, 128]


@pytest.mark.parametrize(
  'files, says',
  (
    ({'qrels/test.tsv': BEIR['qrels/test.tsv'] + '9\tb\t1\n'}, "test.tsv line 3.*no query '9'"),
    ({'qrels/test.tsv': BEIR['qrels/test.tsv'] + '2\tz\t1\n'}, "line 3.*no document 'z'"),
    ({'qrels/test.tsv': BEIR['qrels/test.tsv'] + '2\ta\t0.5\n'}, "grade '0.5'"),
    ({'qrels/test.tsv': BEIR['qrels/test.tsv'] + '2\tb\t2\n'}, 'two grades'),
    ({'qrels/test.tsv': 'query-id\tcorpus-id\tscore\n2\tb\t0\n'}, 'no document as relevant'),
    ({'corpus.jsonl': BEIR['corpus.jsonl'] * 2}, "corpus.jsonl line 3: the id 'a' is there twice"),
    ({'corpus.jsonl': [{'_id': 'a', 'text': 3}]}, 'line 1.*must be texts'),
  ),
)
def test_a_beir_folder_that_cannot_be_right_is_refused(tmp_path, files, says):
  with pytest.raises(config.UserError, match=says):
    collection.read(write(tmp_path, BEIR | files))


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(config.UserError, match='corpus.jsonl'):
    collection.read(str(tmp_path))
  write(tmp_path, {name: each for name, each in BEIR.items() if 'qrels' not in name})
  with pytest.raises(config.UserError, match='qrels: must be a folder'):
    collection.read(str(tmp_path))
  with pytest.raises(config.UserError, match='one file of documents, found none'):
    smart.read(str(tmp_path))


@pytest.mark.parametrize(
  'files, says',
  (
    ({'tinyqrel': '3 1 1\n'}, "tinyqrel line 1: there is no query '3'"),
    ({'tinyqrel': '1 9 1\n'}, "no document '9'"),
    ({'tinyqrel': '1 1\n'}, '2 fields'),
    ({'tinyqrel': '1 1 x\n'}, "grade 'x'"),
    ({'tiny.qry': '.I 1\n.W\na\n.I 01\n.W\nb\n'}, "line 4: the id '1' is there twice"),
    ({'tiny.qry': 'a\n.I 1\n'}, 'before the first .I'),
    ({'tiny.qry': '\n'}, 'holds no record'),
    ({'more.qry': '.I 1\n.W\na\n'}, 'one file of queries, found more.qry, tiny.qry'),
  ),
)
def test_a_smart_folder_that_cannot_be_right_is_refused(tmp_path, files, says):
  with pytest.raises(config.UserError, match=says):
    smart.read(write(tmp_path, SMART | files))
