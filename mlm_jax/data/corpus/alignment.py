"""Where each character of a cleaned text was in the text as it was given."""

import dataclasses
import re
import types
from typing import Any
import unicodedata

import numpy as np

from mlm_jax.data.corpus import clean

_WORD = re.compile(r'\S+')


@dataclasses.dataclass(frozen=True)
class Aligned:
  """A text that was cleaned, as `clean.given` does, and the places of its characters.

  Where cleaning changes nothing, character i is given[i : i + 1]. Characters that became others
  together, as a letter and its accent in NFC, share their places; a space has those of the run of
  white space that it was.

  Attributes:
    given: the text as it was given.
    text: the cleaned one, C characters.
    begin_C, end_C: int64, character i was made of given[begin_C[i] : end_C[i]].
  """

  given: str
  text: str
  begin_C: np.ndarray
  end_C: np.ndarray

  def cleaned(self, begin: int, end: int) -> tuple[int, int]:
    """Returns the first and the last place + 1 in `text` of given[begin:end]; equal for none."""
    first = int(np.searchsorted(self.end_C, begin, side='right'))
    last = int(np.searchsorted(self.begin_C, end, side='left'))
    return first, max(first, last)


def align(given: str, data: Any) -> Aligned:
  """Returns a text with its cleaned form; data is `config.data`."""
  text = clean.given(given, data)
  if text == given:
    place_C = np.arange(len(text), dtype=np.int64)
    return Aligned(given, text, place_C, place_C + 1)
  # All rules but the one of white space, which is applied to their result below.
  rules = types.SimpleNamespace(
    unicode=data.unicode,
    control_characters=data.control_characters,
    boundary_mark=data.boundary_mark,
    white_space='keep',
  )
  letters, begins, ends = [], [], []
  for begin, end, cleaned in _grains(given, rules):
    is_plain = cleaned == given[begin:end]
    for i, letter in enumerate(cleaned):
      letters.append(letter)
      begins.append(begin + i if is_plain else begin)
      ends.append(begin + i + 1 if is_plain else end)
  if data.white_space == 'collapse':
    letters, begins, ends = _collapsed(letters, begins, ends)
  assert ''.join(letters) == text, 'the parts of a text are cleaned as the whole is'
  return Aligned(given, text, np.array(begins, np.int64), np.array(ends, np.int64))


def _grains(given: str, rules: Any) -> list[tuple[int, int, str]]:
  """Returns (begin, end, cleaned) of the least parts of a text that are cleaned alone.

  A part ends where the next one begins with a character that neither composes with those before
  it nor is put before them, so that the cleaned parts are the cleaned text. What is removed is in
  no part, unless it stood between characters of one.
  """
  found: list[tuple[int, int, str]] = []
  for begin, end, cleaned in _candidates(given, rules):
    if not cleaned:
      continue
    if found:
      before, _, text = found[-1]
      together = clean.given(given[before:end], rules)
      if unicodedata.combining(cleaned[0]) or together != text + cleaned:
        found[-1] = before, end, together
        continue
    found.append((begin, end, cleaned))
  return found


def _candidates(given: str, rules: Any) -> list[tuple[int, int, str]]:
  """Returns (begin, end, cleaned) of each character with the marks that follow it."""
  starts = [i for i, each in enumerate(given) if i == 0 or not unicodedata.combining(each)]
  return [
    (begin, end, clean.given(given[begin:end], rules))
    for begin, end in zip(starts, [*starts[1:], len(given)])
  ]


def _collapsed(
  letters: list[str], begins: list[int], ends: list[int]
) -> tuple[list[str], list[int], list[int]]:
  """Returns them with each run of white space as one space, and none at the ends."""
  found: tuple[list[str], list[int], list[int]] = ([], [], [])
  for match in _WORD.finditer(''.join(letters)):
    first, last = match.span()
    if found[0]:
      found[0].append(' ')
      found[1].append(found[2][-1])
      found[2].append(begins[first])
    found[0].extend(letters[first:last])
    found[1].extend(begins[first:last])
    found[2].extend(ends[first:last])
  return found
