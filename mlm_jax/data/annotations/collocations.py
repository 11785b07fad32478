"""Collocations: words that belong together, found in the rows.

A vocabulary of collocations (see `pmi`) is an .npz file beside the tokenizer's model. Matching
it marks which tokens go together: of the word n-grams in it the longest win; of those of one
length that overlap, one drawn at random. That draw is a hash of the segment's words and of the
place among them: a document is matched alike in every row, and a phrase that is repeated is
divided by another draw.

Words are those of masking by words. Punctuation is a word of its own, belongs to no
collocation and separates what is before it from what follows, as the end of a segment does.
"""

import dataclasses
import os
from typing import NamedTuple

import numpy as np

from mlm_jax import config
from mlm_jax.core import files
from mlm_jax.data import tokenizers
from mlm_jax.data.corpus import characters

FILE = 'tokenizer/collocations.npz'  # in a preparation and in a run
WORDS = (2, 3, 4, 5)  # that a collocation may have
_FACTOR = 0xD6E8FEB86659FD93  # odd


class Words(NamedTuple):
  """The words of some rows, in their order.

  Attributes:
    first_W: where each begins, counted over all tokens of the rows.
    tokens_W: how many tokens it has.
    hash_W: uint64, of its pieces: equal words have equal ones (see `characters.hashed`).
    letters_W: bool, it is not punctuation.
    follows_W: bool, it continues the run of words of the one before it.
    segment_W: number of the segment it is in, ascending.
  """

  first_W: np.ndarray
  tokens_W: np.ndarray
  hash_W: np.ndarray
  letters_W: np.ndarray
  follows_W: np.ndarray
  segment_W: np.ndarray


@dataclasses.dataclass(frozen=True)
class Entries:
  """A vocabulary of collocations, N of them; those of one length are together, the best first.

  Attributes:
    pieces_T: int32, the pieces of all, one after another.
    pieces_N: int64, how many pieces each has.
    words_N: int64, how many words.
    counts_N: int64, how often it occurs in the training rows.
    scores_N: float64, see `pmi`.
    candidates_4: int64, how many n-grams of 2, 3, 4 and 5 words there were to choose from.
  """

  pieces_T: np.ndarray
  pieces_N: np.ndarray
  words_N: np.ndarray
  counts_N: np.ndarray
  scores_N: np.ndarray
  candidates_4: np.ndarray

  def pieces(self) -> list[np.ndarray]:
    """Returns the ids of each."""
    return np.split(self.pieces_T, np.cumsum(self.pieces_N)[:-1])


def write(path: str | os.PathLike, entries: Entries) -> None:
  """Writes them as an .npz file: the same bytes for the same entries."""
  files.write_arrays(path, entries)


def read(data: bytes) -> Entries:
  """Returns the Entries from the bytes of such a file; KeyError where it lacks an array."""
  return files.read_arrays(Entries, data)


def load(path: str | os.PathLike, tokenizer: tokenizers.Tokenizer) -> 'Collocations | None':
  """Returns the Collocations in a file, or None where there is none.

  Raises:
    UserError: it cannot be read, or is damaged.
  """
  if not os.path.lexists(path):
    return None
  try:
    return Collocations(tokenizer, read(config.read_bytes(path)))
  except (KeyError, ValueError) as error:
    raise config.UserError(
      f'{path} is damaged or cannot be read ({type(error).__name__}); copy it again '
      'from the prepared data'
    ) from None


def words(tokenizer: tokenizers.Tokenizer, tokens_RL: np.ndarray, starts_RS: np.ndarray) -> Words:
  """Returns the Words of some rows.

  Args:
    tokenizer: Tokenizer.
    tokens_RL: ids.
    starts_RS: where each segment starts, -1 where unused.
  """
  tokens_T = np.asarray(tokens_RL).reshape(-1)
  begins_T = _begins(tokens_RL.shape, np.asarray(starts_RS)).reshape(-1)
  ordinary_V = np.ones(tokenizer.size, bool)
  ordinary_V[list(tokenizer.special_ids)] = False
  ordinary_T = ordinary_V[tokens_T]
  ended_T = tokenizer.ends_V[tokens_T] | ~ordinary_T
  # A word starts with a row or segment, with a piece that says so, or after one that ends a word.
  starts_T = begins_T | tokenizer.starts_V[tokens_T]
  starts_T[1:] |= ended_T[:-1]
  first_W = np.flatnonzero(ordinary_T & starts_T)
  if not len(first_W):  # reduceat below needs one place at least
    none_W = np.zeros(0, bool)
    return Words(first_W, first_W, np.zeros(0, np.uint64), none_W, none_W, first_W)
  # From each first token to the next one; special tokens between two words count nothing.
  tokens_W = np.add.reduceat(ordinary_T, first_W, dtype=np.int64)
  pieces_N = tokens_T[ordinary_T]  # those of all words, one after another
  hash_V = characters.hashed([np.arange(1, tokenizer.size + 1, dtype=np.uint64)])
  hash_W = _hashes(hash_V[pieces_N], tokens_W)
  letters_W = np.logical_or.reduceat(tokenizer.letters_V[pieces_N], np.cumsum(tokens_W) - tokens_W)
  # The word before ends where this one begins, and neither is punctuation.
  follows_W = np.zeros(len(first_W), bool)
  follows_W[1:] = ((first_W + tokens_W)[:-1] == first_W[1:]) & letters_W[:-1] & letters_W[1:]
  follows_W &= ~begins_T[first_W]
  return Words(first_W, tokens_W, hash_W, letters_W, follows_W, np.cumsum(begins_T)[first_W])


def _begins(shape, starts_RS):
  """Returns bool_RL: where a row or a segment begins."""
  begins_RL = np.zeros(shape, bool)
  begins_RL[:, :1] = True
  row_N, segment_N = np.nonzero(starts_RS >= 0)
  begins_RL[row_N, starts_RS[row_N, segment_N]] = True
  return begins_RL


def _hashes(hash_N, sizes_M):
  """Returns uint64_M: the hash of each stretch of hashes in its order; together they are all."""
  begins_M = np.cumsum(sizes_M) - sizes_M
  # Each hash times a power of the factor that depends on its place: a sum alone would ignore order.
  place_N = np.arange(len(hash_N)) - np.repeat(begins_M, sizes_M)
  factors = np.multiply.accumulate(np.full(place_N.max() + 1, _FACTOR, np.uint64))
  return characters.hashed([np.add.reduceat(hash_N * factors[place_N], begins_M)])


class Collocations:
  """A vocabulary of collocations made ready to be matched; takes a Tokenizer and Entries.

  Called as `collocations(tokens_BL, starts_BS)` it returns bool_BL: the token belongs to one
  collocation with the token before it.
  """

  def __init__(self, tokenizer: tokenizers.Tokenizer, entries: Entries):
    self.entries = entries
    self._tokenizer = tokenizer
    begins_N = np.cumsum(entries.pieces_N) - entries.pieces_N
    hash_W = words(tokenizer, entries.pieces_T[None], begins_N[None]).hash_W
    first_N = np.cumsum(entries.words_N) - entries.words_N
    self._known = np.unique(hash_W)  # most words of a text are in no entry: a cheap first test
    self._keys = {n: np.sort(_ngram(hash_W, first_N[entries.words_N == n], n)) for n in WORDS}

  def __call__(self, tokens_BL: np.ndarray, starts_BS: np.ndarray) -> np.ndarray:
    return self.match(tokens_BL, starts_BS)[0]

  def match(
    self, tokens_BL: np.ndarray, starts_BS: np.ndarray
  ) -> tuple[np.ndarray, dict[str, int]]:
    """Returns (joins_BL, {'collocations': number, 'words': in them, 'of_words': of all}).

    Args:
      tokens_BL: ids.
      starts_BS: where each segment starts, -1 where unused.
    """
    found = words(self._tokenizer, tokens_BL, starts_BS)
    inside_W, first_W = self._inside(found)
    joined_T = np.zeros(tokens_BL.size, bool)
    tokens_W = found.tokens_W[inside_W]
    begins_W = np.cumsum(tokens_W) - tokens_W
    joined_T[
      np.repeat(found.first_W[inside_W] - begins_W, tokens_W) + np.arange(tokens_W.sum())
    ] = True
    joined_T[found.first_W[first_W]] = False
    return joined_T.reshape(tokens_BL.shape), {
      'collocations': int(first_W.sum()),
      'words': int(inside_W.sum()),
      'of_words': len(inside_W),
    }

  def _inside(self, found):
    """Returns (bool_W: the word is in a collocation, bool_W: it is the first there)."""
    inside_W, first_W = np.zeros((2, len(found.first_W)), bool)
    if not len(inside_W):
      return inside_W, first_W
    known_W = _among(found.hash_W, self._known)
    drawn_W = _draws(found)
    for n in WORDS[::-1]:  # the longest first; their words are then taken
      at = np.flatnonzero(windows(known_W & ~inside_W, found.follows_W, n))
      at = at[_among(_ngram(found.hash_W, at, n), self._keys[n])]
      at = _apart(at, n, drawn_W[at])
      first_W[at] = True
      for i in range(n):
        inside_W[at + i] = True
    return inside_W, first_W


def _ngram(hash_W, at, n):
  """Returns uint64: the hashes of the n words from each place on."""
  return characters.hashed([hash_W[at + i] for i in range(n)])


def windows(is_W: np.ndarray, follows_W: np.ndarray, n: int) -> np.ndarray:
  """Returns bool_W: n words of one run begin here, all of which are so."""
  # The ith word after must be so and continue the run of the word before it.
  whole_W = is_W.copy()
  for i in range(1, n):
    whole_W[:-i] &= (is_W & follows_W)[i:]
    whole_W[-i:] = False
  return whole_W


def _among(keys, ascending):
  """Returns bool: which keys are in an ascending array."""
  if not len(ascending):
    return np.zeros(len(keys), bool)
  return ascending[np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)] == keys


def _draws(found):
  """Returns uint64_W: a draw for each word, by its segment's words and its place among them."""
  begins = np.flatnonzero(np.diff(found.segment_W, prepend=-1))
  sizes = np.diff(np.append(begins, len(found.segment_W)))
  segment_W = np.repeat(_hashes(found.hash_W, sizes), sizes)
  place_W = np.arange(len(segment_W)) - np.repeat(begins, sizes)
  # The place first: the hashes of numbers that follow each other are not independent of each other.
  return characters.hashed([place_W.astype(np.uint64), segment_W])


def _apart(at, n, draws):
  """Returns those of ascending places that stay where two less than n apart exclude each other.

  The same as taking them by falling draw, each that overlaps none taken before.
  """
  chosen = []
  while len(at):
    best = np.ones(len(at), bool)
    for i in range(1, n):  # the places differ, so that only the next n - 1 can overlap
      overlap = at[i:] - at[:-i] < n
      is_left = draws[:-i] >= draws[i:]
      best[:-i] &= ~overlap | is_left
      best[i:] &= ~overlap | ~is_left
    # Those that beat all that overlap them stay, and remove these; the rest is tried again.
    chosen.append(at[best])
    nearest = np.searchsorted(chosen[-1], at)
    # With ends that overlap nothing, so that each place has a chosen one on both sides.
    padded = np.concatenate([[-n], chosen[-1], [at[-1] + n]])
    free = (at - padded[nearest] >= n) & (padded[nearest + 1] - at >= n)
    at, draws = at[free], draws[free]
  return np.sort(np.concatenate([np.zeros(0, np.int64), *chosen]))
