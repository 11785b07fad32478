"""What counting alone would score: a unigram and a bigram guess of the masked tokens.

They answer the same question as the model, on the same rows under the same
masks. The bigram guess is even shown the true left neighbour where the model
may see [MASK] there.
"""

import jax
import numpy as np
import scipy.sparse

from mlm_jax import masking
from mlm_jax.evaluation import heldout as masked_evaluation

_BLOCK = 1 << 16  # rows counted at a time


def score(prepared, loader):
  """Returns {'unigram': {...}, 'bigram': {...}}, each with loss (nats) and accuracy.

  The bigram is interpolated with the unigram after Witten and Bell (1991):
  p(w | v) = (c(v, w) + t(v) p(w)) / (c(v) + t(v)), t(v) the number of different
  tokens seen after v.

  Args:
    prepared: store.Prepared; its training rows are counted.
    loader: of the held-out rows, with len() and batch(i).
  """
  left_N, target_N = _reference_targets(prepared, loader)
  pairs_VV = _count_pairs(prepared)
  unigram_V = _unigram(prepared)
  follow_V = np.asarray(pairs_VV.sum(axis=1)).ravel()
  kinds_V = np.diff(pairs_VV.indptr)
  losses, hits = np.zeros(len(target_N)), np.zeros(len(target_N), bool)
  for left in np.unique(left_N):
    here = left_N == left
    total = follow_V[left] + kinds_V[left]
    p_V = (
      unigram_V
      if not total
      else (pairs_VV[left].toarray().ravel() + kinds_V[left] * unigram_V) / total
    )
    losses[here] = -np.log(p_V[target_N[here]])
    hits[here] = target_N[here] == p_V.argmax()
  return {
    'unigram': {
      'loss': float(-np.log(unigram_V[target_N]).mean()),
      'accuracy': float((target_N == unigram_V.argmax()).mean()),
    },
    'bigram': {'loss': float(losses.mean()), 'accuracy': float(hits.mean())},
  }


def _reference_targets(prepared, loader):
  """Returns (left_N, target_N): the reference-masked tokens and their left neighbours."""
  lefts, targets = [], []
  for masked in drawn(masked_evaluation.reference_policy(prepared.table), loader):
    b, l = np.nonzero(masked.chosen_BL)
    lefts.append(masked.targets_BL[b, l - 1])
    targets.append(masked.targets_BL[b, l])
  return np.concatenate(lefts), np.concatenate(targets)


def drawn(policy, loader):
  """Yields the Masked, on the host, of each held-out batch as models are scored on it."""
  mask = jax.jit(masking.mask_batch)
  for i in range(len(loader)):
    yield jax.device_get(mask(policy, masked_evaluation.reference_key(), loader.batch(i), 0.0))


def _ordinary(prepared):
  ordinary_V = np.ones(prepared.tokenizer.size, bool)
  ordinary_V[list(prepared.tokenizer.special_ids)] = False
  return ordinary_V


def _unigram(prepared):
  """Returns p_V with one added to each count, 0 for special tokens."""
  counts_V = (prepared.counts_V + 1.0) * _ordinary(prepared)
  return counts_V / counts_V.sum()


def _count_pairs(prepared):
  """Returns a sparse [V, V]: how often an ordinary token follows each token."""
  size = prepared.tokenizer.size
  ordinary_V = _ordinary(prepared)
  total = scipy.sparse.csr_matrix((size, size), dtype=np.int64)
  for rows in prepared.train:
    for begin in range(0, len(rows), _BLOCK):
      tokens_RL = rows.tokens_RL[begin : begin + _BLOCK]
      left_M, right_M = tokens_RL[:, :-1].ravel(), tokens_RL[:, 1:].ravel()
      kept_M = ordinary_V[right_M]
      ones = np.ones(kept_M.sum(), np.int64)
      total += scipy.sparse.csr_matrix((ones, (left_M[kept_M], right_M[kept_M])), (size, size))
  return total
