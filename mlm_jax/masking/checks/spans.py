"""The lengths of spans, where the text leaves room for the longest."""

import numpy as np

from mlm_jax.core import batches
from mlm_jax.masking.checks import laws
from mlm_jax.masking.checks import results


def check(trial):
  """Yields Results about spans; of lengths, those of spans that start where the longest would still
  fit.
  """
  free_BL, length_BL, crossing_BL = _lengths(trial)
  share_K = laws.span_lengths(trial.policy)
  if trial.policy.span_of == 'word':
    yield results.exact('spans are of whole words', crossing_BL)
  seen = length_BL[free_BL]
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


def lengths_at_both(ours, theirs):
  """Returns (ours_BL, theirs_BL, variance_BL): lengths less their mean, of spans that start freely
  in both.

  variance_BL is that of their product.
  """
  share_K = laws.span_lengths(ours.policy)
  lengths_K = np.arange(1, len(share_K) + 1)
  mean = np.sum(share_K * lengths_K)
  (free_BL, length_BL, _), (other_BL, theirs_BL, _) = (_lengths(each) for each in (ours, theirs))
  both_BL = free_BL & other_BL
  return (
    np.where(both_BL, length_BL - mean, 0),
    np.where(both_BL, theirs_BL - mean, 0),
    np.where(both_BL, np.sum(share_K * (lengths_K - mean) ** 2) ** 2, 0),
  )


def _lengths(trial):
  """Returns (free_BL, length_BL, crossing_BL) of spans.

  At their first tokens: whether the document leaves room for the longest, their length in
  words or tokens, and whether they begin inside of a word.
  """
  units_BL, length = trial.masked.units_BL, trial.first_BL.shape[1]
  atom_BL = trial.text_BL == np.arange(length)
  before_BL = np.concatenate(
    [np.zeros((len(units_BL), 1), int), np.cumsum(atom_BL, axis=1)], axis=1
  )
  between = lambda end_BL: np.take_along_axis(before_BL, end_BL, axis=1) - before_BL[:, :-1]
  # Where the text that a token stands in ends: at the next special token or document.
  number_BL = np.asarray(batches.segments(trial.batch.tokens_BL, trial.batch.starts_BS, -1))
  stops_BL = (units_BL < 0) | np.concatenate(
    [np.zeros((len(units_BL), 1), bool), number_BL[:, 1:] != number_BL[:, :-1]], axis=1
  )
  next_BL = np.where(stops_BL, np.arange(length), length)
  next_BL = np.minimum.accumulate(next_BL[:, ::-1], axis=1)[:, ::-1]
  end_BL = np.concatenate([next_BL[:, 1:], np.full((len(units_BL), 1), length)], axis=1)
  longest = len(laws.span_lengths(trial.policy))
  free_BL = trial.first_BL & (between(end_BL) >= longest)
  length_BL = np.where(trial.first_BL, between(np.arange(length) + trial.length_BL), 0)
  return free_BL, length_BL, trial.first_BL & ~atom_BL
