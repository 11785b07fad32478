"""The lengths of units that are drawn, where the text leaves room for the longest."""

from collections.abc import Iterator

import numpy as np

from mlm_jax.core import batches
from mlm_jax.masking.checks import expected
from mlm_jax.masking.checks import results
from mlm_jax.masking.checks import trial as trial_lib


def check(trial: trial_lib.Trial) -> Iterator[results.Result]:
  """Yields Results about spans; of lengths, of those that start where the longest would fit."""
  free_BL, length_BL, crossing_BL = _lengths(trial)
  share_K = expected.unit_lengths(trial.policy.unit)
  if trial.policy.unit.of_words:
    yield results.exact('spans are of whole words', crossing_BL)
  seen = length_BL[free_BL]
  # Shorter ones at a document's end were cut, which says nothing of the drawn length.
  yield results.exact('no span is longer than the longest', length_BL > len(share_K))
  counts_K = np.bincount(np.clip(seen, 1, len(share_K)) - 1, minlength=len(share_K)).astype(
    np.float64
  )
  mean = np.sum(share_K * np.arange(1, len(share_K) + 1))
  yield results.multinomial(
    'lengths of spans',
    counts_K,
    share_K,
    f'mean {seen.sum() / max(len(seen), 1):.3f}, expected {mean:.3f}',
  )


def at_both(
  ours: trial_lib.Trial, theirs: trial_lib.Trial
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns (ours_BL, theirs_BL, variance_BL), of spans that start freely in both.

  Lengths less their mean, and the variance of their product.
  """
  share_K = expected.unit_lengths(ours.policy.unit)
  lengths_K = np.arange(1, len(share_K) + 1)
  mean = np.sum(share_K * lengths_K)
  (free_BL, length_BL, _), (other_BL, theirs_BL, _) = (_lengths(each) for each in (ours, theirs))
  both_BL = free_BL & other_BL
  return (
    np.where(both_BL, length_BL - mean, 0),
    np.where(both_BL, theirs_BL - mean, 0),
    np.where(both_BL, np.sum(share_K * (lengths_K - mean) ** 2) ** 2, 0),
  )


def _lengths(trial: trial_lib.Trial) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns (free_BL, length_BL, crossing_BL) of spans.

  At their first tokens: whether the document leaves room for the longest, their length in
  words or tokens, and whether they begin inside of a word.
  """
  units_BL, length = trial.masked.units_BL, trial.first_BL.shape[1]
  # A word (or token) starts where it is its own first token; between two places lie as many as
  # the running counts differ by.
  atom_BL = trial.text_BL == np.arange(length)
  before_BL = np.concatenate(
    [np.zeros((len(units_BL), 1), int), np.cumsum(atom_BL, axis=1)], axis=1
  )
  between = lambda end_BL: np.take_along_axis(before_BL, end_BL, axis=1) - before_BL[:, :-1]
  # Where the text that a token is in ends: at the next special token or document.
  number_BL = np.asarray(batches.segments(trial.batch.tokens_BL, trial.batch.starts_BS, -1))
  stops_BL = (units_BL < 0) | np.concatenate(
    [np.zeros((len(units_BL), 1), bool), number_BL[:, 1:] != number_BL[:, :-1]], axis=1
  )
  next_BL = np.where(stops_BL, np.arange(length), length)
  next_BL = np.minimum.accumulate(next_BL[:, ::-1], axis=1)[:, ::-1]
  end_BL = np.concatenate([next_BL[:, 1:], np.full((len(units_BL), 1), length)], axis=1)
  longest = len(expected.unit_lengths(trial.policy.unit))
  free_BL = trial.first_BL & (between(end_BL) >= longest)
  length_BL = np.where(trial.first_BL, between(np.arange(length) + trial.length_BL), 0)
  return free_BL, length_BL, trial.first_BL & ~atom_BL
