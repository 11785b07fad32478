"""Copies of a text in which some of its pieces are hidden, and scored."""

from collections.abc import Iterator
import dataclasses

import numpy as np

_COPIES = 2048  # of a long text made at once, so that they fit in memory


@dataclasses.dataclass(frozen=True)
class Copies:
  """Copies of one length, and what is asked of them.

  Attributes:
    contents_CT: int32 ids without [CLS] and [SEP], [MASK] where something is hidden.
    copy_S: which copy each question is about, ascending.
    place_S: the place in it, counted from 0 in the contents.
    answers_SK: int32, the ids whose log p is asked for there.
  """

  contents_CT: np.ndarray
  copy_S: np.ndarray
  place_S: np.ndarray
  answers_SK: np.ndarray


def starts_of_words(ids_T: np.ndarray, starts_V: np.ndarray, ends_V: np.ndarray) -> np.ndarray:
  """Returns bool_T: where a word starts by the vocabulary, see vocabulary.Table."""
  after_end_T = np.concatenate([[True], ends_V[ids_T[:-1]]])[: len(ids_T)]
  return starts_V[ids_T] | after_end_T


def of_text(
  ids_T: np.ndarray,
  starts_T: np.ndarray,
  mask_id: int,
  room: int,
  within_word: bool = False,
  together: int = 1,
) -> Iterator[Copies]:
  """Yields the copies in which each piece is hidden and scored once, in the order of the pieces.

  Sources: arXiv:1910.14659 (a piece at a time); arXiv:2305.10588 (within words left to right).

  Args:
    ids_T: of a text, without [CLS] and [SEP].
    starts_T: bool, where a word starts.
    mask_id: of [MASK].
    room: ids of a copy; of a longer text each copy is what is around the pieces that are scored.
    within_word: whether the later pieces of the same word are hidden too.
    together: pieces of a word that are hidden, and scored, in one copy, at most; no more than half
      of the room.
  """
  index_T = np.arange(len(ids_T))
  word_T = np.cumsum(starts_T) - 1
  in_word_T = index_T - np.maximum.accumulate(np.where(starts_T, index_T, 0))
  begins_T = in_word_T % max(1, min(together, room // 2)) == 0
  part_T = np.cumsum(begins_T) - 1  # the pieces of a part are hidden together
  first_C = np.flatnonzero(begins_T)
  size_C = np.diff(np.append(first_C, len(ids_T)))
  # As much before the middle of a part as behind it; a copy of a longer text is always full.
  begin_C = np.clip(first_C + size_C // 2 - room // 2, 0, max(0, len(ids_T) - room))
  width = min(len(ids_T), room)
  for c in range(0, len(first_C), _COPIES):
    number_C = np.arange(c, min(c + _COPIES, len(first_C)))
    seen_CT = begin_C[number_C, None] + np.arange(width)[None]
    hidden_CT = part_T[seen_CT] == number_C[:, None]
    if within_word:
      is_later_CT = part_T[seen_CT] > number_C[:, None]
      hidden_CT |= is_later_CT & (word_T[seen_CT] == word_T[first_C[number_C]][:, None])
    pieces_S = np.flatnonzero((part_T >= number_C[0]) & (part_T <= number_C[-1]))
    yield Copies(
      np.where(hidden_CT, mask_id, ids_T[seen_CT]).astype(np.int32),
      part_T[pieces_S] - c,
      pieces_S - begin_C[part_T[pieces_S]],
      ids_T[pieces_S, None].astype(np.int32),
    )
