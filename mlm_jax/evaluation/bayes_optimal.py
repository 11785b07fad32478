"""The Bayes-optimal masked loss and accuracy: the best of any model, where the language is known.

On a synthetic corpus (see data/corpus/formats/synthetic.py) the posterior of a masked token given
all that is visible in its segment is exact: forward-backward over the hidden states, masked
positions unobserved. It is computed on the same rows under the same masks as the model's scores.

A policy may also show random or kept tokens. Let tokens be chosen independently at rate r, with
probabilities (m, n, k) of [MASK], random and kept, and let V be the number of ordinary tokens.
Where w is the true token, the visible one is x with probability
  (1 - r + r k) [x = w] + r n / V        at any position, and
  r k [x = w] + r n / V                  at one that is also to be predicted.
With a fixed count the choices of a row depend on each other, so it is refused with such shares.
"""

import numpy as np
import scipy.linalg

from mlm_jax import config
from mlm_jax import masking
from mlm_jax.data import store
from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.data.corpus.formats import synthetic
from mlm_jax.evaluation import baselines
from mlm_jax.evaluation import heldout
from mlm_jax.masking import corruption

_BLOCK = 1 << 22  # probabilities of words held at a time: 32 MB
_HIDDEN = -1  # in place of a word: [MASK] is seen


def is_known(prepared: store.Prepared) -> bool:
  """Whether every source of a preparation is a synthetic language."""
  return all(each['source'].startswith(synthetic.KIND) for each in prepared.manifest['sources'])


def score(
  prepared: store.Prepared,
  loader: baselines.Loader,
  policy: masking.Policy | None = None,
) -> dict[str, float]:
  """Returns {'loss': nats, 'accuracy': ...} of the exact posterior, {} without a masked token.

  Args:
    prepared: store.Prepared; `is_known`.
    loader: of the held-out rows.
    policy: masking.Policy whose choices do not depend on the tokens; None for the reference
      policy.

  Raises:
    UserError: rows that do not have the languages' distribution, or a policy whose optimum is
      not known.
  """
  policy = policy or heldout.reference_policy(prepared.table)
  unchanged, random, kept = _shares(policy)
  language = _language(prepared)
  word_V = _words(prepared.tokenizer, language)
  # The last row is for tokens that are not words, such as [MASK]: they say nothing of the state.
  evidence_WS = np.pad(
    unchanged * language.emission_SW.T + random, ((0, 1), (0, 0)), constant_values=1.0
  )
  losses, hits = [], []
  for masked in baselines.masked_batches(policy, loader):
    # Segments are independent texts: the chain of states begins again at each [CLS].
    inside_BL = ~np.isin(masked.targets_BL, prepared.tokenizer.special_ids)
    _check_words(masked.targets_BL[inside_BL], word_V, prepared.tokenizer, language)
    state_BLS = states(language, evidence_WS[word_V[masked.inputs_BL]], inside_BL)
    # The action at a position is known to the model only as far as it sees [MASK] or not.
    at = np.nonzero(masked.chosen_BL)
    shown_P = np.where(
      masked.action_BL[at] == corruption.MASK, _HIDDEN, word_V[masked.inputs_BL[at]]
    )
    loss_P, hit_P = _predict(
      language, state_BLS[at], shown_P, word_V[masked.targets_BL[at]], random, kept
    )
    losses.append(loss_P)
    hits.append(hit_P)
  scores = {'loss': np.concatenate(losses), 'accuracy': np.concatenate(hits)}
  return {name: float(score_P.mean()) for name, score_P in scores.items() if len(score_P)}


def states(
  language: synthetic.Language, evidence_BLS: np.ndarray, inside_BL: np.ndarray
) -> np.ndarray:
  """Returns [B, L, S]: each position's state given the evidence at the others of its segment.

  Source: the forward-backward algorithm, Rabiner (1989), with messages normalised at each step.

  Args:
    language: synthetic.Language.
    evidence_BLS: the probability, up to a factor, of what is seen at a position in each state.
    inside_BL: bool, False between segments, where the chain starts again.
  """
  B, L, S = evidence_BLS.shape
  before_BLS, after_BLS = np.empty((B, L, S)), np.empty((B, L, S))
  # Forward: the state's distribution before its own evidence is added.
  state_BS = np.broadcast_to(language.initial_S, (B, S))
  for l in range(L):
    before_BLS[:, l] = state_BS @ language.transition_SS
    # Normalised at each step, or the product over a row would underflow.
    state_BS = _normalized(before_BLS[:, l] * evidence_BLS[:, l])
    state_BS = np.where(inside_BL[:, l, None], state_BS, language.initial_S)
  # Backward: the likelihood of the evidence after it. Neither has the evidence at the position
  # itself, which `_predict` adds, since being predicted is evidence too.
  message_BS = np.ones((B, S))
  for l in reversed(range(L)):
    after_BLS[:, l] = message_BS
    message_BS = _normalized((message_BS * evidence_BLS[:, l]) @ language.transition_SS.T)
    message_BS = np.where(inside_BL[:, l, None], message_BS, 1.0)
  return _normalized(before_BLS * after_BLS)


def _normalized(weights: np.ndarray) -> np.ndarray:
  return weights / weights.sum(axis=-1, keepdims=True)


def _predict(
  language: synthetic.Language,
  state_PS: np.ndarray,
  shown_P: np.ndarray,
  target_P: np.ndarray,
  random: float,
  kept: float,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns (loss_P, hit_P) of the predicted words.

  Args:
    language: synthetic.Language.
    state_PS: the states' probabilities, without the evidence at the position itself.
    shown_P: the word seen there, W for another token, _HIDDEN for none.
    target_P: the true word.
    random, kept: see `_shares`.
  """
  loss_P, hit_P = np.empty(len(target_P)), np.empty(len(target_P), bool)
  words = language.emission_SW.shape[1]
  # In blocks, since positions x words of a whole batch would not fit into memory.
  block = max(1, _BLOCK // words)
  for begin in range(0, len(target_P), block):
    part = slice(begin, begin + block)
    p_PW = state_PS[part] @ language.emission_SW
    # A [MASK] is as probable for every word, so it changes nothing; a word that is shown is not.
    is_shown_P = shown_P[part] != _HIDDEN
    same_PW = shown_P[part][is_shown_P, None] == np.arange(words)[None]
    p_PW[is_shown_P] *= random + kept * same_PW
    p_PW = _normalized(p_PW)
    loss_P[part] = -np.log(p_PW[np.arange(len(p_PW)), target_P[part]])
    hit_P[part] = p_PW.argmax(axis=1) == target_P[part]
  return loss_P, hit_P


def _shares(policy: masking.Policy) -> tuple[float, float, float]:
  """Returns a token's probabilities (unchanged, replaced by one given other, chosen and kept)."""
  _, random, kept = np.asarray(policy.corruption.probs_3, np.float64) * float(policy.rate)
  if policy.sampling == 'fixed_count' and random + kept > 0:
    raise config.UserError(
      "masking.sampling = 'fixed_count' with random or kept tokens: their optimum is known only "
      "for 'bernoulli'; set that, or a masking.corruption_probs of (1, 0, 0)"
    )
  table = policy.table
  return 1 - float(policy.rate) + kept, random / (table.size - len(table.special_ids)), kept


def _language(prepared: store.Prepared) -> synthetic.Language:
  """Returns the Language of the held-out rows; of several, each by its share of the segments.

  Together they are one language whose states never lead from one to another.
  """
  # A rule that drops documents, such as near duplicates, changes their distribution.
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
  # A language is made from its spec alone, so nothing of it needs to be stored with the data.
  languages = [synthetic.parse(each['source']).language() for each in entries]
  segments = np.array([each['validation']['segments'] for each in entries])
  words = max((each.words for each in languages), key=len)
  # Words are numbered alike in all languages; a smaller one never emits the later ones.
  wide = lambda table_SW: np.pad(table_SW, ((0, 0), (0, len(words) - table_SW.shape[1])))
  return synthetic.Language(
    np.concatenate(
      [share * each.initial_S for share, each in zip(segments / segments.sum(), languages)]
    ),
    scipy.linalg.block_diag(*(each.transition_SS for each in languages)),
    np.concatenate([wide(each.emission_SW) for each in languages]),
    words,
  )


def _words(tokenizer: tokenizer_lib.Tokenizer, language: synthetic.Language) -> np.ndarray:
  """Returns word_V: the number of the word that a piece is, W where it is not a word."""
  number = {tokenizer_lib.BOUNDARY_MARK + word: i for i, word in enumerate(language.words)}
  return np.array([number.get(tokenizer.piece(i), len(number)) for i in range(tokenizer.size)])


def _check_words(
  tokens_N: np.ndarray,
  word_V: np.ndarray,
  tokenizer: tokenizer_lib.Tokenizer,
  language: synthetic.Language,
) -> None:
  """Raises UserError where an ordinary token is not a word of the language."""
  # A word that was cut into pieces, or an unknown one, has another posterior than a word.
  wrong_N = tokens_N[word_V[tokens_N] == len(language.words)]
  if len(wrong_N):
    raise config.UserError(
      f'the held-out rows have the piece {tokenizer.piece(wrong_N[0])!r}, not a word of the '
      "synthetic language: the optimum needs config.data.tokenizer = 'word' and a piece "
      'for each word; prepare again, or evaluate without --baselines'
    )
