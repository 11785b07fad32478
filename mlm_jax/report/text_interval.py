"""Intervals over seeds and text: what another sample of held-out text would change.

Student's interval over the seeds holds for the held-out text that all runs are scored on; the
difference on other text is another. So both are sampled, a hierarchical bootstrap: segments
(evaluation/segment_scores.py) are drawn with replacement, the same ones for both arms and all
seeds, and around the difference on each such text the mean over seeds varies as Student's t says.
That level is integrated, not drawn: three seeds can be drawn in ten ways, and no mean of theirs
lies beyond the three, so that such intervals would hold less often than they say. Where the text
adds nothing, the interval is Student's.

Segments are drawn as if they were independent. Those of one document are not: with few long
documents the interval speaks of other passages of these.

Source: crossed effects, and why their part that is common to both is counted once, as in Owen
(2007), The pigeonhole bootstrap, Annals of Applied Statistics 1(2).
"""

from collections.abc import Mapping
from collections.abc import Sequence
import functools
import math

import numpy as np
import scipy.optimize
import scipy.stats

from mlm_jax.evaluation import segment_scores
from mlm_jax.report import statistics

_DRAWS = 2_000  # texts
# Parts of the text that are drawn at most; of more segments, neighbours are drawn together.
_MOST_PARTS = 2_000
# What is summed for a metric.
_SUMS = {'reference_loss': 'loss_N', 'reference_accuracy': 'hits_N'}

_Scores = segment_scores.SegmentScores


def estimate(
  metric: str,
  ours: Mapping[int, _Scores | None],
  theirs: Mapping[int, _Scores | None],
  level: float,
) -> statistics.Estimate | None:
  """Returns the Estimate of a difference over seeds and text, None where it is not known.

  Args:
    metric: of the difference.
    ours, theirs: {seed: scores by segment} of two arms, over the seeds that count.
    level: of the interval.
  """
  known = [each for of_arm in (ours, theirs) for each in of_arm.values()]
  whole = [each for each in known if each is not None]
  if metric not in _SUMS or len(ours) < 2 or len(whole) < len(known) or not _is_one_text(whole):
    return None
  of = lambda scores: np.asarray(getattr(scores, _SUMS[metric]), np.float64)
  differences_SN = np.stack([of(ours[seed]) - of(theirs[seed]) for seed in ours])
  return interval(differences_SN, np.asarray(whole[0].tokens_N, np.float64), level)


def _is_one_text(scores: Sequence[_Scores]) -> bool:
  """Whether the runs were scored on the same tokens."""
  names = 'source_N', 'row_N', 'segment_N', 'tokens_N'
  same = lambda each, name: np.array_equal(getattr(each, name), getattr(scores[0], name))
  return len(scores[0].tokens_N) > 1 and all(same(each, name) for each in scores for name in names)


def interval(differences_SN: np.ndarray, tokens_N: np.ndarray, level: float) -> statistics.Estimate:
  """Returns the Estimate of the mean difference per token over S seeds and N segments.

  Args:
    differences_SN: sums over a segment's tokens, of one arm minus the other.
    tokens_N: of each segment.
    level: of the interval.

  The seeds must not all have the same difference: then there is nothing to estimate.
  """
  seeds = len(differences_SN)
  mean = float((differences_SN.sum(1) / tokens_N.sum()).mean())
  sums_PX = _parts(np.concatenate([differences_SN, tokens_N[None]])).T
  drawn_DX = _draws(len(sums_PX)) @ sums_PX
  each_DS = drawn_DX[:, :-1] / drawn_DX[:, -1:]
  text_D = _of_text(each_DS) * (each_DS.mean(1) - each_DS.mean())
  # Around that, the mean over seeds varies as Student says: as much as on the text that there is.
  error = float((differences_SN.sum(1) / tokens_N.sum()).std(ddof=1) / math.sqrt(seeds))
  tail = (1 - level) / 2
  ends = [_quantile(mean + text_D, error, seeds - 1, share) for share in (tail, 1 - tail)]
  return statistics.Estimate(seeds, mean, *ends)


def _of_text(each_DS: np.ndarray) -> float:
  """Returns which share of the deviations of the draws' means is the text's, for all seeds alike.

  What a text does to each seed otherwise is already in the spread over the seeds: counted twice,
  it would make intervals too wide (Owen 2007, section 4).
  """
  mean_D1 = each_DS.mean(1, keepdims=True)
  seeds = each_DS.shape[1]
  otherwise = (each_DS - mean_D1).var(0).sum() / (seeds - 1) / seeds
  return math.sqrt(max(0.0, 1 - otherwise / mean_D1.var()))


def _parts(sums_XN: np.ndarray) -> np.ndarray:
  """Returns the sums over parts of the text: its segments, or where those are many, neighbours."""
  size = -(-sums_XN.shape[1] // _MOST_PARTS)
  return np.add.reduceat(sums_XN, np.arange(0, sums_XN.shape[1], size), axis=1)


@functools.lru_cache(maxsize=2)
def _draws(parts: int) -> np.ndarray:
  """Returns float64 [draws, parts]: how often each part of the text is drawn."""
  # One seed, so that a report of the same runs is the same, and all comparisons have one text.
  generator = np.random.default_rng(0)
  return generator.multinomial(parts, np.full(parts, 1 / parts), _DRAWS).astype(np.float64)


def _quantile(mean_D: np.ndarray, error: float, freedom: int, share: float) -> float:
  """Returns a quantile of the mixture of Student distributions around the draws' means."""
  below = lambda value: scipy.stats.t.cdf((value - mean_D) / error, freedom).mean() - share
  # Beyond the quantiles of all draws they agree on the side.
  ends_D = mean_D + scipy.stats.t.ppf(share, freedom) * error
  bracket = ends_D.min() - error, ends_D.max() + error
  return float(scipy.optimize.root_scalar(below, bracket=bracket).root)
