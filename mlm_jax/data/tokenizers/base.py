"""What every kind of tokenizer has in common: special pieces, the notation of pieces, words.

Pieces are written alike whichever library made them: \u2581 is the space before a word, <0xE3> a
byte that spells no character by itself. Where words start and end follows from that notation.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import hashlib
import re
from typing import Any

import numpy as np

from mlm_jax import config
from mlm_jax.core import vocabulary
from mlm_jax.data.corpus import clean
from mlm_jax.data.tokenizers import scripts

MASK = '[MASK]'
BOUNDARY_MARK = '\u2581'
# The names of the special pieces, ours first, then the other common ones.
NAMES = {
  'pad': ('[PAD]', '<pad>'),
  'unk': ('[UNK]', '<unk>'),
  'cls': ('[CLS]', '<s>'),
  'sep': ('[SEP]', '</s>'),
  'mask': (MASK, '<mask>'),
}
SPECIAL = tuple(names[0] for names in NAMES.values())
BYTE = re.compile('<0x([0-9A-F]{2})>')
_LAST_BYTE = re.compile('<0x[0-9A-F]{2}>$')


class Tokenizer:
  """A vocabulary and what masked language modelling needs to know of it; see `tokenizers.make`.

  A kind adds `encode_batch`, `encode_with_places` and `encode_with_masks`.

  Attributes:
    model: the bytes that it was made of; sha256: of these, in hexadecimal.
    size: ids up to the largest one, special ones included.
    pad_id, unk_id, cls_id, sep_id, mask_id: ids of the special pieces; unk_id is None where every
      text can be spelled and there is none.
    special_ids: sorted ids of these, of any other control piece, and of holes in the vocabulary.
    byte_ids: sorted ids of the pieces that hold a part of a character.
    starts_V, ends_V, closes_V: bool; see `vocabulary.Table`.
    letters_V: bool, the piece has a letter, mark or number, or a byte that may belong to one; a
      word without any is punctuation.
  """

  pad_id: int
  unk_id: int | None
  cls_id: int
  sep_id: int
  mask_id: int

  def __init__(
    self,
    model: bytes,
    name: str,
    pieces: Sequence[str],
    roles: Mapping[str, int | None],
    special_ids: Iterable[int],
    byte_ids: Iterable[int],
    is_prefixed: bool,
  ):
    """Takes what a kind has read from a model.

    Args:
      model: bytes.
      name: what errors call it.
      pieces: list of str, in the notation above; of special ones their names.
      roles: {'pad': id, ...} of each of NAMES; None for no unknown piece.
      special_ids, byte_ids: see above, in any order.
      is_prefixed: whether a text is encoded with a space before it, which decoding takes off.

    Raises:
      UserError: two special pieces share an id.
    """
    self.model, self.sha256 = model, hashlib.sha256(model).hexdigest()
    # A row could not be read: padding, [SEP] and [MASK] are recognised by their ids.
    if len(set(roles.values())) < len(roles):
      raise config.UserError(
        f'{name}: two special pieces share an id; train one with mlm-jax prepare'
      )
    for role, i in roles.items():
      setattr(self, f'{role}_id', i)
    self.size = len(pieces)
    self.special_ids, self.byte_ids = tuple(sorted(special_ids)), tuple(sorted(byte_ids))
    self._pieces, self._is_prefixed = pieces, is_prefixed
    self._special, self._bytes = frozenset(special_ids), frozenset(byte_ids)
    self.starts_V, self.ends_V = self._boundaries()
    self.closes_V = self._column(scripts.ends_sentence)
    self.letters_V = self._column(scripts.has_letters)
    for i in self.byte_ids:
      spelled = _spelled_bytes(pieces[i])
      # More than a byte may well spell a letter.
      self.letters_V[i] = not spelled.isascii() or scripts.has_letters(spelled.decode())

  def _boundaries(self):
    """Returns (starts_V, ends_V); bytes continue the word before them."""
    starts_V, ends_V = np.zeros((2, self.size), bool)
    for i, piece in enumerate(self._pieces):
      if i in self._special:  # no word reaches across one
        starts_V[i] = ends_V[i] = True
        continue
      # Bytes of a character that is cut belong to a word of which the rest is unknown: where they
      # are at the front the piece does not start a word, where at the end it does not end one.
      bare = piece.lstrip(BOUNDARY_MARK)
      whole = BYTE.sub('', bare) if i in self._bytes else bare
      is_apart = bool(whole) and scripts.stands_apart(whole)
      starts_V[i] = (
        piece.startswith(BOUNDARY_MARK) or is_apart and (whole == bare or not BYTE.match(bare))
      )
      ends_V[i] = is_apart and (whole == bare or not _LAST_BYTE.search(bare))
    return starts_V, ends_V

  def _column(self, is_so):
    """Returns bool_V: what is so of the text of each ordinary piece, False of the others."""
    return np.array(
      [i not in self._special and is_so(piece) for i, piece in enumerate(self._pieces)]
    )

  def piece(self, i: int) -> str:
    """Returns the piece of one id, in the notation of all kinds."""
    return self._pieces[int(i)]

  def text_of(self, i: int) -> str:
    """Returns what one id decodes to by itself, as `transformers` writes it."""
    return self.piece(i) if i in self._special else self._decode_run([i]).removeprefix(' ')

  def encode_text(self, text: str, data: Any, has_masks: bool = False) -> np.ndarray:
    """Returns int32 [CLS] ids [SEP] of a text as a user gives it.

    Args:
      text: str, not yet cleaned; one of nothing but white space gives [CLS] [SEP].
      data: `config.data`: how documents were cleaned, as the text is here.
      has_masks: whether [MASK] stands for a hidden token; else it is just these letters.
    """
    text = clean.given(text, data)
    ids = self.encode_with_masks(text) if has_masks else self.encode(text)
    return np.array([self.cls_id, *ids, self.sep_id], np.int32)

  def encode(self, text: str) -> list[int]:
    """Returns the ids of a cleaned text, without special pieces."""
    return self.encode_batch([text])[0].tolist()

  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    """Returns an int32 array of ids for each of the texts."""
    raise NotImplementedError

  def encode_with_places(self, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns (ids, int64 place_T) of a cleaned text: the ids of `encode`, and where each is.

    That is its first character that is not a space; for a piece of spaces alone the first one
    after them, or the length of the text. All pieces that spell one character are at it.
    """
    raise NotImplementedError

  def encode_with_masks(self, text: str) -> list[int]:
    """Returns the ids of a cleaned text in which [MASK] stands for hidden tokens.

    Of tokenizers trained here, a mask takes the place of a word together with the space before it,
    as words have it in running text: 'of [MASK].' becomes the ids of 'of', the mask and '.'. A
    tokenizer.json of others says itself what it does beside its mask.
    """
    raise NotImplementedError

  def decode(self, ids: Iterable[int]) -> str:
    """Returns the text of ids; control pieces are written by name, padding is left out.

    What a tokenizer's own normalisation lost, such as capitals, is lost; so are the spaces beside
    punctuation where a WordPiece does not keep them.
    """
    names = {i: self._pieces[i] for i in self._special if self._pieces[i] and i != self.pad_id}
    names |= {self.mask_id: MASK, self.cls_id: '[CLS]', self.sep_id: '[SEP]', self.unk_id: '[UNK]'}
    text, run = '', []
    for i in [int(i) for i in ids] + [None]:  # None: the end, which ends a run of pieces too
      if i is not None and i not in self._special:
        run.append(i)
        continue
      text += self._decode_run(run)
      run = []
      if i is not None and i in names:
        # A mask has taken the space before it, see `encode_with_masks`.
        text += ('' if text.endswith(' ') or not text else ' ') + names[i]
    return text.removeprefix(' ') if self._is_prefixed else text

  def _decode_run(self, ids):
    """Joins pieces verbatim, bytes put together; the libraries' own decoders drop spaces."""
    spelled = b''.join(
      _spelled_bytes(self.piece(i)) if i in self._bytes else self.piece(i).encode() for i in ids
    )
    return spelled.decode('utf-8', 'replace').replace(BOUNDARY_MARK, ' ')

  def table(
    self, counts_V: np.ndarray | None = None, classes: Sequence[str] = ()
  ) -> vocabulary.Table:
    """Returns the vocabulary.Table that the device needs."""
    return vocabulary.table(
      self.size,
      self.mask_id,
      self.special_ids,
      self.starts_V,
      self.ends_V,
      counts_V,
      self.closes_V,
      classes,
    )


def _spelled_bytes(piece):
  """Returns the bytes that a piece spells in which <0xE3> is a byte."""
  parts = BYTE.split(piece)  # text and hexadecimal digits in turn
  return b''.join(
    bytes([int(part, 16)]) if n % 2 else part.encode() for n, part in enumerate(parts)
  )


def next_letters(text: str) -> np.ndarray:
  """Returns int64 [characters + 1]: the first place from each on without a space, or the end."""
  # A running minimum from the right: each space takes the first place after it that is none.
  is_space_C = np.array([character.isspace() for character in text] + [False])
  index_C = np.arange(len(text) + 1)
  return np.minimum.accumulate(np.where(is_space_C, len(text), index_C)[::-1])[::-1]


def missing(name: str, role: str, how: str) -> config.UserError:
  """Returns the UserError for a model without one of the special pieces."""
  return config.UserError(
    f'{name} has no {role} piece; it must have {" or ".join(NAMES[role])} {how}, '
    "or set config.data.tokenizer to 'unigram' to train one"
  )
