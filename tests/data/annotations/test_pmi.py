import collections
import itertools
import math
import random
import re

import numpy as np
import pytest

from mlm_jax.data import rows as rows_lib
from mlm_jax.data import store
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.data.annotations import collocations
from mlm_jax.data.annotations import pmi
from tests.data.invented import sentences
from tests.data.invented import settings

PLANTED = ['zuza kiki', 'mamo fefe gugu', 'lolo dada ripi sasa', 'pepe tutu nono bibi koko']


def texts():
  """Returns documents of invented words with punctuation, and phrases planted in some."""
  draw = random.Random(1)
  made = []
  for text in sentences(500):
    words = text.split()
    for _ in range(draw.randint(0, 2)):
      words.insert(draw.randrange(len(words)), draw.choice(PLANTED))
    words = [word + ',' if draw.random() < 0.1 else word for word in words]
    made.append(' '.join(words))
  return made


@pytest.fixture(scope='module')
def tokenizer():
  return tokenizer_lib.make(tokenizer_lib.train(texts(), settings()))


@pytest.fixture(scope='module')
def rows(tokenizer, tmp_path_factory):
  """Returns the texts in rows of two sources."""
  folder = tmp_path_factory.mktemp('rows')
  for name, part in (('a', texts()[:300]), ('b', texts()[300:])):
    # Long rows: a word that is cut in two might spell another.
    rows_lib.write(
      ((text, {}) for text in part), settings(row_length=512), tokenizer, folder / name
    )
  return [store.rows(folder / name) for name in 'ab']


def runs(tokenizer, rows):
  """Yields the words between two marks of punctuation or the ends of a segment, read from the
  text.
  """
  for each in rows:
    for row in each.tokens_RL:
      for segment in tokenizer.decode(row).split('[CLS]')[1:]:
        for run in re.split(r'[^\w\s]', segment.replace('[SEP]', '')):
          yield run.split()


def counted(tokenizer, rows):
  """Returns {n: Counter of the n-grams of n words}."""
  counts = {n: collections.Counter() for n in range(1, 6)}
  for words, n in itertools.product(runs(tokenizer, rows), counts):
    counts[n].update(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
  return counts


def scored(gram, counts, parts=None):
  """Returns the score of an n-gram over each way to cut it, or each into so many parts."""
  n = len(gram)
  log_p = lambda part: math.log(counts[len(part)][part] / counts[len(part)].total())
  numbers = range(1, n) if parts is None else [parts - 1]
  ways = [
    [0, *cuts, n] for number in numbers for cuts in itertools.combinations(range(1, n), number)
  ]
  return min(
    2 * log_p(gram) - sum(log_p(gram[i:j]) for i, j in itertools.pairwise(way)) for way in ways
  )


def found(tokenizer, entries):
  """Returns {words of a collocation: (count, score)}, in order."""
  return {
    tuple(tokenizer.decode(ids).split()): (int(count), score)
    for ids, count, score in zip(entries.pieces(), entries.counts_N, entries.scores_N)
  }


def equal(a, b):
  return all(np.array_equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


def test_counts_and_scores_are_those_of_plain_counting(tokenizer, rows, tmp_path):
  counts = counted(tokenizer, rows)
  wanted = {
    gram: (count, scored(gram, counts))
    for n in (2, 3, 4, 5)
    for gram, count in counts[n].items()
    if count > 10
  }
  entries = pmi.find(tokenizer, rows, 10**6, tmp_path)
  got = found(tokenizer, entries)
  assert len(wanted) > 150 and set(map(len, wanted)) == {2, 3, 4, 5}
  assert got.keys() == wanted.keys() and len(got) == len(entries.counts_N)
  assert [got[gram][0] for gram in wanted] == [count for count, _ in wanted.values()]
  scores = [score for _, score in wanted.values()]
  assert np.allclose([got[gram][1] for gram in wanted], scores, rtol=0, atol=1e-9)
  assert entries.candidates_4.tolist() == [
    sum(len(gram) == n for gram in wanted) for n in (2, 3, 4, 5)
  ]
  assert entries.words_N.tolist() == [len(gram) for gram in got]
  assert not list(tmp_path.iterdir())


def test_a_score_is_the_least_over_all_ways_to_cut():
  """Five words whose parts have any counts, so that any way of cutting may be the one that
  counts.
  """
  draw = np.random.default_rng(0)
  ways = set()
  for _ in range(200):
    counts = {n: collections.Counter() for n in range(1, 6)}
    levels, rarer = {}, int(draw.integers(2, 20))
    for n in counts:
      counts[n].update(
        {tuple(range(i, i + n)): int(10 ** draw.uniform(1.1, 3)) for i in range(6 - n)}
      )
      keys = [i if n == 1 else i + 1 << 32 | i + 2 for i in range(6 - n)]
      among = np.array([*counts[n].values()])
      counts[n]['others'] = among.sum() * (rarer ** (n - 1) - 1)  # the longer the rarer
      levels[n] = pmi._Level(np.array(keys, np.uint64), among, counts[n].total())
    for n in (2, 3, 4, 5):
      words_NW, counts_N, scores_N = pmi._best(levels, n, 9)
      for words, count, score in zip((words_NW - 1).tolist(), counts_N, scores_N):
        assert counts[n][tuple(words)] == count and math.isclose(
          score, scored(tuple(words), counts)
        )
    ways.add(
      min(
        range(1, 6), key=lambda k: scored(tuple(range(5)), counts, parts=k) if k > 1 else math.inf
      )
    )
  assert ways == {2, 3, 4, 5}


def test_a_vocabulary_takes_the_best_of_each_length_in_fixed_shares(tokenizer, rows, tmp_path):
  everything = found(tokenizer, pmi.find(tokenizer, rows, 10**6, tmp_path))
  chosen = pmi.find(tokenizer, rows, 40, tmp_path)
  assert np.bincount(chosen.words_N).tolist() == [
    0,
    0,
    20,
    10,
    5,
    4,
  ]  # there are no more of five words
  for n in (2, 3, 4, 5):
    best = sorted(
      (score for gram, (_, score) in everything.items() if len(gram) == n), reverse=True
    )
    scores = chosen.scores_N[chosen.words_N == n]
    assert scores.tolist() == best[: len(scores)]


def test_planted_collocations_are_the_best(tokenizer, rows, tmp_path):
  got = list(found(tokenizer, pmi.find(tokenizer, rows, 10**6, tmp_path)))
  for n, number in ((2, 10), (3, 6), (4, 3), (5, 1)):
    planted = {
      tuple(words[i : i + n])
      for words in map(str.split, PLANTED)
      for i in range(len(words) - n + 1)
    }
    assert {*[gram for gram in got if len(gram) == n][:number]} == planted and len(
      planted
    ) == number


def test_small_blocks_and_parts_change_nothing(tokenizer, rows, tmp_path, monkeypatch):
  whole = pmi.find(tokenizer, rows, 1000, tmp_path)
  monkeypatch.setattr(pmi, '_BLOCK', 101)
  monkeypatch.setattr(pmi, '_PART', 1000)
  assert equal(pmi.find(tokenizer, rows, 1000, tmp_path), whole)
  monkeypatch.setattr(pmi, '_MOST_PARTS', 3)
  assert equal(pmi.find(tokenizer, rows, 1000, tmp_path), whole)


def test_a_corpus_without_repetition_has_none(tokenizer, tmp_path):
  rows_lib.write([('Gobu mali peto.', {})], settings(), tokenizer, tmp_path / 'a')
  entries = pmi.find(tokenizer, [store.rows(tmp_path / 'a')], 100, tmp_path)
  assert len(entries.counts_N) == 0 and entries.pieces_T.dtype == np.int32
  nothing = collocations.Collocations(tokenizer, entries)
  assert not nothing(np.array([tokenizer.encode('Gobu mali peto.')]), np.array([[0]])).any()
