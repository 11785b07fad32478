"""Answers are scored as the official script of SQuAD 2.0 scores them."""

import collections
import re
import string

import numpy as np
import pytest

from mlm_jax.evaluation import squad

# Written anew from the text of evaluate-v2.0.py, for texts of spaced scripts.


def official_words(text):
  text = ''.join(c for c in text.lower() if c not in set(string.punctuation))
  return ' '.join(re.compile(r'\b(a|an|the)\b', re.UNICODE).sub(' ', text).split()).split()


def official(answers, predicted):
  """Returns (exact, f1)."""
  gold = [each for each in answers if official_words(each)] or ['']
  exact, best = 0, 0
  for answer in gold:
    a, b = official_words(answer), official_words(predicted)
    exact = max(exact, int(a == b))
    same = sum((collections.Counter(a) & collections.Counter(b)).values())
    if not a or not b:
      f1 = int(a == b)
    elif same == 0:
      f1 = 0
    else:
      precision, recall = same / len(b), same / len(a)
      f1 = 2 * precision * recall / (precision + recall)
    best = max(best, f1)
  return exact, best


@pytest.mark.parametrize(
  'answers, predicted, exact, f1',
  (
    (['The Cat!'], 'cat', 1, 1),
    (['Saint Bernadette Soubirous'], 'Bernadette', 0, 0.5),
    (['1858', 'in 1858'], 'year 1858', 0, 2 / 3),
    (['a b c'], 'c b', 0, 1),  # the article is gone
    (['x x y'], 'x y y', 0, 2 / 3),
    ([], '', 1, 1),
    ([], 'something', 0, 0),
    (['something'], '', 0, 0),
    (['the'], '', 1, 1),
    (['the', 'dog'], '', 0, 0),
    (['U.S.'], 'us', 1, 1),
    (['“x”'], 'x', 0, 0),  # only ASCII's punctuation is taken out
  ),
)
def test_planted_answers_have_the_official_numbers(answers, predicted, exact, f1):
  assert squad.exact_match(answers, predicted) == exact
  assert squad.f1(answers, predicted) == pytest.approx(f1)
  assert official(answers, predicted) == (exact, pytest.approx(f1))


def drawn(random, least=0):
  pieces = ('the', 'a', 'cat', 'dog', 'sat', 'An', 'on.', '-', 'CAT', 'mat')
  return ' '.join(pieces[i] for i in random.integers(0, 10, random.integers(least, 5)))


def test_any_answers_have_the_official_numbers():
  random = np.random.default_rng(0)
  answers = [[drawn(random, 1) for _ in range(random.integers(0, 4))] for _ in range(500)]
  predicted = [drawn(random) for _ in answers]
  pairs = [official(*each) for each in zip(answers, predicted)]
  for each, text, (exact, f1) in zip(answers, predicted, pairs):
    assert squad.exact_match(each, text) == exact
    assert squad.f1(each, text) == pytest.approx(f1, abs=1e-12)
  found = squad.scores(answers, predicted)
  has = np.array([bool(each) for each in answers])
  exact_N, f1_N = np.array(pairs).T
  for name, values in (('exact_match', exact_N), ('f1', f1_N)):
    assert found[name] == pytest.approx(values.mean())
    assert found[f'has_answer_{name}'] == pytest.approx(values[has].mean())
    assert found[f'no_answer_{name}'] == pytest.approx(values[~has].mean())
  assert set(squad.scores([['x']], ['x'])) == {'exact_match', 'f1'}


@pytest.mark.parametrize(
  'answer, predicted, f1',
  (
    ('北京大学', '北京', 2 / 3),  # two characters of two, and of four
    ('《红楼梦》。', '红楼梦', 1),
    ('iPhone手机', 'iphone', 1 / 2),  # words of other scripts are whole
    ('東京', '京都', 1 / 2),
    ('กรุง', 'กรุง', 1),
    ('서울 시', '서울', 2 / 3),  # Korean has spaces
  ),
)
def test_characters_are_words_where_there_are_no_spaces(answer, predicted, f1):
  assert squad.f1([answer], predicted) == pytest.approx(f1)


def test_the_threshold_is_the_best_of_all():
  random = np.random.default_rng(1)
  for _ in range(100):
    answers = [[drawn(random, 1)] if random.random() < 0.6 else [] for _ in range(8)]
    predicted = [drawn(random, 1) for _ in answers]
    null_N = random.integers(-3, 4, 8).astype(float)  # with ties

    def at(threshold):
      chosen = ['' if null > threshold else text for null, text in zip(null_N, predicted)]
      return squad.scores(answers, chosen)['f1']

    found = at(squad.best_threshold(answers, predicted, null_N))
    assert found == pytest.approx(max(at(each) for each in np.arange(-5, 6)))
