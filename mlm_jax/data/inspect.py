"""A prepared corpus as lines of text: sizes, drops, histograms, pieces, n-grams, marks, pairs, some
rows.
"""

import collections
from collections.abc import Iterator
import itertools

import numpy as np

from mlm_jax.data import statistics as statistics_lib
from mlm_jax.data import store
from mlm_jax.data.annotations import collocations
from mlm_jax.data.corpus import clean

_BAR = 40  # characters of the longest bar
_MOST = 24  # pieces, n-grams and characters that are shown
_SHOWN_ROWS = 3  # of each source
_SHOWN_TEXT = 300  # characters of a segment
_SCANNED = 20_000  # rows of each source in which bytes are read
_BEST = 10  # collocations of each length


def lines(prepared: store.Prepared) -> Iterator[str]:
  """Yields what there is to see of a store.Prepared."""
  settings = prepared.manifest['settings']
  yield f'{prepared.directory} ({prepared.fingerprint[:12]})'
  yield (
    f'tokenizer {settings["tokenizer"]} of {prepared.tokenizer.size:,} pieces, rows of '
    f'{prepared.row_length}, documents by {settings["document"]}'
  )
  for part in (
    _sizes,
    _rules,
    _lengths,
    _fills,
    _pieces,
    _fallback,
    _ngrams,
    _collocations,
    _classes,
    _pairs,
    _rows,
  ):
    for number, line in enumerate(part(prepared)):
      if not number:
        yield ''
      yield line


def _sizes(prepared):
  words_S = prepared.statistics.words_S
  table: list[tuple[str, ...]] = [
    (
      'source',
      'split',
      'documents',
      'characters',
      'pieces',
      'rows',
      'tokens',
      'fill',
      'pieces/word',
      'characters/piece',
    )
  ]
  for source, words in zip(prepared.manifest['sources'], words_S):
    for split in store.SPLITS:
      entry = source[split]
      per_word = f'{entry["pieces"] / words:.2f}' if split == 'train' and words else ''
      table.append(
        (
          source['name'],
          split,
          *(f'{entry[key]:,}' for key in ('documents', 'characters', 'pieces', 'rows', 'tokens')),
          f'{entry["fill"]:.1%}',
          per_word,
          f'{entry["characters"] / max(1, entry["pieces"]):.2f}',
        )
      )
  yield from _aligned(table, left=2)


def _rules(prepared):
  table = [('source', 'rule', 'documents', 'characters', 'did')]
  for source in prepared.manifest['sources']:
    for rule, entry in source['rules'].items():
      if entry['documents']:
        table.append(
          (
            source['name'],
            rule,
            f'{entry["documents"]:,}',
            f'{entry["characters"]:,}',
            'drop' if rule in clean.DROPPING else 'change',
          )
        )
  read = sum(source['documents_read'] for source in prepared.manifest['sources'])
  yield f'rules, of {read:,} documents read' + (
    '' if len(table) > 1 else ': none had anything to do'
  )
  yield from _aligned(table if len(table) > 1 else [], left=2)


def _lengths(prepared):
  counts_K = prepared.statistics.lengths_SK.sum(axis=0)
  yield 'training documents by their pieces'
  names = [f'{2**k:,} to {2 ** (k + 1) - 1:,}' if k else '1' for k in range(len(counts_K))]
  yield from _bars(names, counts_K)


def _fills(prepared):
  counts_F = prepared.statistics.fills_SF.sum(axis=0)
  yield 'training rows by the share that is filled'
  step = 100 // statistics_lib.FILLS
  yield from _bars([f'{f * step} to {(f + 1) * step} %' for f in range(len(counts_F))], counts_F)


def _pieces(prepared):
  # Special pieces would be the most common of all, and are no part of the text.
  ordinary_V = prepared.counts_V.copy()
  ordinary_V[list(prepared.tokenizer.special_ids)] = 0
  unused = int((ordinary_V == 0).sum()) - len(prepared.tokenizer.special_ids)
  yield f'most common pieces ({unused:,} of {prepared.tokenizer.size:,} never occur)'
  order = np.argsort(-ordinary_V, kind='stable')[:_MOST]
  yield from _listed(prepared, ((i,) for i in order), ordinary_V[order])


def _fallback(prepared):
  tokenizer = prepared.tokenizer
  total = sum(int(prepared.counts_V[i]) for i in tokenizer.byte_ids)
  pieces = sum(source['train']['pieces'] for source in prepared.manifest['sources'])
  unknown = 0 if tokenizer.unk_id is None else int(prepared.counts_V[tokenizer.unk_id])
  share = total / max(1, pieces)
  yield f'unknown pieces: {unknown:,}; bytes: {total:,} ({share:.3%} of all pieces)'
  if total:
    spelled, rows = _spelled(prepared)
    shown = ', '.join(f'{_named(text)} {count:,}' for text, count in spelled.most_common(_MOST))
    yield f'  what the bytes spell in {rows:,} rows: {shown}'


def _spelled(prepared):
  """Returns (Counter of the characters that bytes spell, the rows read)."""
  tokenizer = prepared.tokenizer
  # Only in some rows, since every token must be looked at; bytes side by side spell characters
  # together.
  is_byte_V = np.zeros(tokenizer.size, bool)
  is_byte_V[list(tokenizer.byte_ids)] = True
  spelled, scanned = collections.Counter(), 0
  for rows in prepared.train:
    chosen = _spread(len(rows), _SCANNED)
    scanned += len(chosen)
    for row in rows.tokens_RL[chosen]:
      at = np.flatnonzero(is_byte_V[row])
      for run in np.split(row[at], np.flatnonzero(np.diff(at) > 1) + 1) if len(at) else ():
        spelled.update(tokenizer.decode(run))
  return spelled, scanned


def _ngrams(prepared):
  statistics = prepared.statistics
  for name, ids_Nn, counts_N, missed in (
    ('pairs', statistics.bigrams_N2, statistics.bigram_counts_N, statistics.missed_2[0]),
    ('triples', statistics.trigrams_N3, statistics.trigram_counts_N, statistics.missed_2[1]),
  ):
    yield f'most common {name} of pieces' + (
      f' (counts may be {missed:,} too low)' if missed else ''
    )
    yield from _listed(prepared, ids_Nn[:_MOST], counts_N[:_MOST])


def _listed(prepared, grams, counts):
  """Yields pieces or n-grams with their counts, in columns."""
  cells = [
    f'{" ".join(_named(prepared.tokenizer.piece(i)) for i in gram)} {count:,}'
    for gram, count in zip(grams, counts)
    if count
  ]
  columns = 4
  yield from _aligned([cells[i : i + columns] for i in range(0, len(cells), columns)], left=columns)


def _collocations(prepared):
  if prepared.joins is None:
    return
  entries = prepared.joins.entries
  shares = []
  for source in prepared.manifest['sources']:
    for split in store.SPLITS:
      counts = source[split]['collocations']
      shares.append(
        (
          source['name'],
          split,
          f'{counts["collocations"]:,}',
          f'{counts["words"] / max(1, counts["of_words"]):.1%}',
          f'{counts["tokens"] / max(1, source[split]["pieces"]):.1%}',
        )
      )
  yield f'{len(entries.words_N):,} collocations, and how much of the text is in one'
  yield from _aligned([('source', 'split', 'found', 'words', 'pieces'), *shares], left=2)
  pieces = entries.pieces()
  columns = []
  for n, candidates in zip(collocations.WORDS, entries.candidates_4):
    number_M = np.flatnonzero(entries.words_N == n)
    named = [
      f'{_named(prepared.tokenizer.decode(pieces[i]))} {entries.counts_N[i]:,}'
      for i in number_M[:_BEST]
    ]
    columns.append([f'{n} words, {len(number_M):,} of {candidates:,}:', *named])
  yield 'the best of each length, and how often they occur in training'
  yield from _aligned(list(itertools.zip_longest(*columns, fillvalue='')), left=len(columns))


def _classes(prepared):
  if not prepared.classes:
    return
  counts_C = np.zeros(len(prepared.classes), np.int64)
  for source in prepared.manifest['sources']:
    counts_C += [source['train']['classes'][name] for name in prepared.classes]
  pieces = max(1, sum(source['train']['pieces'] for source in prepared.manifest['sources']))
  none = 1 - counts_C.sum() / pieces
  yield f'classes of words, and their share of the training pieces ({none:.1%} have none)'
  yield from _aligned(
    [
      (name, f'{count:,}', f'{count / pieces:.2%}')
      for name, count in zip(prepared.classes, counts_C)
    ],
    left=1,
  )


def _pairs(prepared):
  kind = prepared.manifest['settings']['pairs']
  if not kind:
    return
  yield f'pairs of sentences ({kind}), and the pieces of the documents that are in none'
  table: list[tuple[str, ...]] = [('source', 'split', 'right', 'wrong', 'left out')]
  for source in prepared.manifest['sources']:
    for split in store.SPLITS:
      counts = source[split]['pairs'].values()
      table.append((source['name'], split, *(f'{count:,}' for count in counts)))
  yield from _aligned(table, left=2)


def _rows(prepared):
  tokenizer = prepared.tokenizer
  for name, rows in zip(prepared.sources, prepared.train):
    for number in _spread(len(rows), _SHOWN_ROWS):
      row, starts = rows.tokens_RL[number], rows.starts_RS[number]
      begins = starts[starts >= 0]  # -1 where unused
      filled = int((row != tokenizer.pad_id).sum())
      yield f'{name}, row {number}: {filled} of {len(row)} tokens in {len(begins)} segments'
      for begin, end in zip(begins, np.append(begins[1:], len(row))):
        for mark, text in zip('|+', _texts(row[begin:end], tokenizer)):
          cut = text[:_SHOWN_TEXT] + ('...' if len(text) > _SHOWN_TEXT else '')
          yield f'  {mark} {"".join(_named(c) if c != " " else c for c in cut)}'


def _texts(segment, tokenizer):
  """Yields the text of a segment; of a pair the texts of both its sentences."""
  for part in np.split(segment, np.flatnonzero(segment == tokenizer.sep_id)):
    ordinary = part[~np.isin(part, tokenizer.special_ids)]
    if len(ordinary):
      yield tokenizer.decode(ordinary)


def _spread(number, most):
  """Returns `most` of the numbers below `number`, or all, evenly spread."""
  n = min(number, most)
  return np.arange(n) * number // max(1, n)


def _named(text):
  """Returns a text in which what a terminal does not show is written as its code."""
  return ''.join(c if c.isprintable() else f'<{ord(c):04X}>' for c in text)


def _bars(names, counts):
  """Yields a bar for each count, from the first that is not 0 to the last."""
  there = np.flatnonzero(counts)
  if not len(there):
    return
  shown = range(there[0], there[-1] + 1)
  bars = ['#' * int(np.ceil(_BAR * counts[i] / counts.max())) for i in shown]
  yield from _aligned([(names[i], f'{counts[i]:,}', bar) for i, bar in zip(shown, bars)], left=0)


def _aligned(table, left):
  """Yields the rows of a table in columns, the first `left` of them and bars to the left."""
  widths = [
    max(len(row[i]) for row in table if i < len(row))
    for i in range(max(map(len, table), default=0))
  ]
  for row in table:
    cells = [
      cell.ljust(width) if i < left or cell.startswith('#') else cell.rjust(width)
      for i, (cell, width) in enumerate(zip(row, widths))
    ]
    yield '  ' + '  '.join(cells).rstrip()
