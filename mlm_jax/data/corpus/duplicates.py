"""One hash per cleaned document: it finds duplicates and decides which split a document is in."""

import hashlib

SPLITS = ('train', 'validation')


def digest(text: str) -> tuple[int, int]:
  """Returns two independent 64-bit hashes of a document.

  The first finds duplicates and decides the split, so neither changes when the
  corpus grows; the second chooses the tokenizer's sample.
  """
  both = hashlib.blake2b(text.encode(), digest_size=16).digest()
  return int.from_bytes(both[:8], 'little'), int.from_bytes(both[8:], 'little')


def validation(first: int, share: float) -> bool:
  """Whether a document is kept for evaluation, by its first hash."""
  # Of the text alone: a document keeps its split when the corpus grows or is read in another order.
  return first < share * 2**64


class Seen:
  """The documents seen so far.

  Takes 75 to 100 bytes a document (measured; a Python set of 64-bit integers), so
  about 10 GB for 100 million. Of n different documents an expected n**2 / 2**65 are
  taken for duplicates: .0003 of one at 100 million.
  """

  def __init__(self):
    self._hashes = set()

  def add(self, first: int) -> bool:
    """Notes a first hash; returns whether it is new."""
    before = len(self._hashes)
    self._hashes.add(first)
    return len(self._hashes) > before
