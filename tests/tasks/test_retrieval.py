"""A run learns to find documents, is scored beside BM25, and searches as it was scored."""

import json

import numpy as np
import pytest

import mlm_jax
from mlm_jax import config as config_lib
from mlm_jax.inference import predict_file
from mlm_jax.tasks import finetuning
from mlm_jax.training import logs
from tests import shared_runs
from tests.training import toy

DOCUMENTS, QUERIES = 60, 150


def write_beir(folder, words, seed=0):
  """Writes documents of three words, and queries that have one or two of a document's words."""
  random = np.random.default_rng(seed)
  contents = [random.choice(len(words), 3, replace=False) for _ in range(DOCUMENTS)]
  lines = lambda texts: ''.join(
    json.dumps({'_id': key, 'text': ' '.join(words[i] for i in text)}) + '\n'
    for key, text in texts.items()
  )
  answers = {f'q{n}': n % DOCUMENTS for n in range(QUERIES)}
  queries = {key: random.choice(contents[n], 2, replace=False) for key, n in answers.items()}
  (folder / 'qrels').mkdir(parents=True)
  (folder / 'corpus.jsonl').write_text(lines({f'd{n}': each for n, each in enumerate(contents)}))
  (folder / 'queries.jsonl').write_text(lines(queries))
  judged = [f'{key}\td{n}\t1' for key, n in answers.items()]
  (folder / 'qrels' / 'all.tsv').write_text(
    '\n'.join(['query-id\tcorpus-id\tscore', *judged]) + '\n'
  )
  return str(folder)


@pytest.fixture(scope='module')
def start(tmp_path_factory):
  return shared_runs.trained(tmp_path_factory, 'start')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  corpus = shared_runs.corpus(tmp_path_factory).read_text()
  words = sorted({each.strip('.') for each in corpus.split()}, key=lambda each: (len(each), each))
  return write_beir(tmp_path_factory.mktemp('beir') / 'made', words[:40])


def config(start, train, **settings):
  given = [('init_from', str(start)), ('data.row_length', '32'), ('log.trackers', '')]
  return config_lib.overlay(
    config_lib.load('finetune/retrieval:smoke', given),
    {
      'task.train': train,
      'task.retrieval.max_query_tokens': 12,
      'task.retrieval.max_document_tokens': 20,
      'task.retrieval.query_prompt': 'ab ',
      'batch_size': 16,
      'total_steps': 60,
      'evaluation.every': 30,
      'checkpoint.every': 30,
      'evaluation.batch_size': 16,
      'optim.learning_rate': 3e-3,
      **settings,
    },
  )


@pytest.fixture(scope='module')
def run(tmp_path_factory, start, folder):
  place, said = tmp_path_factory.mktemp('runs') / 'run', []
  assert finetuning.run(config(start, folder, **{'task.test': folder}), place, said.append)
  return place, said


def lines_of(place):
  return [json.loads(each) for each in (place / 'predictions.jsonl').read_text().splitlines()]


def test_it_learns_and_is_scored_beside_bm25_with_its_prompts(run):
  report, lines = json.loads((run[0] / 'test.json').read_text()), lines_of(run[0])
  assert report['split'] == 'test' and report['examples'] == len(lines) == 45
  assert report['scores']['ndcg_at_10'] > 0.5
  tables = report['errors']
  assert tables['prompts'] == {'query': 'ab ', 'document': ''}
  assert tables['by_ranker']['model'] == pytest.approx(report['scores'], abs=1e-5)
  assert tables['by_ranker']['bm25']['ndcg_at_10'] > 0.5
  worst = [each['ndcg_at_10'] for each in tables['worst']]
  assert worst == sorted(worst) and worst[0] == min(each['ndcg_at_10'] for each in lines)
  for each in lines:
    # One document answers: all metrics are of its place, the grade says which one it is.
    [place] = [n for n, one in enumerate(each['ranking']) if 'grade' in one]
    assert each['mrr_at_10'] == pytest.approx(1 / (place + 1) if place < 10 else 0, abs=1e-5)
  scores = [line['validation_ndcg_at_10'] for line in logs.read_log(run[0], 'evaluations')]
  assert len(scores) == 2 and max(scores) > 0.3


def test_an_opened_run_searches_embeds_and_predicts_as_it_was_scored(run, folder, tmp_path):
  opened, lines = mlm_jax.open_run(run[0]), lines_of(run[0])
  with open(f'{folder}/corpus.jsonl') as file:
    documents = [json.loads(line)['text'] for line in file]
  found = opened.search([each['query'] for each in lines], documents, 5)
  queries_QD = opened.embed([each['query'] for each in lines], prompt='query')
  documents_ND = opened.embed(documents, prompt='document')
  for line, hits, query_D in zip(lines, found, queries_QD, strict=True):
    scores = [each['score'] for each in line['ranking'][:5]]
    assert [each.score for each in hits] == pytest.approx(scores, abs=1e-5)
    assert [query_D @ documents_ND[each.number] for each in hits] == pytest.approx(scores, abs=1e-5)
  assert predict_file.run(run[0], folder, str(tmp_path / 'out.jsonl')) == QUERIES
  predicted = {
    each['id']: each['ranking']
    for each in map(json.loads, (tmp_path / 'out.jsonl').read_text().splitlines())
  }
  for line in lines:
    assert predicted[line['id']][0]['score'] == pytest.approx(line['ranking'][0]['score'], abs=1e-5)
  pairs = [(each['query'], documents[0]) for each in lines[:2]]
  for [negative] in opened.hard_negatives(pairs, documents):
    assert negative in documents[1:]
  assert opened.search([], documents) == [] and opened.search(['a'], []) == [[]]
  for call in (lambda: opened.predict(['a']), lambda: opened.search(['a'], ['b'], 0)):
    with pytest.raises(config_lib.UserError, match='search|k = 0'):
      call()


@pytest.mark.parametrize('pairs', ('labelled', 'dropout', 'inverse_cloze'))
@pytest.mark.slow
def test_every_kind_of_pairs_trains_in_micro_batches_with_matryoshka(pairs, start, tmp_path):
  corpus = [{'_id': n, 'text': f'a{n} is one. b{n} is two! c{n} is'} for n in range(40)]
  queries = [{'_id': n, 'text': f'a{n} b{n}'} for n in range(40)]
  (tmp_path / 'qrels').mkdir()
  for name, records in (('corpus', corpus), ('queries', queries)):
    text = ''.join(json.dumps(each) + '\n' for each in records)
    (tmp_path / f'{name}.jsonl').write_text(text)
  judged = ['query-id\tcorpus-id\tscore', *(f'{n}\t{n}\t1' for n in range(40))]
  (tmp_path / 'qrels' / 'test.tsv').write_text('\n'.join(judged) + '\n')
  settings = {'pairs': pairs, 'dimensions': (8, 32), 'learn_temperature': True}
  c = config(
    start,
    str(tmp_path),
    grad_accumulation_steps=2,
    total_steps=4,
    **{f'task.retrieval.{name}': value for name, value in settings.items()},
  )
  assert finetuning.run(c, tmp_path / 'run', toy.silent)
  metrics = logs.read_log(tmp_path / 'run', 'metrics')
  assert metrics[-1]['temperature'] != 0.05 and np.isfinite(metrics[-1]['loss'])


@pytest.mark.parametrize(
  'settings, says',
  (
    ({'data.row_length': 24}, 'row_length = 24: must be at least 32'),
    ({'task.retrieval.negatives': 1}, 'row_length = 32: must be at least 52'),
    ({'task.retrieval.dimensions': (8, 8)}, 'must be whole numbers above 0 that differ'),
    ({'task.retrieval.dimensions': (8, 99)}, 'must be at most 32, the width'),
    ({'batch_size': 100}, 'must be at most'),
    ({'task.labels': ('a',)}, 'task.labels'),
  ),
)
def test_what_cannot_work_is_refused_in_a_line(settings, says, start, folder, tmp_path):
  with pytest.raises(config_lib.UserError, match=says):
    finetuning.run(config(start, folder, **settings), tmp_path / 'run', toy.silent)
