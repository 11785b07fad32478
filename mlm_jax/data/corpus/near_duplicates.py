"""Near duplicates by MinHash: training documents that resemble another document.

The similarity of two documents is the Jaccard index of their sets of shingles, the
stretches of 9 characters that begin at each of their characters; case and the kind and
number of white space do not count. No word is looked for, so it is the same for scripts
without spaces. Each document is kept as a signature of 128 numbers, of which two documents
share the fraction J on average, with standard deviation sqrt(J (1 - J) / 128): .035 at
J = .8. Documents are compared where their signatures share a whole band of rows; the
bands are such that a pair at the similarity asked for is compared with probability .99,
a more similar one with a higher one. So close to the similarity asked for either may be
decided; three standard deviations off it the decision is right in 99 % of pairs or more.

Memory, measured on 300,000 documents, training and held out: 530 bytes a document, 630
while bands are looked for, and up to 2.7 KB more for each that shares a band with another.
Before that, the shingles of a million characters, or of the longest document, at some
40 bytes a character.

Time grows with the square of the documents that share a band: a templated corpus, with many
pairs just below the similarity asked for, took .24, .88 and 3.57 s for 2,000, 4,000 and
8,000 documents of 850 characters, 600 of them in common, at .8.

Source: Broder, On the resemblance and containment of documents, 1997; the shingles'
length and the bands: Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, ch. 3.
"""

import collections
from collections.abc import Sequence

import numpy as np
import rensa

from mlm_jax.data.corpus import characters

HASHES = 128  # numbers of a signature: the error falls with their root, the memory grows with them
SHINGLE = 9  # characters
_RECALL = 0.99
_SEED = 0  # of the hash functions: with another one other borderline pairs would be found


def signatures(texts: Sequence[str]) -> np.ndarray:
  """Returns uint32 [texts, 128]; a text's signature depends on the text alone."""
  # Behind each text zeros: they keep shingles from reaching into the next one, and give a
  # text shorter than a shingle its shingles too.
  padding = '\0' * (SHINGLE - 1)
  bare = [' '.join(text.casefold().split()).replace('\0', ' ') for text in texts]
  codes_T = characters.codes(''.join(text + padding for text in bare))
  # A shingle for each character of a text, and none that begins in the padding.
  hashes_T = characters.windows(codes_T, SHINGLE)[codes_T[: len(codes_T) - SHINGLE + 1] != 0]
  ends = np.cumsum([0] + [len(text) for text in bare], dtype=np.uint64)
  # pyrefly: ignore[missing-attribute] -- a compiled module without stubs
  matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes_T, ends, HASHES, _SEED)
  return np.array(matrix.to_rows(), np.uint32)


def bands(similarity: float) -> tuple[int, int]:
  """Returns (bands, rows of a band): the widest bands that find a pair with probability .99.

  A band of r rows is shared with probability s**r, one of b bands with 1 - (1 - s**r)**b.
  """
  # From the widest on: wide bands are shared by fewer pairs that are not similar.
  for rows in range(HASHES, 1, -1):
    number = HASHES // rows
    if 1 - (1 - similarity**rows) ** number >= _RECALL:
      return number, rows
  return HASHES, 1


def dropped(
  signatures_NH: np.ndarray, digest_N: np.ndarray, validation_N: np.ndarray, similarity: float
) -> np.ndarray:
  """Returns bool [documents]: the training documents to drop.

  Held-out documents come first and all stay. Training documents follow in the order of
  their digests, so the result does not depend on the order of reading; one is dropped
  when it resembles a document that stays.

  Args:
    signatures_NH: uint32.
    digest_N: uint64, any number that depends on the text alone.
    validation_N: bool.
    similarity: from which on one is dropped, in (0, 1].
  """
  document_M, group_M = _shared_bands(signatures_NH, *bands(similarity))
  rank_N = np.empty(len(digest_N), np.int64)
  rank_N[np.lexsort((digest_N, ~validation_N))] = np.arange(len(digest_N))
  # The M shared bands by the rank of their document: each document's are together.
  order = np.argsort(rank_N[document_M], kind='stable')
  document_M, group_M = document_M[order], group_M[order]
  begins = np.flatnonzero(np.diff(document_M, prepend=-1))
  kept = collections.defaultdict(list)  # the documents of a group that stay
  dropped_N = np.zeros(len(digest_N), bool)
  for begin, end in zip(begins, np.append(begins[1:], len(document_M))):
    document, groups = document_M[begin], group_M[begin:end].tolist()
    others = sorted({other for group in groups for other in kept[group]})
    if not validation_N[document] and others:
      # The share of equal numbers estimates the Jaccard index.
      equal = (signatures_NH[others] == signatures_NH[document]).sum(axis=1).max()
      dropped_N[document] = equal >= similarity * HASHES
    if not dropped_N[document]:
      for group in groups:
        kept[group].append(document)
  return dropped_N


def _shared_bands(signatures_NH, number, rows):
  """Returns (document_M, group_M): where a document shares a band with another one.

  Those of one group have the same numbers in the same band.
  """
  documents, groups, first = [], [], 0
  for band in range(number):
    key_N = characters.hashed([signatures_NH[:, band * rows + row] for row in range(rows)])
    _, group_N, counts = np.unique(key_N, return_inverse=True, return_counts=True)
    shared = np.flatnonzero(counts[group_N] > 1)
    documents.append(shared)
    groups.append(first + group_N[shared])
    first += len(counts)  # a group of one band must not have the number of one of another
  return np.concatenate(documents), np.concatenate(groups)
