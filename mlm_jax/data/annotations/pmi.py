"""The collocations of the training rows, by pointwise mutual information.

Candidates are the n-grams of 2 to 5 words inside a segment, without punctuation, that occur
more than 10 times. With p(w) the share that w has of all n-grams of its length, an n-gram
scores the least of log(p(w)**2 / product of p(part)) over all ways to cut it into two or more
parts: it ranks low as soon as one way of cutting explains it. Of a vocabulary one half goes to
pairs, a quarter to triples, an eighth each to four and five words; a length with fewer
candidates than that leaves its places empty.

Source: Levine et al., PMI-Masking, arXiv:2010.01825, sections 3 and 4.

Counting goes by length: an n-gram can only be frequent where the (n-1)-grams at its two ends
are, so it is written as the pair of their numbers, and nothing else is counted. A scratch
file has the numbers of all places, 4 bytes a word; others take what is counted, 12 bytes for
each different one of a block. Memory holds 24 bytes for each frequent n-gram, about 300
for those of one length while they are scored, and one part of what is counted, which grows
only above a billion words. English novels of 11 million words took 11 s of processor time and
50 MB more than the rest of their preparation. Words are known by 64-bit hashes: of n different
ones an expected n**2 / 2**65 pairs are counted as one.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import pathlib
from typing import Any

import numpy as np

from mlm_jax.data import tokenizers
from mlm_jax.data.annotations import collocations
from mlm_jax.data.annotations import column

LEAST = 11  # occurrences of a candidate
_SHARES = dict(zip(collocations.WORDS, (0.5, 0.25, 0.125, 0.125)))
_BLOCK = 1 << 21  # tokens, or words, that are looked at together
_PART = 1 << 22  # counted words a part
_MOST_PARTS = 256
_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd: 2**64 over the golden ratio


class _Level:
  """The frequent n-grams of one length, numbered from 1 in the order of their keys.

  Attributes:
    keys_N: uint64; for words their hash, else the numbers of the (n-1)-grams at both ends.
    counts_N: int64.
    log_p_N: float64.
  """

  def __init__(self, keys_N, counts_N, total):
    self.keys_N, self.counts_N = keys_N, counts_N
    self.log_p_N = np.log(counts_N / max(1, total))

  def numbers(self, keys):
    """Returns uint32: the number of each key, 0 for one that is not frequent."""
    if not len(self.keys_N):
      return np.zeros(len(keys), np.uint32)
    place = np.minimum(np.searchsorted(self.keys_N, keys), len(self.keys_N) - 1)
    return np.where(self.keys_N[place] == keys, place + 1, 0).astype(np.uint32)

  def ends(self, number_M):
    """Returns (the numbers of the (n-1)-grams at the front, at the back) of some n-grams."""
    # A key is what `_pairs` made: the front's number in the high half, the back's in the low one.
    key_M = self.keys_N[number_M - 1]
    return (key_M >> np.uint64(32)).astype(np.int64), (key_M & np.uint64(0xFFFFFFFF)).astype(
      np.int64
    )


class Marker(column.OfRows):
  """The column of collocations: finds them in the training rows, then marks them in all rows.

  Their vocabulary is written into the folder of the preparation.
  """

  def __init__(
    self,
    data: Any,
    tokenizer: tokenizers.Tokenizer,
    rows: Sequence[Any],
    folder: pathlib.Path,
    scratch: pathlib.Path,
  ):
    entries = find(tokenizer, rows, data.collocations, scratch)
    collocations.write(folder / collocations.FILE, entries)
    self._found, self._candidates = len(entries.counts_N), entries.candidates_4.sum()
    self._match = collocations.Collocations(tokenizer, entries).match

  def values(self, tokens_RL: np.ndarray, starts_RS: np.ndarray) -> tuple[np.ndarray, dict]:
    joins_RL, counts = self._match(tokens_RL, starts_RS)
    tokens = int(joins_RL.sum()) + counts['collocations']  # the first one of each is not joined
    return joins_RL, counts | {'tokens': tokens}

  def said(self, counts: Mapping[str, int]) -> str:
    return (
      f'collocations: {self._found:,} of {self._candidates:,} candidates; '
      f'{counts["words"] / max(1, counts["of_words"]):.1%} of all words are in one'
    )


def find(
  tokenizer: tokenizers.Tokenizer, rows: Sequence[Any], size: int, folder: pathlib.Path
) -> collocations.Entries:
  """Returns the collocations.Entries of a vocabulary.

  Args:
    tokenizer: Tokenizer.
    rows: the training store.Rows of each source.
    size: entries at most.
    folder: pathlib.Path of a folder for scratch files.
  """
  levels, pieces = _levels(tokenizer, rows, folder)
  parts = [_best(levels, n, int(size * share)) for n, share in _SHARES.items()]
  word_ids = [number for words_NW, _, _ in parts for number in words_NW.reshape(-1).tolist()]
  entries = [pieces[number] for number in word_ids]
  words_N = np.concatenate([np.full(len(part[0]), n) for n, part in zip(_SHARES, parts)])
  sizes = np.array([len(each) for each in entries], np.int64)
  return collocations.Entries(
    pieces_T=np.concatenate([np.zeros(0, np.int32), *entries]),
    pieces_N=np.add.reduceat(sizes, np.cumsum(words_N) - words_N) if len(words_N) else sizes,
    words_N=words_N,
    counts_N=np.concatenate([counts for _, counts, _ in parts]),
    scores_N=np.concatenate([scores for _, _, scores in parts]),
    candidates_4=np.array([len(levels[n].keys_N) for n in _SHARES]),
  )


# Counting


def _levels(tokenizer, rows, folder):
  """Returns ({n: its _Level}, {number of a word: its pieces})."""
  totals = dict.fromkeys((1, *collocations.WORDS), 0)
  counter = _Counter(folder, sum(each.tokens_RL.size for each in rows))
  for _, found in _words(tokenizer, rows):
    counter.add(found.hash_W[found.letters_W])
    for n in totals:
      totals[n] += int(collocations.windows(found.letters_W, found.follows_W, n).sum())
  levels = {1: _Level(*counter.frequent(), totals[1])}
  path = folder / 'numbers'
  pieces = _write_words(tokenizer, rows, levels[1], path)
  for n in collocations.WORDS:
    counter = _Counter(folder, totals[n])
    for keys_W in _pairs(path):
      counter.add(keys_W[keys_W > 0])
    levels[n] = _Level(*counter.frequent(), totals[n])
    # Each pass replaces the numbers of (n-1)-grams by those of n-grams, at the same places.
    following = folder / 'numbers.next'
    with open(following, 'wb') as file:
      for keys_W in _pairs(path):
        file.write(levels[n].numbers(keys_W).data)
    following.replace(path)
  path.unlink()
  return levels, pieces


def _words(tokenizer, rows):
  """Yields (tokens_RL, their collocations.Words) of blocks of rows."""
  for each in rows:
    step = max(1, _BLOCK // each.tokens_RL.shape[1])
    for begin in range(0, len(each), step):
      tokens_RL = each.tokens_RL[begin : begin + step]
      yield (
        tokens_RL,
        collocations.words(tokenizer, tokens_RL, each.starts_RS[begin : begin + step]),
      )


def _write_words(tokenizer, rows, level, path):
  """Writes the number of each word, and a 0 between two runs; returns {number: pieces}."""
  pieces = {}
  with open(path, 'wb') as file:
    for tokens_RL, found in _words(tokenizer, rows):
      number_W = np.where(found.letters_W, level.numbers(found.hash_W), 0).astype(np.uint32)
      apart_W = np.zeros(len(number_W) + int((~found.follows_W).sum()), np.uint32)
      apart_W[np.arange(len(number_W)) + np.cumsum(~found.follows_W)] = number_W
      file.write(apart_W.data)
      tokens_T = tokens_RL.reshape(-1)
      for number, word in zip(*np.unique(number_W, return_index=True)):
        if number and number not in pieces:
          first = found.first_W[word]
          pieces[int(number)] = tokens_T[first : first + found.tokens_W[word]].astype(np.int32)
  return pieces


def _pairs(path):
  """Yields uint64 blocks: at each place the numbers there and after it as one; 0 if one is 0."""
  size = path.stat().st_size // 4
  number_W = np.memmap(path, np.uint32, 'r') if size else np.zeros(0, np.uint32)
  for begin in range(0, size, _BLOCK):
    block = np.append(number_W[begin : begin + _BLOCK + 1], np.uint32(0)).astype(np.uint64)
    first, second = block[:-1][:_BLOCK], block[1:][:_BLOCK]
    yield np.where((first > 0) & (second > 0), first << np.uint64(32) | second, 0)


class _Counter:
  """Counts 64-bit keys in files, one for each part of the keys: memory holds one part."""

  _DTYPE = np.dtype([('key', '<u8'), ('count', '<u4')])

  def __init__(self, folder, expected):
    self._parts = min(_MOST_PARTS, -(-max(1, expected) // _PART))
    self._paths = [folder / f'counted.{part}' for part in range(self._parts)]
    self._files = [open(path, 'wb') for path in self._paths]

  def add(self, keys):
    """Counts one block of keys."""
    keys, counts = np.unique(keys, return_counts=True)
    # A key is always of one part. Mixed, since the keys are numbers that would fill parts unevenly.
    part = (keys * _MIX >> np.uint64(32)) % np.uint64(self._parts)
    order = np.argsort(part, kind='stable')
    records = np.empty(len(keys), self._DTYPE)
    records['key'], records['count'] = keys[order], counts[order]
    ends = np.cumsum(np.bincount(part.astype(np.int64), minlength=self._parts))
    for file, begin, end in zip(self._files, [0, *ends], ends):
      file.write(records[begin:end].data)

  def frequent(self):
    """Returns (keys, counts) of what was counted often enough, ascending; removes the files."""
    found = []
    for path, file in zip(self._paths, self._files):
      file.close()
      found.append(self._often(np.fromfile(path, self._DTYPE)))
      path.unlink()
    keys, counts = map(np.concatenate, zip(*found))
    order = np.argsort(keys)
    return keys[order], counts[order]

  def _often(self, records):
    # A key has a record for each block that it occurred in: sorted, they are added up.
    keys, counts = records['key'].copy(), records['count'].astype(np.int64)
    order = np.argsort(keys)
    keys, counts = keys[order], counts[order]
    begins = (
      np.flatnonzero(np.append(True, keys[1:] != keys[:-1])) if len(keys) else np.zeros(0, np.int64)
    )
    counts = np.add.reduceat(counts, begins) if len(begins) else counts
    often = counts >= LEAST
    return keys[begins][often], counts[often]


# Choosing


def _best(levels, n, size):
  """Returns (numbers of their words [m, n], counts, scores) of the best n-grams of n words."""
  number_N = np.arange(1, len(levels[n].keys_N) + 1)
  part = _parts(levels, n, number_N)
  log_p = {(i, j): levels[j - i].log_p_N[number - 1] for (i, j), number in part.items()}
  best = [np.zeros(len(number_N))]  # of the first j words, over all ways to cut them
  # By dynamic programming. The score is the least over the cuts of 2 log p - sum log p(part),
  # so it takes the greatest sum; the n-gram as a whole, (0, n), is not a cut.
  for j in range(1, n + 1):
    best.append(np.max([best[i] + log_p[i, j] for i in range(j) if (i, j) != (0, n)], axis=0))
  score_N = 2 * log_p[0, n] - best[n]
  order = np.lexsort((number_N, -score_N))[:size]
  words_NW = np.stack([part[i, i + 1] for i in range(n)], axis=1)
  return words_NW[order], levels[n].counts_N[order], score_N[order]


def _parts(levels, n, number_N):
  """Returns {(i, j): the number of the words i to j of each n-gram}, itself and its parts."""
  # From the whole down: each part's two ends are the parts that are one word shorter.
  part = {(0, n): number_N}
  for length in range(n, 1, -1):
    for i in range(n - length + 1):
      part[i, i + length - 1], part[i + 1, i + length] = levels[length].ends(part[i, i + length])
  return part
