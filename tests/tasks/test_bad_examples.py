"""Examples that cannot be right, by kind of task: the command says so and writes nothing."""

import json

import pytest

from tests import shared_runs
from tests.cli.test_main import call

TEXTS = 'text,label\na b,good\nc d,bad\ne f,good\ng h,bad\n'
PAIRS = 'text,second_text,score\na,b,1\nb,c,2.5\nc,d,3\n'
WORDS = 'Ada B-person\nwrote O\n\nshe O\nran O\n\n'
ASKED = [{'query': 'a', 'positive': 'b c'}, {'query': 'd', 'positive': 'e f'}]
CORPUS = '{"_id": "1", "text": "a b"}\n{"_id": "2", "text": "c d"}\n'
QUERIES = '{"_id": "q", "text": "a"}\n'
QRELS = 'query-id\tcorpus-id\tscore\nq\t1\t1\n'


def squad(*answers):
  paragraph = {
    'context': 'Ada wrote it',
    'qas': [
      {'id': str(n), 'question': 'who?', 'answers': [{'text': text, 'answer_start': start}]}
      for n, (text, start) in enumerate(answers)
    ],
  }
  return json.dumps({'data': [{'paragraphs': [paragraph]}]})


def lines(records):
  return ''.join(json.dumps(each) + '\n' for each in records)


def beir(corpus=CORPUS, queries=QUERIES, qrels=QRELS):
  return {'train/corpus.jsonl': corpus, 'train/queries.jsonl': queries, 'train/qrels/a.tsv': qrels}


CLASSIFICATION = (
  ({'train.csv': TEXTS.replace('label', 'class')}, "no column 'label'; there are 'text', 'class'"),
  ({'train.csv': TEXTS.replace('c d,bad', 'c d')}, 'line 3'),
  ({'train.csv': TEXTS.replace('c d,bad', ',bad')}, 'line 3'),
  ({'train.csv': TEXTS.replace('c d,bad', 'c d,')}, 'line 3'),
  ({'train.csv': TEXTS.replace('bad', 'good')}, 'good'),
  ({'train.csv': 'text,label\n'}, 'train.csv'),
  ({'train.csv': ''}, 'train.csv'),
  ({'train.csv': TEXTS, 'test.csv': 'text,label\nx y,ugly\n'}, "'ugly'"),
  ({'train.csv': TEXTS, 'test.csv': 'text\nx y\n'}, "no column 'label'"),
)
TOKEN_LABELLING = (
  ({'train.conll': WORDS.replace('wrote O', 'wrote')}, 'line 2'),
  ({'train.conll': WORDS.replace('B-person', 'B-')}, 'line 1'),
  ({'train.conll': WORDS.replace('B-person', 'O')}, "'O'"),
  ({'train.conll': '\n\n'}, 'train.conll'),
  ({'train.conll': WORDS * 10, 'test.conll': 'Bob B-place\n\n'}, 'place'),
  ({'train.jsonl': '{"text": ["a", "b"], "label": ["O"]}\n'}, 'line 1'),
)
QUESTIONS = (
  ({'train.json': '{"data": 3}'}, 'train.json'),
  ({'train.json': '{"data": ['}, 'train.json'),
  ({'train.json': squad(('Ada', 4), ('wrote', 0))}, 'train.json'),
)
SIMILARITY = (
  ({'train.csv': PAIRS.replace('score', 'points')}, "no column 'score'"),
  ({'train.csv': PAIRS.replace('2.5', 'nan')}, 'line 3'),
  ({'train.csv': PAIRS.replace(',2.5', '')}, 'line 3'),
  ({'train.csv': PAIRS, 'test.csv': 'text,second_text,score\nx,y,much\n'}, 'line 2'),
)
RETRIEVAL = (
  ({'train.jsonl': lines(ASKED).replace('positive', 'answer')}, "'positive'"),
  ({'train.jsonl': lines([{'query': ' ', 'positive': 'b'}])}, 'line 1'),
  (beir(qrels=QRELS + 'q\t3\t1\n'), "'3'"),
  (beir(qrels=QRELS + 'r\t1\t1\n'), "'r'"),
  (beir(qrels=QRELS + 'q\t2\tmuch\n'), 'line 3'),
  (beir(corpus=CORPUS + CORPUS), "'1'"),
  (beir(queries=QUERIES * 2), "'q'"),
  (beir(qrels='query-id\tcorpus-id\tscore\n'), 'a.tsv'),
)
SIZES = {
  'question_answering': (
    '--config.task.question_answering.stride=4',
    '--config.task.question_answering.max_question_pieces=16',
  ),
  'retrieval': (
    '--config.task.retrieval.max_query_tokens=12',
    '--config.task.retrieval.max_document_tokens=20',
  ),
}
CASES = [
  (name, *case)
  for name, cases in (
    ('classification', CLASSIFICATION),
    ('token_labelling', TOKEN_LABELLING),
    ('question_answering', QUESTIONS),
    ('similarity', SIMILARITY),
    ('retrieval', RETRIEVAL),
  )
  for case in cases
]


@pytest.mark.slow
@pytest.mark.parametrize('recipe, files, says', CASES)
def test_it_is_refused_in_a_line(recipe, files, says, tmp_path, tmp_path_factory, capsys):
  start = shared_runs.trained(tmp_path_factory, 'start')
  flags = []
  for name, content in files.items():
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(content)
    part = name.split('/')[0]
    flags.append(f'--config.task.{part.split(".")[0]}={tmp_path / part}')
  status, _, error = call(
    capsys,
    'finetune',
    f'--config=finetune/{recipe}:smoke',
    f'--from={start}',
    f'--workdir={tmp_path / "run"}',
    '--config.data.row_length=32',
    *SIZES.get(recipe, ()),
    *dict.fromkeys(flags),
  )
  assert status == 2 and error.count('\n') == 1 and says in error, error
  assert not (tmp_path / 'run').exists()
