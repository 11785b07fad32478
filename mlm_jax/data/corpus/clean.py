"""Cleaning: bytes to text, then each document through an ordered list of rules.

The rules, in order, each with its setting in `config.data`:

  decoding            UTF-8, with or without a byte-order mark; every line end
                      becomes a newline; a byte that is not UTF-8 becomes U+FFFD
  unicode             NFC, NFKC (see `normal_forms`) or none
  control_characters  those of category Cc that are not white space, and U+FEFF,
                      are removed
  boundary_mark       U+2581, which SentencePiece uses for a space, becomes an
                      underscore, since encoding could not be undone
  white_space         every run becomes one space, none at either end
  min_characters      a shorter document is dropped; an empty one always
  max_characters      a longer document is dropped
  max_repetition      a document is dropped when a larger share of its characters are in
                      a stretch of 20 that it has had before
  max_symbols         a document is dropped when a larger share of its characters are
                      neither letters, marks, numbers, white space nor format characters

Repetition is measured by characters, not by words or lines as in Gopher's filters
(arXiv:2112.11446, A.1), so that it needs no spaces. English prose of 4,000 characters
repeats 1 % of them, one block in a hundred more than 6 %. Where they are on, both filters
together take about .1 s of processor time a million characters.

What `prepare` drops after these, counted in the same way:

  duplicates          a document that equals an earlier one (see `duplicates`)
  near_duplicates     a training document that resembles another (see `near_duplicates`)
"""

import codecs
from collections.abc import Iterable
from collections.abc import Iterator
import io
import re
from typing import Any

import numpy as np

from mlm_jax.data.corpus import characters
from mlm_jax.data.corpus import normal_forms

DROPPING = (
  'min_characters',
  'max_characters',
  'max_repetition',
  'max_symbols',
  'duplicates',
  'near_duplicates',
)
RULES = ('decoding', 'unicode', 'control_characters', 'boundary_mark', 'white_space', *DROPPING)

_UNDECODED = re.compile('[\ud800-\udfff]')
# Without \t to \r, \x1c to \x1f and \x85, which are white space to Python.
CONTROL = re.compile('[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ufeff]')
_NOT_TEXT = re.compile('[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\udc80-\udcff]')
BOUNDARY_MARK = '\u2581'
_NOT_TEXT_SHARE = 0.3  # of the characters at a file's beginning, above which it is skipped
_REPEATED = 20  # characters: about 4 words of English, 12 of Chinese
_STRETCH = 1 << 20  # characters that repetition is looked for in: bounds the memory


class Counts:
  """How many documents and characters each rule touched or dropped.

  Attributes:
    touched: {rule: [documents, characters]}. The characters are those removed
      (control_characters, white_space), replaced (decoding, boundary_mark) or
      dropped with their document; for unicode, all those of the documents that
      changed. For decoding, files are counted in place of documents.
  """

  def __init__(self):
    self.touched = {rule: [0, 0] for rule in RULES}

  def add(self, rule: str, characters: int) -> None:
    entry = self.touched[rule]
    entry[0] += 1
    entry[1] += characters


def decode(chunks: Iterable[bytes], counts: Counts) -> Iterator[str]:
  """Yields the text of an iterable of UTF-8 bytes, chunk by chunk.

  Args:
    chunks: bytes of one file, cut anywhere.
    counts: Counts; takes the number of bytes that were not UTF-8.
  """
  # 'utf-8-sig' takes the byte-order mark off; 'surrogateescape' makes each bad byte one surrogate,
  # so that they can be counted. Both decoders wait for what a chunk's end has cut in two.
  decoder = io.IncrementalNewlineDecoder(
    codecs.getincrementaldecoder('utf-8-sig')('surrogateescape'), translate=True
  )
  bad = 0
  for chunk in chunks:
    text, n = replace_surrogates(decoder.decode(chunk))
    bad += n
    yield text
  text, n = replace_surrogates(decoder.decode(b'', final=True))
  yield text
  if bad + n:
    counts.add('decoding', bad + n)


def replace_surrogates(text: str) -> tuple[str, int]:
  """Returns (text without lone surrogates, which cannot be written, their number)."""
  if text.isascii():
    return text, 0
  return _UNDECODED.subn('\ufffd', text)


def is_text(head: bytes) -> bool:
  """Whether the first bytes of a file look like text: few of them are not characters."""
  text = head.decode('utf-8', 'surrogateescape')
  return len(_NOT_TEXT.findall(text)) <= _NOT_TEXT_SHARE * len(text)


def given(text: str, data: Any) -> str:
  """Returns a text that is given by hand, cleaned as a document of the data would be."""
  return normalize(replace_surrogates(text)[0], data)


def normalize(text: str, data: Any, counts: Counts | None = None) -> str:
  """Returns one document with every rule applied that changes characters.

  Args:
    text: str.
    data: `config.data`.
    counts: Counts to add to, or None.

  Returns:
    The cleaned text; the same again when cleaned again.
  """
  counts = counts or Counts()
  if data.unicode != 'none':
    normal = normal_forms.normalize(text, data.unicode)
    if normal != text:
      counts.add('unicode', len(normal))
    text = normal
  if data.control_characters == 'remove':
    text = _replace(CONTROL, '', text, counts, 'control_characters')
    # Removing a character can bring two together that compose.
    if data.unicode != 'none':
      text = normal_forms.normalize(text, data.unicode)
  if data.boundary_mark == 'replace' and BOUNDARY_MARK in text:
    counts.add('boundary_mark', text.count(BOUNDARY_MARK))
    text = text.replace(BOUNDARY_MARK, '_')
  if data.white_space == 'collapse':
    collapsed = ' '.join(text.split())
    if collapsed != text:
      counts.add('white_space', len(text) - len(collapsed))
    text = collapsed
  return text


def _replace(pattern, by, text, counts, rule):
  text, n = pattern.subn(by, text)
  if n:
    counts.add(rule, n)
  return text


def document(text: str, data: Any, counts: Counts) -> str | None:
  """Returns one document cleaned, or None where a rule drops it."""
  text = normalize(text, data, counts)
  rule = _dropped_by(text, data)
  if rule:
    counts.add(rule, len(text))
    return None
  return text


def _dropped_by(text, data):
  """Returns the first rule that drops a cleaned document, or None."""
  if len(text) < max(1, data.min_characters) or text.isspace():
    return 'min_characters'
  if data.max_characters and len(text) > data.max_characters:
    return 'max_characters'
  # A share never exceeds 1, so at 1 it need not be known.
  if data.max_repetition < 1 and repetition(text) > data.max_repetition:
    return 'max_repetition'
  if data.max_symbols < 1 and symbols(text) > data.max_symbols:
    return 'max_symbols'
  return None


def repetition(text: str) -> float:
  """Returns the share of characters inside a window of 20 that occurred before in the text.

  A text repeated k times over has about (k - 1) / k. It is looked for in stretches of
  2**20 characters, each on its own, with some 40 bytes of memory a character.
  """
  codes_N = characters.codes(text)
  repeated = sum(
    _repeated(codes_N[begin : begin + _STRETCH]) for begin in range(0, len(codes_N), _STRETCH)
  )
  return repeated / max(1, len(codes_N))


def _repeated(codes_N):
  """Returns how many characters are in a window that occurred before."""
  hashes = characters.windows(codes_N, _REPEATED)
  # np.unique gives the first place of each hash: all other windows occurred before.
  again = np.ones(len(hashes), bool)
  again[np.unique(hashes, return_index=True)[1]] = False
  changes = np.zeros(len(codes_N) + 1, np.int64)
  # +1 where such a window begins, -1 after its end: their running sum counts those at a place.
  changes[: len(hashes)] += again
  changes[len(codes_N) + 1 - len(hashes) :] -= again
  return int((np.cumsum(changes) > 0).sum())


def symbols(text: str) -> float:
  """Returns the share of characters that are symbols (see `characters.symbols`)."""
  return float(characters.symbols()[characters.codes(text)].mean()) if text else 0.0
