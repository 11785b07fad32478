"""Baselines that only count: a unigram and a bigram model of the masked tokens.

They predict the same tokens as the model, on the same rows under the same masks. The bigram
baseline even sees the true left neighbour, where the model may see [MASK].
"""

from collections.abc import Iterator
from typing import Any
from typing import Protocol

import jax
import numpy as np
import scipy.sparse

from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.data import store
from mlm_jax.evaluation import heldout

_BLOCK = 1 << 16  # rows counted at a time


class Loader(Protocol):
  """Held-out rows, as many batches as len() says."""

  def __len__(self) -> int: ...

  def batch(self, i: int, /) -> batches.Batch:
    """Returns batch i, on the host."""
    ...


def score(prepared: store.Prepared, loader: Loader) -> dict[str, dict[str, float]]:
  """Returns {'unigram': {...}, 'bigram': {...}}, each with loss (nats) and accuracy.

  Without a masked token there is neither.

  The bigram is interpolated with the unigram after Witten and Bell (1991):
  p(w | v) = (c(v, w) + t(v) p(w)) / (c(v) + t(v)), t(v) the number of different
  tokens seen after v.

  Args:
    prepared: store.Prepared; its training rows are counted.
    loader: of the held-out rows.
  """
  left_N, target_N = _reference_targets(prepared, loader)
  if not len(target_N):
    return {'unigram': {}, 'bigram': {}}
  pairs_VV: Any = _count_pairs(prepared)
  unigram_V = _unigram(prepared)
  follow_V = np.asarray(pairs_VV.sum(axis=1)).ravel()
  kinds_V = np.diff(pairs_VV.indptr)
  losses, hits = np.zeros(len(target_N)), np.zeros(len(target_N), bool)
  # One left neighbour at a time: the matrix of all probabilities, [V, V], would not fit.
  for left in np.unique(left_N):
    here = left_N == left
    total = follow_V[left] + kinds_V[left]
    # Witten and Bell: the more kinds of tokens followed, the more a new one is to be expected.
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


def _reference_targets(prepared: store.Prepared, loader: Loader) -> tuple[np.ndarray, np.ndarray]:
  """Returns (left_N, target_N): the left neighbours of the reference-masked tokens, and these."""
  lefts, targets = [], []
  for masked in masked_batches(heldout.reference_policy(prepared.table), loader):
    b, l = np.nonzero(masked.chosen_BL)
    # A row begins with [CLS], which is never masked: l is at least 1.
    lefts.append(masked.targets_BL[b, l - 1])
    targets.append(masked.targets_BL[b, l])
  return np.concatenate(lefts), np.concatenate(targets)


def masked_batches(policy: masking.Policy, loader: Loader) -> Iterator[masking.Masked]:
  """Yields the Masked, on the host, of each held-out batch, with the masks that models see."""
  mask = jax.jit(masking.mask_batch)
  for i in range(len(loader)):
    yield jax.device_get(mask(policy, heldout.reference_key(), loader.batch(i), 0.0))


def _ordinary(prepared: store.Prepared) -> np.ndarray:
  """Returns bool_V: the tokens that may be masked."""
  ordinary_V = np.ones(prepared.tokenizer.size, bool)
  ordinary_V[list(prepared.tokenizer.special_ids)] = False
  return ordinary_V


def _unigram(prepared: store.Prepared) -> np.ndarray:
  """Returns p_V with one added to each count, 0 for special tokens."""
  # Without the added one the loss of a held-out token that training never saw would be infinite.
  counts_V = (prepared.counts_V + 1.0) * _ordinary(prepared)
  return counts_V / counts_V.sum()


def _count_pairs(prepared: store.Prepared) -> scipy.sparse.csr_matrix:
  """Returns a sparse [V, V]: how often each ordinary token follows each token."""
  size = prepared.tokenizer.size
  ordinary_V = _ordinary(prepared)
  total = scipy.sparse.csr_matrix((size, size), dtype=np.int64)
  for rows in prepared.train:
    for begin in range(0, len(rows), _BLOCK):
      tokens_RL = rows.tokens_RL[begin : begin + _BLOCK]
      store.check_ids(prepared, tokens_RL)
      left_M, right_M = tokens_RL[:, :-1].ravel(), tokens_RL[:, 1:].ravel()
      # A pair over the end of a document has [CLS] on the right, so it is left out too.
      kept_M = ordinary_V[right_M]
      ones = np.ones(kept_M.sum(), np.int64)
      total += scipy.sparse.csr_matrix((ones, (left_M[kept_M], right_M[kept_M])), (size, size))
  return total
