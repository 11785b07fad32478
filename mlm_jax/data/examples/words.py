"""The tokens of sentences given as words: [CLS] words [SEP], and which token begins each word."""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import itertools
from typing import Any

import numpy as np

from mlm_jax.data import tokenizers
from mlm_jax.data.corpus import clean


@dataclasses.dataclass(frozen=True)
class Sentence:
  """A sentence as tokens.

  Attributes:
    tokens_T: int32 [CLS] ... [SEP].
    word_T: int32, the number of the word that each token begins; -1 where none does.
    left_out: how many words at the end had no room.
  """

  tokens_T: np.ndarray
  word_T: np.ndarray
  left_out: int


def encode(
  sentences: Sequence[Sequence[str]], tokenizer: tokenizers.Tokenizer, data: Any
) -> list[Sentence]:
  """Returns the sentences as tokens, those longer than a row cut at a word.

  The tokenizer sees running text: words with a space between them. A word of which no token is
  left, as one of control characters, is [UNK], or [MASK] where a tokenizer has no [UNK]: so each
  word has a place. A first word that is longer than a row is cut itself.

  Args:
    sentences: the words of each, as users give them.
    tokenizer: Tokenizer.
    data: `config.data`: how texts are cleaned, and row_length.
  """
  return [_sentence(each, tokenizer, data) for each in sentences]


def _sentence(words: Sequence[str], tokenizer: tokenizers.Tokenizer, data: Any) -> Sentence:
  room = data.row_length - 2
  tokens, numbers = [tokenizer.cls_id], [-1]
  kept = 0
  for number, ids in enumerate(_pieces(words, tokenizer, data)):
    if len(tokens) - 1 + len(ids) > room and number:
      break
    tokens += ids[:room]
    numbers += [number, *([-1] * (len(ids[:room]) - 1))]
    kept += 1
  return Sentence(
    np.array([*tokens, tokenizer.sep_id], np.int32),
    np.array([*numbers, -1], np.int32),
    len(words) - kept,
  )


def _pieces(
  words: Sequence[str], tokenizer: tokenizers.Tokenizer, data: Any
) -> Iterator[list[int]]:
  """Yields the ids of each word, at least one."""
  cleaned = [clean.given(each, data).strip() for each in words]
  # What is cleaned away is not text: it would only add a space.
  begins = list(itertools.accumulate((len(each) + bool(each) for each in cleaned), initial=0))
  ids_T, place_T = tokenizer.encode_with_places(' '.join(filter(None, cleaned)))
  cuts = np.searchsorted(place_T, begins[:-1]).tolist() + [len(ids_T)]
  unknown = tokenizer.mask_id if tokenizer.unk_id is None else tokenizer.unk_id
  for word, begin, end in zip(cleaned, cuts, cuts[1:]):
    yield ids_T[begin:end].tolist() if word and end > begin else [unknown]
