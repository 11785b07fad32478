"""Search beside brute force, and metrics beside their definitions."""

import math

import numpy as np
import pytest

from mlm_jax.evaluation import hard_negatives
from mlm_jax.evaluation import rankings
from mlm_jax.evaluation import search


@pytest.mark.parametrize('documents, queries', ((3, 2), (7, 5), (1000, 1000)))
@pytest.mark.parametrize('k', (1, 5, 60))
def test_blocks_find_what_brute_force_finds_also_among_equals(documents, queries, k):
  random = np.random.default_rng(0)
  # Whole numbers: products are exact, and many of them are equal.
  queries_QD = random.integers(-2, 3, (11, 4)).astype(np.float32)
  documents_ND = random.integers(-2, 3, (50, 4)).astype(np.float32)
  scores_QK, numbers_QK = search.top(queries_QD, documents_ND, k, documents, queries)
  product_QN = queries_QD @ documents_ND.T
  wanted_QK = np.argsort(-product_QN, axis=1, kind='stable')[:, :k]
  assert (numbers_QK == wanted_QK).all()
  assert (scores_QK == np.take_along_axis(product_QN, wanted_QK, 1)).all()


def test_metrics_are_those_of_their_definitions():
  random = np.random.default_rng(0)
  documents = [f'd{n}' for n in range(150)]
  ranked_of = {f'q{q}': [documents[n] for n in random.permutation(150)[:120]] for q in range(20)}
  grades = {
    query: {documents[n]: int(random.integers(0, 4)) for n in random.permutation(150)[:12]}
    | {documents[0]: 1}
    for query in ranked_of
  }
  found = rankings.scores(ranked_of, grades)
  for query, ranked in ranked_of.items():
    gains = [grades[query].get(each, 0) for each in ranked]
    discounted = lambda values: sum(g / math.log2(n + 2) for n, g in enumerate(values[:10]))
    best = sorted(grades[query].values(), reverse=True)
    relevant = sum(g > 0 for g in best)
    firsts = [n for n, g in enumerate(gains[:10]) if g]
    assert found[query] == pytest.approx(
      {
        'ndcg_at_10': discounted(gains) / discounted(best),
        'mrr_at_10': 1 / (firsts[0] + 1) if firsts else 0,
        'recall_at_10': sum(g > 0 for g in gains[:10]) / relevant,
        'recall_at_100': sum(g > 0 for g in gains[:100]) / relevant,
      },
      abs=1e-6,
    )
  assert rankings.means(found)['mrr_at_10'] == pytest.approx(
    np.mean([each['mrr_at_10'] for each in found.values()])
  )
  assert set(rankings.scores({'q0': []}, grades)['q0'].values()) == {0.0}


def test_bm25_ranks_by_rare_words_and_leaves_out_what_shares_none():
  documents = ['red fish blue fish', 'red green', 'red whale', 'nothing here', 'red whale']
  assert rankings.bm25(['whale', 'red fish', 'unheard', ''], documents, 3) == [
    [2, 4],
    [0, 1, 2],
    [],
    [],
  ]


def test_hard_negatives_are_the_nearest_that_answer_nothing_and_keep_their_distance():
  random = np.random.default_rng(0)
  unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
  queries_QD, documents_ND = (unit(random.normal(size=(n, 3))).astype(np.float32) for n in (6, 40))
  pairs = [(q, d) for q in range(6) for d in random.choice(40, 4, replace=False).tolist()]
  found = hard_negatives.mine(queries_QD, documents_ND, pairs, 3, margin=0.2, depth=40)
  score_QN = queries_QD @ documents_ND.T
  for (query, own), negatives in zip(pairs, found, strict=True):
    limit = score_QN[query, own] - 0.2 * abs(score_QN[query, own])
    may = [
      d
      for d in np.argsort(-score_QN[query])
      if (query, d) not in pairs and score_QN[query, d] <= limit
    ]
    assert negatives == may[:3]
