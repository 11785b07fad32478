"""What a policy chooses as a whole: which tokens belong together.

Units are told by where they start: `units_BL` holds the position of the first
token of the unit that a token belongs to, and -1 for a token of no unit
(special tokens and padding). No unit reaches across a special token, or from one
document into the next.

  token        each by itself.
  word         by the vocabulary's word starts and ends; punctuation stands apart. In scripts
               without spaces every piece starts a word, so there a unit is a piece.
  span         the text of a document, tiled from its beginning by runs of words (or tokens)
               whose lengths are drawn anew at each visit; its last one may be cut short.
  collocation  what was found to belong together when the data was prepared (see
               data/annotations/collocations.py); every other word by itself.
  sentence     up to a piece that closes one (. ! ? and the like) and the punctuation
               that follows it; an abbreviation's dot closes one too.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax.core import batches

_UNROLLED = 16  # steps of the walk along a row that are compiled as one


def tokens(table, batch):
  """Returns units_BL, int32: every token its own unit."""
  maskable_BL = batches.maskable(batch.tokens_BL, table.special_ids)
  index_1L = jnp.arange(batch.tokens_BL.shape[1], dtype=jnp.int32)[None]
  return jnp.where(maskable_BL, index_1L, -1)


def words(table, batch):
  """Returns units_BL, int32: the tokens of one word together.

  A word starts at a token that can be chosen and that starts a word by the
  vocabulary, follows the end of one, follows a special token, or is the first of
  its row or document.
  """
  maskable_BL, fresh_BL = _stretches(table, batch)
  return _from_starts(_word_starts(table, batch) | fresh_BL, maskable_BL)


def spans(table, batch, below_K, word_BL, of):
  """Returns units_BL, int32: runs of words or tokens that tile the text.

  Args:
    table, batch: as for `words`.
    below_K: uint32, from `below` of the law of the lengths, see `span_length_distribution`. A
      length is independent of where its span stands.
    word_BL: uniform uint32 words; the one at a span's first token gives its length.
    of: 'word' or 'token', what lengths are counted in.

  Source: arXiv:1907.10529, section 3.1, for the geometric law.
  """
  maskable_BL, fresh_BL = _stretches(table, batch)
  atom_BL = maskable_BL & (_word_starts(table, batch) | fresh_BL) if of == 'word' else maskable_BL
  length_BL = 1 + (word_BL[:, :, None] >= jnp.asarray(below_K)[None, None]).sum(
    axis=2, dtype=jnp.int32
  )

  def walk(carry, here):
    left_B, first_B = carry
    index, atom_B, fresh_B, length_B = here
    starts_B = atom_B & (fresh_B | (left_B == 0))
    left_B = jnp.where(starts_B, length_B, left_B) - atom_B.astype(jnp.int32)
    first_B = jnp.where(starts_B, index, first_B)
    return (left_B, first_B), first_B

  # Whether a span starts here hangs on the one before it, so this is a walk along the row.
  B, L = atom_BL.shape
  along = (jnp.arange(L, dtype=jnp.int32), atom_BL.T, fresh_BL.T, length_BL.T)
  first_LB = jax.lax.scan(walk, (jnp.zeros(B, jnp.int32),) * 2, along, unroll=_UNROLLED)[1]
  return jnp.where(maskable_BL, first_LB.T, -1)


def span_length_distribution(law, p, longest):
  """Returns float64 probabilities of the lengths 1 to `longest`.

  geometric: p (1 - p)**(n - 1), renormalised; uniform: all alike; harmonic: 1 / n.
  """
  n_K = np.arange(1, longest + 1)
  weight_K = {
    'geometric': p * (1 - p) ** (n_K - 1.0),
    'uniform': np.ones(longest),
    'harmonic': 1 / n_K,
  }[law]
  return weight_K / weight_K.sum()


def below(law_K):
  """Returns uint32 below_K for `spans`: 2**32 times the probability of at most 1, 2, ..., K - 1."""
  return np.minimum(np.cumsum(law_K[:-1]) * 2.0**32, 2**32 - 1).astype(np.uint32)


def collocations(table, batch):
  """Returns units_BL, int32: the words of one collocation together."""
  maskable_BL, fresh_BL = _stretches(table, batch)
  return _from_starts(_word_starts(table, batch) & ~batch.joins_BL | fresh_BL, maskable_BL)


def sentences(table, batch):
  """Returns units_BL, int32: the tokens of one sentence together."""
  tokens_BL = batch.tokens_BL
  maskable_BL, fresh_BL = _stretches(table, batch)
  closes_BL = jnp.asarray(table.closes_V)[tokens_BL] & maskable_BL
  # Punctuation behind the end, such as a quotation mark, is still in the sentence.
  aside_BL = jnp.asarray(table.ends_V)[tokens_BL] & ~closes_BL & maskable_BL & ~fresh_BL
  index_1L = jnp.arange(tokens_BL.shape[1], dtype=jnp.int32)[None]
  last_close_BL = jax.lax.cummax(jnp.where(closes_BL, index_1L, -1), axis=1)
  last_word_BL = jax.lax.cummax(jnp.where(~aside_BL & ~closes_BL, index_1L, -1), axis=1)
  closed_BL = _after(last_close_BL > last_word_BL)
  return _from_starts(fresh_BL | closed_BL & ~aside_BL & ~closes_BL, maskable_BL)


def _stretches(table, batch):
  """Returns (maskable_BL, fresh_BL): where a unit may stand, and where one must start if so."""
  maskable_BL = batches.maskable(batch.tokens_BL, table.special_ids)
  document_BL = batches.begins(batch.starts_BS, batch.tokens_BL.shape[1])
  return maskable_BL, maskable_BL & (_after(~maskable_BL) | document_BL)


def _word_starts(table, batch):
  """Returns bool_BL: where a word starts by the vocabulary alone."""
  tokens_BL = batch.tokens_BL
  return jnp.asarray(table.starts_V)[tokens_BL] | _after(jnp.asarray(table.ends_V)[tokens_BL])


def _after(holds_BL):
  """Returns bool_BL: what holds at the token before; True at the first of a row."""
  return jnp.pad(holds_BL[:, :-1], ((0, 0), (1, 0)), constant_values=True)


def _from_starts(starts_BL, maskable_BL):
  """Returns units_BL from where units start."""
  index_1L = jnp.arange(starts_BL.shape[1], dtype=jnp.int32)[None]
  first_BL = jax.lax.cummax(jnp.where(starts_BL, index_1L, 0), axis=1)
  return jnp.where(maskable_BL, first_BL, -1)


def lengths(units_BL):
  """Returns int32_BL: at a unit's first token its number of tokens, elsewhere 0."""
  length = units_BL.shape[1]
  index_1L = jnp.arange(length, dtype=jnp.int32)[None]
  # The first position, from here on, that the token before does not share a unit with.
  changes_BL = jnp.pad(units_BL[:, 1:] != units_BL[:, :-1], ((0, 0), (0, 1)), constant_values=True)
  end_BL = jax.lax.cummin(jnp.where(changes_BL, index_1L + 1, length), axis=1, reverse=True)
  return jnp.where(units_BL == index_1L, end_BL - index_1L, 0)
