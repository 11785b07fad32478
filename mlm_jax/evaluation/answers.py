"""The best answers to a question, over all windows of its context."""

from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Window:
  """The scores of T tokens of one window.

  Attributes:
    start_T, finish_T: of each as the first and as the last of the answer; those of the first
      token, [CLS], are of no answer.
    begin_T, end_T: the part of the context that each spells; -1 of tokens that are no part of it.
  """

  start_T: np.ndarray
  finish_T: np.ndarray
  begin_T: np.ndarray
  end_T: np.ndarray


@dataclasses.dataclass(frozen=True)
class Answers:
  """What is known of a question.

  Attributes:
    spans: ((begin, end), score) in the context, the best first; none where no token is of it.
    null_score: of no answer, the least over the windows: one window without the answer says
      nothing about the others.
  """

  spans: tuple[tuple[tuple[int, int], float], ...]
  null_score: float

  @property
  def null_difference(self) -> float:
    """How much higher the score of no answer is than that of the best one."""
    return self.null_score - self.spans[0][1] if self.spans else np.inf


def best(windows: Iterable[Window], n_best: int, max_pieces: int) -> Answers:
  """Returns the Answers of a question.

  All pairs of a first and a last token of one window are considered; run_qa.py of `transformers`,
  whose scores these are, takes those of the n_best first and n_best last tokens. Of one part of the
  context that is in several windows the highest score counts.

  Args:
    windows: of the question, in any order.
    n_best: how many spans are returned at most.
    max_pieces: the longest one, in tokens.
  """
  found: dict[tuple[int, int], float] = {}
  null_score = np.inf
  for window in windows:
    null_score = min(null_score, float(window.start_T[0]) + float(window.finish_T[0]))
    for span, score in _best_of(window, n_best, max_pieces):
      found[span] = max(score, found.get(span, -np.inf))
  # Of equals the first in the context, so that nothing depends on the order of the windows.
  spans = sorted(found.items(), key=lambda each: (-each[1], each[0]))[:n_best]
  return Answers(tuple(spans), null_score)


def _best_of(
  window: Window, n_best: int, max_pieces: int
) -> Iterator[tuple[tuple[int, int], float]]:
  """Yields spans of a window with their scores, n_best different ones if it has them."""
  token_C = np.flatnonzero(window.begin_T >= 0)
  C = len(token_C)
  if not C:
    return
  # The pieces of the context follow one another: [first, how many more] are all pairs.
  more = np.arange(min(max_pieces, C))
  last_CA = token_C[0] + np.minimum(token_C[:, None] - token_C[0] + more, token_C[-1] - token_C[0])
  is_in_CA = (token_C[:, None] + more <= token_C[-1]) & (window.begin_T[last_CA] >= 0)
  score_CA = window.start_T[token_C].astype(np.float64)[:, None] + window.finish_T[last_CA]
  score_N = np.where(is_in_CA, score_CA, -np.inf).ravel()
  seen = set()
  for n in _descending(score_N, is_in_CA.sum(), 4 * n_best):
    c, a = divmod(n, len(more))
    span = int(window.begin_T[token_C[c]]), int(window.end_T[last_CA[c, a]])
    # Several pieces may spell one character.
    if span not in seen:
      seen.add(span)
      yield span, float(score_N[n])
    if len(seen) == n_best:
      return


def _descending(score_N: np.ndarray, number: int, often: int) -> Iterator[int]:
  """Yields the places of the `number` highest scores, of equals the first; often a few do."""
  done = 0
  for most in sorted({min(often, number), number}):
    # To sort those alone that are high enough is many times faster.
    high = np.flatnonzero(score_N >= np.partition(score_N, -most)[-most])
    order = high[np.argsort(-score_N[high], kind='stable')].tolist()
    yield from order[done:most]
    done = most


def probabilities(scores: Iterable[float]) -> np.ndarray:
  """Returns the softmax of the scores of the answers that are told apart."""
  score_N = np.array(list(scores), np.float64)
  weight_N = np.exp(score_N - score_N.max())
  return weight_N / weight_N.sum()
