"""The tokens of an example: [CLS] text [SEP], or [CLS] text [SEP] second text [SEP].

Or, for a bi-encoder, those of each of its texts alone.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlm_jax.data import tokenizers
from mlm_jax.data.corpus import clean


def encode(
  examples: Sequence[Sequence[str]], tokenizer: tokenizers.Tokenizer, data: Any, seps: int = 1
) -> tuple[list[np.ndarray], int]:
  """Returns (int32 tokens of each example, how many were cut to the length of a row).

  Of a pair the longer text is cut first, as `transformers` does with `longest_first`.

  Args:
    examples: the one or two texts of each, as users give them.
    tokenizer: Tokenizer.
    data: `config.data`: how texts are cleaned, and row_length.
    seps: how many [SEP] are between two texts; RoBERTa has two.
  """
  texts = [clean.given(text, data) for example in examples for text in example]
  ids = iter(tokenizer.encode_batch(texts))
  found, cut = [], 0
  for example in examples:
    parts = [next(ids) for _ in example]
    between = [tokenizer.sep_id] * (seps if len(parts) == 2 else 0)
    kept = _fit([len(each) for each in parts], data.row_length - 2 - len(between))
    cut += kept != [len(each) for each in parts]
    first, *second = (each[:n] for each, n in zip(parts, kept))
    inside = [*first, *between, *(second[0] if second else ())]
    found.append(np.array([tokenizer.cls_id, *inside, tokenizer.sep_id], np.int32))
  return found, cut


def encode_alone(
  texts: Sequence[str], tokenizer: tokenizers.Tokenizer, data: Any, longest: int
) -> tuple[list[np.ndarray], int]:
  """Returns (int32 [CLS] text [SEP] of each text, how many were cut).

  Args:
    texts: as users give them.
    tokenizer: Tokenizer.
    data: `config.data`: how texts are cleaned.
    longest: tokens of a text at most, [CLS] and [SEP] among them; the rest is cut.
  """
  ids = tokenizer.encode_batch([clean.given(text, data) for text in texts])
  tokens = [
    np.array([tokenizer.cls_id, *each[: longest - 2], tokenizer.sep_id], np.int32) for each in ids
  ]
  return tokens, sum(len(each) > longest - 2 for each in ids)


def _fit(lengths: list[int], room: int) -> list[int]:
  """Returns how much is kept of each part, the longest cut first."""
  if sum(lengths) <= room:
    return lengths
  if len(lengths) == 1:
    return [room]
  short = min(min(lengths), room // 2)
  # Both are cut to one length where neither fits; else the longer one has what the other leaves.
  longer = room - short
  return [short, longer] if lengths[0] <= lengths[1] else [longer, short]
