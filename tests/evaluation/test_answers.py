"""The best spans over windows are those of trying them all."""

import numpy as np
import pytest

from mlm_jax.evaluation import answer_errors
from mlm_jax.evaluation import answers


def drawn(random, context=10):
  """Returns a Window over a part of a context whose pieces are two characters each."""
  begin, size, before = random.integers(0, 4), random.integers(1, context - 3), 3
  place_T = 2 * np.arange(begin, begin + size)
  # Two pieces that spell one character.
  place_T[1:2] = place_T[:1]
  pad = lambda array: np.pad(array, (before, 2), constant_values=-1)
  T = size + before + 2
  # Whole numbers, so that there are ties.
  scores = random.integers(-9, 9, (2, T)).astype(np.float32)
  scores[:, -1] = -1e30  # padding
  return answers.Window(scores[0], scores[1], pad(place_T), pad(place_T + 2))


def every(windows, max_pieces):
  """Returns {(begin, end): the highest score}."""
  found = {}
  for w in windows:
    for i in range(len(w.start_T)):
      for j in range(i, min(len(w.start_T), i + max_pieces)):
        if w.begin_T[i] >= 0 and w.begin_T[j] >= 0:
          span = int(w.begin_T[i]), int(w.end_T[j])
          score = float(w.start_T[i] + w.finish_T[j])
          found[span] = max(score, found.get(span, -np.inf))
  return found


@pytest.mark.parametrize('n_best, max_pieces', ((1, 3), (4, 1), (20, 4), (200, 30)))
def test_the_best_spans_are_those_of_trying_all(n_best, max_pieces):
  random = np.random.default_rng(0)
  for _ in range(50):
    windows = [drawn(random) for _ in range(random.integers(1, 4))]
    found = answers.best(windows, n_best, max_pieces)
    wanted = every(windows, max_pieces)
    assert [score for _, score in found.spans] == sorted(wanted.values(), reverse=True)[:n_best]
    assert all(wanted[span] == score for span, score in found.spans)
    assert len({span for span, _ in found.spans}) == len(found.spans)
    assert found.null_score == min(w.start_T[0] + w.finish_T[0] for w in windows)
    assert found.null_difference == found.null_score - max(wanted.values())


def test_no_order_of_windows_and_no_padding_matters():
  random = np.random.default_rng(1)
  windows = [drawn(random) for _ in range(4)]
  assert answers.best(windows, 5, 4) == answers.best(windows[::-1], 5, 4)


def test_a_context_without_pieces_has_no_answer():
  none = np.full(3, -1)
  found = answers.best([answers.Window(np.zeros(3), np.zeros(3), none, none)], 5, 4)
  assert found.spans == () and found.null_difference == np.inf


def test_probabilities_add_up_to_one_and_follow_the_scores():
  np.testing.assert_allclose(answers.probabilities([1e4, 1e4 + np.log(3)]), [0.25, 0.75])


def line(question, wanted, f1, probability, **more):
  return {'question': question, 'answers': wanted, 'prediction': 'x', 'f1': f1} | {
    'exact_match': float(f1 == 1),
    'probability': probability,
    **more,
  }


def test_errors_are_told_apart_by_question_and_length():
  lines = [line('Who is it?', ['the one'], 1.0, 0.9)] * 100 + [
    line('who was it?', ['one two three'], 0.0, 0.2, id='b'),
    line('Who?', [], 0.0, 0.7, id='c'),
    line('Odd?', ['the'], 0.5, 0.9, id='d'),
  ]
  found = answer_errors.tables(lines)
  assert {name: each['questions'] for name, each in found['by_first_word'].items()} == {
    'who': 102,
    'others': 1,
  }
  assert found['by_first_word']['who']['f1'] == pytest.approx(100 / 102)
  assert {name: each['questions'] for name, each in found['by_answer_length'].items()} == {
    'no answer': 1,
    '1': 101,
    '3-4': 1,
  }
  assert [each['id'] for each in found['worst']] == ['c', 'b', 'd']
