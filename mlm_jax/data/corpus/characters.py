"""Texts as arrays of code points: hashed windows of characters, and classes of characters."""

from collections.abc import Sequence
import functools
import sys
import unicodedata

import numpy as np

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, bits well mixed: 2**64 over the golden ratio


def codes(text: str) -> np.ndarray:
  """Returns uint32 [characters], the code points of a text without lone surrogates."""
  return np.frombuffer(text.encode('utf-32-le'), '<u4')


def windows(codes_N: np.ndarray, n: int) -> np.ndarray:
  """Returns uint64 [max(0, characters - n + 1)], a hash of every n characters in a row."""
  size = max(0, len(codes_N) - n + 1)
  return hashed([codes_N[i : i + size] for i in range(n)])


def hashed(columns: Sequence[np.ndarray]) -> np.ndarray:
  """Returns uint64 [rows], a hash of every row of a table that is given as its columns.

  Equal rows have equal hashes; of m different ones an expected m**2 / 2**65 pairs have
  them too.
  """
  hashes = np.zeros(len(columns[0]), np.uint64)
  for column in columns:
    hashes *= _MULTIPLIER
    hashes += column
  # So far the low bits of a hash depend on the low bits of the numbers alone.
  hashes ^= hashes >> np.uint64(32)
  hashes *= _MULTIPLIER
  hashes ^= hashes >> np.uint64(29)
  return hashes


@functools.lru_cache(maxsize=1)
def symbols() -> np.ndarray:
  """Returns bool [all code points]: no letter, mark, number, white space or format character.

  Format characters (Cf) such as the zero-width joiners belong to the spelling of words.
  """
  return np.array([_is_symbol(chr(code)) for code in range(sys.maxunicode + 1)])


def _is_symbol(character):
  category = unicodedata.category(character)
  return category[0] not in 'LMN' and category != 'Cf' and not character.isspace()
