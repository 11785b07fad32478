"""How good rankings of documents are, by trec_eval (pytrec-eval-terrier), and what BM25 ranks."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import logging
from typing import Any

import numpy as np

METRICS = {'ndcg_at_10': 'max', 'mrr_at_10': 'max', 'recall_at_10': 'max', 'recall_at_100': 'max'}
DEPTH = 100  # documents of a ranking that the metrics look at
_RANKS, _BM25 = 'ndcg_at_10', 'bm25'
_WORST = 20  # queries that are told of
_LENGTHS = (5, 10, 20, 40, 1 << 30)  # words of a query that are told apart
_ROUNDED = 6  # digits of what is written down
_THEIRS = {'ndcg_cut_10': 'ndcg_at_10', 'recall_10': 'recall_at_10', 'recall_100': 'recall_at_100'}


def scores(
  rankings: Mapping[str, Sequence[str]], grades: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, float]]:
  """Returns {query: {metric of METRICS: value}}, in the order of the rankings.

  nDCG has the grades as gains; for the other metrics a document with a grade above 0 is relevant.

  Args:
    rankings: {query: documents, the best first}.
    grades: {query: {document: how relevant, 0 for not}}.
  """
  import pytrec_eval

  measure = lambda names, most: pytrec_eval.RelevanceEvaluator(
    {query: dict(grades[query]) for query in rankings}, names
  ).evaluate(
    # By places and not by scores: of equal ones trec_eval has an order of its own.
    {query: {each: -float(n) for n, each in enumerate(r[:most])} for query, r in rankings.items()}
  )
  found = measure({'ndcg_cut.10', 'recall.10,100'}, DEPTH)
  first = measure({'recip_rank'}, 10)
  empty = {**dict.fromkeys(_THEIRS, 0.0), 'recip_rank': 0.0}  # of a query that found nothing
  made = {}
  for query in rankings:
    values = empty | found.get(query, {}) | first.get(query, {})
    ours = {name: values[theirs] for theirs, name in _THEIRS.items()}
    made[query] = {**ours, 'mrr_at_10': values['recip_rank']}
  return {query: {name: float(each[name]) for name in METRICS} for query, each in made.items()}


def means(of_queries: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
  """Returns {metric: mean over the queries}."""
  return {name: float(np.mean([each[name] for each in of_queries.values()])) for name in METRICS}


def bm25(queries: Sequence[str], documents: Sequence[str], k: int) -> list[list[int]]:
  """Returns the numbers of at most k documents of each query, the best first, by BM25 (bm25s).

  Documents that share no word with a query are not among them; of equal scores the first document
  comes first. English stop words are left out, and nothing is stemmed; k1 = 1.5, b = .75.
  """
  import bm25s

  logging.getLogger('bm25s').setLevel(logging.WARNING)  # it tells of each index
  cut: Any = lambda texts: bm25s.tokenize(list(texts), return_ids=False, show_progress=False)
  index, words = bm25s.BM25(), cut(documents)
  if not any(words):
    return [[] for _ in queries]
  index.index(words, show_progress=False)
  found = []
  for each in cut(queries):
    score_N = index.get_scores(each) if each else np.zeros(len(documents))
    best = np.argsort(-score_N, kind='stable')[:k]
    found.append([int(n) for n in best if score_N[n] > 0])
  return found


def lines(
  ranked: Mapping[str, Sequence[str]],
  ranked_scores: Sequence[Sequence[float]],
  grades: Mapping[str, Mapping[str, int]],
  queries: Mapping[str, str],
  documents: Mapping[str, str],
) -> list[dict[str, Any]]:
  """Returns what predictions.jsonl says of each query: its ranking, and how good that is.

  Args:
    ranked: {query: documents, the best first}.
    ranked_scores: the scores of these.
    grades: {query: {document: grade}}; {} for a query that is not judged.
    queries, documents: {id: text}.
  """
  judged = {query: each for query, each in grades.items() if any(each.values())}
  ours = scores({query: ranked[query] for query in judged}, judged) if judged else {}
  theirs = scores(_by_bm25(judged, queries, documents), judged) if judged else {}
  found = []
  for (query, ids), values in zip(ranked.items(), ranked_scores, strict=True):
    line: dict[str, Any] = {'id': query, 'query': queries[query]}
    if query in judged:
      line |= _rounded(ours[query])
      line |= {f'{_BM25}_{name}': each for name, each in _rounded(theirs[query]).items()}
    line['ranking'] = [
      {'id': each, 'score': round(value, _ROUNDED)}
      | ({'grade': judged[query][each]} if each in judged.get(query, {}) else {})
      for each, value in zip(ids, values)
    ]
    found.append(line)
  return found


def _by_bm25(
  of: Iterable[str], queries: Mapping[str, str], documents: Mapping[str, str]
) -> dict[str, list[str]]:
  ids, asked = list(documents), list(of)
  numbers = bm25([queries[each] for each in asked], list(documents.values()), DEPTH)
  return {query: [ids[n] for n in found] for query, found in zip(asked, numbers, strict=True)}


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
  return {name: round(value, _ROUNDED) for name, value in values.items()}


def tables(predictions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
  """Returns {'by_ranker': the model's scores and BM25's, 'by_query_length', 'worst': queries}.

  Args:
    predictions: of `lines`, judged.
  """
  mean = lambda rows, before='': {
    name: float(np.mean([each[before + name] for each in rows])) for name in METRICS
  }
  by_length: dict[str, list] = {}
  for each in sorted(predictions, key=lambda each: len(each['query'].split())):
    words = len(each['query'].split())
    kind = next(f'to {most} words' for most in _LENGTHS if words <= most)
    by_length.setdefault(kind, []).append(each)
  worst = sorted(predictions, key=lambda each: each[_RANKS])[:_WORST]
  shown = ('id', 'query', _RANKS, f'{_BM25}_{_RANKS}')
  return {
    'by_ranker': {'model': mean(predictions), _BM25: mean(predictions, f'{_BM25}_')},
    'by_query_length': {
      kind: {'queries': len(rows)} | mean(rows) for kind, rows in by_length.items()
    },
    'worst': [
      {name: each[name] for name in shown} | {'found': [one['id'] for one in each['ranking'][:5]]}
      for each in worst
    ],
  }
