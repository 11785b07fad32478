"""The best masked loss and accuracy that any model can reach, where the language is known.

On a synthetic corpus (see data/corpus/formats/synthetic.py) the posterior of a masked token given
all that is visible in its segment is exact: forward-backward over the hidden states, masked
positions unobserved. It is taken on the same rows under the same masks as the model's
scores.

A policy may also show random or kept tokens. Of tokens chosen independently at rate r
with shares (m, n, k) of [MASK], random and kept, an x is visible where w is true with
probability (1 - r + r k) [x = w] + r n / V, and visible and to be predicted with
r k [x = w] + r n / V, V the number of ordinary tokens. An exact budget ties the choices
of a row together, so with such shares it is refused.
"""

import numpy as np
import scipy.linalg

from mlm_jax import config
from mlm_jax.data import store
from mlm_jax.data.corpus.formats import synthetic
from mlm_jax.data.tokenizers import registry as tokenizer_lib
from mlm_jax.evaluation import baselines
from mlm_jax.evaluation import heldout as masked_evaluation
from mlm_jax.masking import corruption

_BLOCK = 1 << 22  # probabilities of words held at a time
_HIDDEN = -1  # in place of a word: [MASK] is seen


def is_known(prepared):
  """Whether every source of a preparation is a synthetic language."""
  return all(each['source'].startswith(synthetic.KIND) for each in prepared.manifest['sources'])


def score(prepared, loader, policy=None):
  """Returns {'loss': nats, 'accuracy': ...} of the exact posterior.

  Args:
    prepared: store.Prepared; `is_known`.
    loader: of the held-out rows, with len() and batch(i).
    policy: masking.Policy, which must not choose by what the tokens are; None for the
      one under which every run is scored.

  Raises:
    UserError: rows that do not follow the languages' law, or a policy whose optimum is
      not known.
  """
  policy = policy or masked_evaluation.reference_policy(prepared.table)
  unchanged, random, kept = _shares(policy)
  language = _language(prepared)
  word_V = _words(prepared.tokenizer, language)
  # Last, what says nothing of the state: [MASK], special tokens and those that are no word.
  evidence_WS = np.pad(
    unchanged * language.emission_SW.T + random, ((0, 1), (0, 0)), constant_values=1.0
  )
  losses, hits = [], []
  for masked in baselines.drawn(policy, loader):
    inside_BL = ~np.isin(masked.targets_BL, prepared.tokenizer.special_ids)
    _check_words(masked.targets_BL[inside_BL], word_V, prepared.tokenizer, language)
    state_BLS = states(language, evidence_WS[word_V[masked.inputs_BL]], inside_BL)
    at = np.nonzero(masked.chosen_BL)
    shown_P = np.where(
      masked.action_BL[at] == corruption.MASK, _HIDDEN, word_V[masked.inputs_BL[at]]
    )
    loss_P, hit_P = _predict(
      language, state_BLS[at], shown_P, word_V[masked.targets_BL[at]], random, kept
    )
    losses.append(loss_P)
    hits.append(hit_P)
  return {
    'loss': float(np.concatenate(losses).mean()),
    'accuracy': float(np.concatenate(hits).mean()),
  }


def states(language, evidence_BLS, inside_BL):
  """Returns [B, L, S]: each position's state given the evidence at the others of its segment.

  Args:
    language: synthetic.Language.
    evidence_BLS: up to a factor, how probable what is seen there is in each state.
    inside_BL: bool, False between segments, where the chain starts anew.
  """
  B, L, S = evidence_BLS.shape
  before_BLS, after_BLS = np.empty((B, L, S)), np.empty((B, L, S))
  state_BS = np.broadcast_to(language.initial_S, (B, S))
  for l in range(L):
    before_BLS[:, l] = state_BS @ language.transition_SS
    state_BS = _normalized(before_BLS[:, l] * evidence_BLS[:, l])
    state_BS = np.where(inside_BL[:, l, None], state_BS, language.initial_S)
  message_BS = np.ones((B, S))
  for l in reversed(range(L)):
    after_BLS[:, l] = message_BS
    message_BS = _normalized((message_BS * evidence_BLS[:, l]) @ language.transition_SS.T)
    message_BS = np.where(inside_BL[:, l, None], message_BS, 1.0)
  return _normalized(before_BLS * after_BLS)


def _normalized(weights):
  return weights / weights.sum(axis=-1, keepdims=True)


def _predict(language, state_PS, shown_P, target_P, random, kept):
  """Returns (loss_P, hit_P) of the predicted words.

  Args:
    language: synthetic.Language.
    state_PS: the states' probabilities, apart from what is seen at the position itself.
    shown_P: the word seen there, W for another token, _HIDDEN for none.
    target_P: the true word.
    random, kept: see `_shares`.
  """
  loss_P, hit_P = np.empty(len(target_P)), np.empty(len(target_P), bool)
  words = language.emission_SW.shape[1]
  block = max(1, _BLOCK // words)
  for begin in range(0, len(target_P), block):
    part = slice(begin, begin + block)
    p_PW = state_PS[part] @ language.emission_SW
    is_shown_P = shown_P[part] != _HIDDEN
    same_PW = shown_P[part][is_shown_P, None] == np.arange(words)[None]
    p_PW[is_shown_P] *= random + kept * same_PW
    p_PW = _normalized(p_PW)
    loss_P[part] = -np.log(p_PW[np.arange(len(p_PW)), target_P[part]])
    hit_P[part] = p_PW.argmax(axis=1) == target_P[part]
  return loss_P, hit_P


def _shares(policy):
  """Returns a token's probabilities (to be unchanged, replaced by one given other, chosen and
  kept).
  """
  _, random, kept = np.asarray(policy.corruption.probs_3, np.float64) * float(policy.rate)
  if policy.sampling == 'fixed_count' and random + kept > 0:
    raise config.UserError(
      "masking.sampling = 'fixed_count' with random or kept tokens: their optimum is known only "
      "for 'bernoulli'; set that, or a masking.corruption_probs of (1, 0, 0)"
    )
  table = policy.table
  return 1 - float(policy.rate) + kept, random / (table.size - len(table.special_ids)), kept


def _language(prepared):
  """Returns the Language of the held-out rows; of several, each by its share of the segments.

  Together they are one language whose states never lead from one to another.
  """
  entries = prepared.manifest['sources']
  dropped = sum(
    each['documents_read'] - sum(each[split]['documents'] for split in store.SPLITS)
    for each in entries
  )
  if dropped:
    raise config.UserError(
      f'{prepared.directory}: {dropped:,} documents were dropped, so that the optimum '
      'of the others is not known; take more words, or turn off the rules that drop'
    )
  languages = [synthetic.parse(each['source']).language() for each in entries]
  segments = np.array([each['validation']['segments'] for each in entries])
  words = max((each.words for each in languages), key=len)
  wide = lambda table_SW: np.pad(table_SW, ((0, 0), (0, len(words) - table_SW.shape[1])))
  return synthetic.Language(
    np.concatenate(
      [share * each.initial_S for share, each in zip(segments / segments.sum(), languages)]
    ),
    scipy.linalg.block_diag(*(each.transition_SS for each in languages)),
    np.concatenate([wide(each.emission_SW) for each in languages]),
    words,
  )


def _words(tokenizer, language):
  """Returns word_V: the word that each piece is, W where it is none."""
  number = {tokenizer_lib.BOUNDARY_MARK + word: i for i, word in enumerate(language.words)}
  return np.array([number.get(tokenizer.piece(i), len(number)) for i in range(tokenizer.size)])


def _check_words(tokens_N, word_V, tokenizer, language):
  """Raises UserError where an ordinary token is no word of the language."""
  wrong_N = tokens_N[word_V[tokens_N] == len(language.words)]
  if len(wrong_N):
    raise config.UserError(
      f'the held-out rows have the piece {tokenizer.piece(wrong_N[0])!r}, no word of the '
      "synthetic language: the optimum needs config.data.tokenizer = 'word' and a piece "
      'for each word; prepare again, or evaluate without the guesses'
    )
