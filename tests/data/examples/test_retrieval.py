"""Pairs and collections are divided by queries, and what was judged is what is trained on."""

import json

import pytest

from mlm_jax import config
from mlm_jax.data.examples import retrieval
from tests.data.examples import test_collection


def task(train, **settings):
  made = config.finetuning().task
  with made.unlocked():
    made.update(train=str(train), **{k: v for k, v in settings.items() if k in made})
    made.retrieval.update({k: v for k, v in settings.items() if k in made.retrieval})
  return made


def write_pairs(path, number=20, **columns):
  """Writes pairs: every fifth query is that of the pair before it, with another answer."""
  lines = [
    {'query': f'query {n - (n % 5 == 4)}', 'positive': f'answer {n}'}
    | {name: value(n) for name, value in columns.items()}
    for n in range(number)
  ]
  path.write_text(''.join(json.dumps(each) + '\n' for each in lines))
  return path


def of(examples, kind):
  return [each for each in examples if each.kind == kind]


def test_pairs_are_divided_by_their_queries_and_search_all_documents_of_the_file(tmp_path):
  path = write_pairs(tmp_path / 'pairs.jsonl')
  splits = retrieval.splits(task(path, test=str(path), test_fraction=0.3, validation_fraction=0.2))
  assert list(splits) == ['train', 'validation', 'test']
  asked = {
    'train': {each.texts[0] for each in splits['train']},
    **{
      name: {each.texts[0] for each in of(splits[name], retrieval.QUERY)}
      for name in ('validation', 'test')
    },
  }
  assert sum(map(len, asked.values())) == len(set.union(*asked.values())) == 16
  assert len(asked['test']) == 5 and len(asked['validation']) == 2
  for name in ('validation', 'test'):
    documents = {each.id: each.texts[0] for each in of(splits[name], retrieval.DOCUMENT)}
    assert sorted(documents.values()) == sorted(f'answer {n}' for n in range(20))
    for each in of(splits[name], retrieval.QUERY):
      number = int(each.texts[0].split()[1])
      wanted = {f'answer {number}'} | ({f'answer {number + 1}'} if number % 5 == 3 else set())
      assert {documents[key] for key, grade in each.relevant if grade} == wanted


def test_negatives_are_read_as_many_as_are_wanted(tmp_path):
  path = write_pairs(tmp_path / 'a.jsonl', negative=lambda n: [f'no {n}', f'never {n}'])
  for negatives, wanted in ((0, ()), (1, ('no 0',)), (3, ('no 0', 'never 0'))):
    source = retrieval.read(str(path), task(path, negatives=negatives))
    assert source.pairs[0].texts == ('query 0', 'answer 0', *wanted)
    assert len(source.whole.documents) == 20 * (1 + len(wanted))
  path = write_pairs(tmp_path / 'a.jsonl', negative=lambda n: f'no {n}' if n else '')
  source = retrieval.read(str(path), task(path, negatives=1))
  assert [len(each.texts) for each in source.pairs[:2]] == [2, 3]


def test_a_folder_with_judgements_for_each_use_has_its_own_splits(tmp_path):
  folder = test_collection.write(
    tmp_path, test_collection.BEIR | {'qrels/dev.tsv': ('query-id\tcorpus-id\tscore\n2\ta\t1\n')}
  )
  splits = retrieval.splits(task(folder, validation=folder, test=folder))
  assert [each.texts for each in splits['train']] == [('what', 'A one')]
  for name, relevant in (('validation', (('a', 1),)), ('test', (('b', 1),))):
    [query] = of(splits[name], retrieval.QUERY)
    assert (query.texts, query.relevant) == (('who',), relevant)
    assert [each.id for each in of(splits[name], retrieval.DOCUMENT)] == ['a', 'b']


def test_without_labels_documents_are_their_own_pairs(tmp_path):
  files = dict(
    test_collection.SMART,
    **{
      'TINY.ALL': '.I 1\n.W\nOne is. Two is! Three\n.I 2\n.W\nOne.\n',
      'tinyqrel': '1 1 1\n2 2 4\n',
    },
  )
  folder = test_collection.write(tmp_path, files)
  splits = retrieval.splits(task(folder, pairs='dropout', validation_fraction=0.5))
  assert [each.texts for each in splits['train']] == [('One is. Two is! Three',) * 2, ('One.',) * 2]
  splits = retrieval.splits(task(folder, pairs='inverse_cloze', validation_fraction=0.5))
  assert [(each.texts, each.origin) for each in splits['train']] == [
    (('One is.', 'Two is! Three'), '1'),
    (('Two is!', 'One is. Three'), '1'),
    (('Three', 'One is. Two is!'), '1'),
  ]


@pytest.mark.parametrize(
  'content, settings, says',
  (
    ('{"query": "a"}\n', {}, "no column 'positive'"),
    ('{"query": "a", "positive": " "}\n', {}, "line 1: ' ' must be a text"),
    ('{"query": "a", "positive": "b"}\n', {'negatives': 1}, "no column 'negative'"),
    ('{"query": "a", "positive": "b"}\n', {}, 'too few to keep some for validation'),
  ),
)
def test_files_that_cannot_be_right_are_refused(tmp_path, content, settings, says):
  path = tmp_path / 'a.jsonl'
  path.write_text(content)
  with pytest.raises(config.UserError, match=says):
    retrieval.splits(task(path, **settings))


def test_a_folder_without_judgements_for_a_use_says_which_it_has(tmp_path):
  folder = test_collection.write(tmp_path, test_collection.BEIR)
  with pytest.raises(config.UserError, match='none of test, train is dev'):
    retrieval.splits(task(folder, validation=folder))
