"""What is counted over the training rows, and statistics.npz, which holds it."""

import dataclasses

import numpy as np

from mlm_jax.data import ngrams
from mlm_jax.data import writing

NGRAMS = 10_000  # of each length that are kept
LENGTHS = 32  # bins of a document's length
FILLS = 20  # bins of a row's fill
_PART = 1 << 20  # tokens counted at once


@dataclasses.dataclass(frozen=True)
class Statistics:
  """Counts over the training rows, int64; S sources, N n-grams, the most frequent first.

  Attributes:
    counts_V: how often each piece stands there; special pieces and padding are counted too.
    bigrams_N2, trigrams_N3: int32 ids of ordinary pieces, inside one segment.
    bigram_counts_N, trigram_counts_N: how often each stands there.
    missed_2: the most by which a count of the bigrams and of the trigrams may be too low
      (see `ngrams`).
    lengths_SK: documents of 2**k to 2**(k + 1) - 1 pieces.
    fills_SF: rows by the share of their tokens that is no padding, in twentieths; full
      ones in the last.
    words_S: words, as masking by words takes them; one that two segments share counts twice.
  """

  counts_V: np.ndarray
  bigrams_N2: np.ndarray
  bigram_counts_N: np.ndarray
  trigrams_N3: np.ndarray
  trigram_counts_N: np.ndarray
  missed_2: np.ndarray
  lengths_SK: np.ndarray
  fills_SF: np.ndarray
  words_S: np.ndarray


class Counter:
  """Counts, as the rows are made. Takes a Tokenizer and the number of sources."""

  def __init__(self, tokenizer, sources):
    self._counts_V = np.zeros(tokenizer.size, np.int64)
    self._ngrams = [ngrams.Counter(n, tokenizer.size, tokenizer.special_ids) for n in (2, 3)]
    self._sources = [_SourceCounter(tokenizer, self._add) for _ in range(sources)]

  def source(self, number):
    """Returns what counts the documents and rows of one source."""
    return self._sources[number]

  def _add(self, tokens_RL):
    self._counts_V += np.bincount(tokens_RL.reshape(-1), minlength=len(self._counts_V))
    for each in self._ngrams:
      each.add(tokens_RL)

  def result(self):
    """Returns the Statistics."""
    (bigrams_N2, bigram_counts_N), (trigrams_N3, trigram_counts_N) = (
      each.most_common(NGRAMS) for each in self._ngrams
    )
    return Statistics(
      self._counts_V,
      bigrams_N2,
      bigram_counts_N,
      trigrams_N3,
      trigram_counts_N,
      missed_2=np.array([each.missed for each in self._ngrams]),
      lengths_SK=np.stack([each.lengths_K for each in self._sources]),
      fills_SF=np.stack([each.fills_F for each in self._sources]),
      words_S=np.array([each.words for each in self._sources]),
    )


class _SourceCounter:
  """Counts what is told apart by source, and passes the rows on to `add`."""

  def __init__(self, tokenizer, add):
    self._tokenizer, self._add = tokenizer, add
    self._special_V = np.zeros(tokenizer.size, bool)
    self._special_V[list(tokenizer.special_ids)] = True
    self.lengths_K = np.zeros(LENGTHS, np.int64)
    self.fills_F = np.zeros(FILLS, np.int64)
    self.words = 0

  def add_documents(self, lengths):
    """Counts documents, each of so many pieces."""
    # frexp gives the exponent of a number in [.5, 1) times a power of two.
    bins = np.frexp(lengths[lengths > 0])[1] - 1
    self.lengths_K += np.bincount(np.minimum(bins, LENGTHS - 1), minlength=LENGTHS)

  def add_rows(self, tokens_RL):
    """Counts rows, in parts that bound the memory."""
    length = tokens_RL.shape[1]
    step = max(1, _PART // length)
    for part_RL in (tokens_RL[begin : begin + step] for begin in range(0, len(tokens_RL), step)):
      used_R = (part_RL != self._tokenizer.pad_id).sum(axis=1)
      bins = np.minimum(used_R * FILLS // length, FILLS - 1)
      self.fills_F += np.bincount(bins, minlength=FILLS)
      self.words += self._words(part_RL)
      self._add(part_RL)

  def _words(self, tokens_RL):
    """Returns the number of words; every row begins with a special piece."""
    special_RL = self._special_V[tokens_RL]
    ended_RL = self._tokenizer.ends_V[tokens_RL] | special_RL
    starts_RL = self._tokenizer.starts_V[tokens_RL][:, 1:] | ended_RL[:, :-1]
    return int((starts_RL & ~special_RL[:, 1:]).sum())


def write(path, statistics):
  """Writes statistics.npz: the same bytes for the same counts."""
  writing.write_fields(path, statistics)


def read(data):
  """Returns the Statistics from the bytes of statistics.npz; KeyError where it lacks one."""
  return writing.read_fields(Statistics, data)
