"""The tokenizer.json of the `tokenizers` library: text to ids.

Known are WordPiece, byte-level BPE, and Unigram or BPE with Metaspace. Normalisation (lower case
and the like) is the file's own, after our cleaning; what the file puts around a text is left out.

The library takes the name of a special piece in a text for that piece. So that no text can
forge those that rows are made with, they go by names here that no text has. Other added tokens are
found as the file says.
"""

from collections.abc import Sequence
import functools
import itertools
import json
import re
from typing import Any

import numpy as np
import tokenizers

from mlm_jax import config
from mlm_jax.data.tokenizers import base
from mlm_jax.data.tokenizers import json_documents
from mlm_jax.data.tokenizers import scripts
from mlm_jax.data.tokenizers.base import BOUNDARY_MARK
from mlm_jax.data.tokenizers.base import BYTE
from mlm_jax.data.tokenizers.base import MASK
from mlm_jax.data.tokenizers.base import NAMES

_STRETCH = 1 << 18  # characters encoded at once: bounds the memory of a long document
_UNMATCHED = 200 * '\U0010ffff'  # noncharacters, and more than a WordPiece takes for a word
_FIRST_BYTES = re.compile('<0xE[0-9A-F]>(<0x[89AB][0-9A-F]>)?')  # of characters of three bytes
_IN_UTF8 = frozenset(range(256)) - {0xC0, 0xC1, *range(0xF5, 256)}


def looks_like(model: bytes) -> bool:
  """Whether the bytes of a model begin as a tokenizer.json does."""
  return bool(re.match(rb'\s*\{\s*"', model))


class Json(base.Tokenizer):
  """A base.Tokenizer of the bytes of a tokenizer.json.

  Attributes:
    kind: 'wordpiece', 'byte_level' or 'metaspace'.
    model_type: what the library calls its model, such as 'WordPiece'.
  """

  def __init__(self, model: bytes, name: str = 'the tokenizer', threads: int = 1):
    """Takes the bytes of a tokenizer.json.

    Raises:
      UserError: they are not one, of a kind that is not known, or without a special piece.
    """
    self._threads = threads
    plain = _library(model, name)
    document, ids = _bare(model), plain.get_vocab()
    for each in document['added_tokens']:
      if ids[each['content']] != each['id']:
        raise config.UserError(
          f'{name}: the added token {each["content"]} has the id {each["id"]}; ids of '
          'added tokens must follow those of the vocabulary without a gap'
        )
    self.model_type = type(plain.model).__name__
    self.kind = kind = _kind(document, self.model_type, name)
    # None for `unk` alone, which a byte-level vocabulary can do without.
    names: dict[str, Any] = {
      role: _special_name(role, document['model'], kind, ids, name) for role in NAMES
    }
    special = {each['content'] for each in document['added_tokens'] if each['special']}
    roles = set(names.values()) - {None}
    special |= roles
    self._mask, self._others = names['mask'], roles - {names['mask']}
    # A mask is just these letters here.
    letters = _without(document, {'Regex': re.escape(self._mask)})
    self._library = _library(_renamed(letters, _hidden(roles)), name)
    self._in_parts = not _looks_at_ends(document)
    pieces, byte_ids = _pieces(document, kind, ids, special)
    # An id that no piece has is never drawn.
    special_ids = {ids[each] for each in special} | set(range(len(pieces))) - set(ids.values())
    ids_of = {role: None if each is None else ids[each] for role, each in names.items()}
    super().__init__(
      model,
      name,
      pieces,
      ids_of,
      special_ids,
      byte_ids - special_ids,
      is_prefixed=kind == 'wordpiece' or _puts_space(document),
    )
    # White space after such a token is part of it: no mark tells where the next word starts.
    stripped = [each['id'] for each in document['added_tokens'] if each['rstrip']]
    self.ends_V[stripped] = True
    if kind == 'byte_level':
      # Such scripts are often cut inside characters, and would else be words without end.
      self.starts_V[[i for i in self.byte_ids if _begins_apart(pieces[i])]] = True

  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    parts = [self._parts(text) for text in texts]
    ids = iter(self._encode([part for each in parts for part in each]))
    return [np.concatenate(list(itertools.islice(ids, len(each)))) for each in parts]

  def _parts(self, text):
    """Returns a text in parts that are cut before spaces, where pieces end."""
    cuts = [0]
    while self._in_parts and (cut := text.find(' ', cuts[-1] + _STRETCH)) >= 0:
      cuts.append(cut)
    return [text[begin:end] for begin, end in itertools.pairwise([*cuts, len(text)])]

  def _encode(self, texts):
    """Encodes with the library's own threads, one for each core, unless a single one is set."""
    library = self._library
    encodings = (
      library.encode_batch_fast(texts) if self._threads > 1 else map(library.encode, texts)
    )
    return [np.array(each.ids, np.int32) for each in encodings]

  def encode_with_places(self, text: str) -> tuple[np.ndarray, np.ndarray]:
    parts = self._parts(text)
    firsts = np.cumsum([0] + [len(part) for part in parts])
    encodings = [self._library.encode(part) for part in parts]
    offsets = [
      (first + begin, first + end)
      for each, first in zip(encodings, firsts)
      for begin, end in each.offsets
    ]
    ids = np.array([i for each in encodings for i in each.ids], np.int32)
    begins = (
      self._begins(ids, offsets) if self.kind == 'metaspace' else [begin for begin, _ in offsets]
    )
    return ids, base.next_letters(text)[np.array(begins, np.int64)]

  def _begins(self, ids, offsets):
    """Returns where each piece begins.

    Characters in a row that are spelled in bytes share their offsets.
    """
    # In one such range each byte begins the next character, unless it continues one, as in UTF-8
    # 80 to BF do (hexadecimal digits sort as their numbers).
    begins, before = [], None
    for i, (begin, end) in zip(ids, offsets):
      is_byte = int(i) in self._bytes
      continues = is_byte and '<0x80>' <= self._pieces[i] < '<0xC0>'
      same = is_byte and (begin, end) == before
      begins.append(min(begins[-1] + (not continues), end - 1) if same else begin)
      before = (begin, end) if is_byte else None
    return begins

  def encode_with_masks(self, text: str) -> list[int]:
    library, name = self._with_masks
    return library.encode(text.replace(MASK, name)).ids

  @functools.cached_property
  def _with_masks(self):
    """(The library that finds a mask, and does beside it what the file says; the mask's name)."""
    document = _bare(self.model)
    tokens = {each['content']: each for each in document['added_tokens']}
    # A mask that the file does not list among its added tokens would not be found.
    if self._mask not in tokens:
      document['added_tokens'].append(json_documents.added_token(self._mask, self.mask_id))
      document['added_tokens'].sort(key=lambda each: each['id'])
    names = _hidden(self._others)
    # One that is looked for in the normalised text is called so by the normalizer too.
    if tokens.get(self._mask, {}).get('normalized'):
      return _library(_renamed(document, names), 'the tokenizer'), self._mask
    return _library(_renamed(document, names | {self._mask: MASK}), 'the tokenizer'), MASK

  def text_of(self, i: int) -> str:
    return self._plain.decode([i], skip_special_tokens=False)

  @functools.cached_property
  def _plain(self):
    """The library with the file as it is."""
    return _library(self.model, 'the tokenizer')


def _library(model, name):
  """Returns the tokenizers.Tokenizer of the bytes, or the document, of a tokenizer.json."""
  try:
    return tokenizers.Tokenizer.from_buffer(
      json.dumps(model).encode() if isinstance(model, dict) else model
    )
  except Exception as error:  # the library raises just that
    raise config.UserError(f'{name} is not a tokenizer.json, or is damaged ({error})') from error


def _bare(model):
  """Returns the part of a tokenizer.json that makes ids of a text; the library has read it."""
  # Keys that a file may lack; one that it has comes last and so wins.
  document = (
    dict.fromkeys(('normalizer', 'pre_tokenizer')) | {'added_tokens': []} | json.loads(model)
  )
  document |= dict.fromkeys(('truncation', 'padding', 'post_processor'))
  if 'dropout' in document['model']:
    document['model']['dropout'] = None  # it would cut the same text otherwise each time
  return document


def _without(document, pattern):
  """Returns a document without the normalizer that replaces a pattern."""
  normalizer = document['normalizer']
  if not normalizer or normalizer['type'] != 'Sequence':
    return document
  left = [each for each in normalizer['normalizers'] if each.get('pattern') != pattern]
  return document | {'normalizer': normalizer | {'normalizers': left}}


def _stages(document):
  """Yields the normalisers and pre-tokenizers, those in sequences one by one."""
  left = [document['normalizer'], document['pre_tokenizer']]
  while left:
    stage = left.pop(0) or {}
    inner = stage.get('normalizers') or stage.get('pretokenizers') or []
    left = [*inner, *left]
    if stage and not inner:
      yield stage


def _kind(document, model, name):
  """Returns 'wordpiece', 'byte_level' or 'metaspace'; UserError for what is none of them."""
  types = {stage['type'] for stage in _stages(document)}
  written = {'Metaspace': 'replacement', 'Replace': 'content'}  # for a space
  has_mark = any(
    stage.get(written.get(stage['type'])) == BOUNDARY_MARK for stage in _stages(document)
  )
  if model == 'WordPiece':
    return 'wordpiece'
  if model == 'BPE' and not (
    document['model'].get('continuing_subword_prefix')
    or document['model'].get('end_of_word_suffix')
  ):
    if 'ByteLevel' in types:
      return 'byte_level'
    if has_mark:
      return 'metaspace'
  if model == 'Unigram' and has_mark:
    return 'metaspace'
  raise config.UserError(
    f'{name}: a {model} tokenizer that marks words as this one does is not known; give '
    'a WordPiece, a byte-level BPE, or a Unigram or BPE with Metaspace'
  )


def _special_name(role, model, kind, ids, name):
  """Returns the name of a special piece, None where no unknown piece is needed."""
  found = next((each for each in NAMES[role] if each in ids), None)
  if role == 'unk' and not _spells_all(model, kind, ids):
    # What the model itself says; without it the library drops what it cannot spell.
    found = model.get('unk_token')
    if isinstance(model['vocab'], list) and model.get('unk_id') is not None:
      found = model['vocab'][model['unk_id']][0]
  if found in ids or role == 'unk' and _spells_all(model, kind, ids):
    return found
  raise base.missing(name, role, 'among its tokens')


def _spells_all(model, kind, ids):
  """Whether the pieces have every byte that a text can have."""
  if kind == 'byte_level':
    return {_byte_of()[each] for each in ids if each in _byte_of()} >= _IN_UTF8
  return bool(model.get('byte_fallback')) and all(f'<0x{byte:02X}>' in ids for byte in _IN_UTF8)


def _hidden(names):
  return {each: each + _UNMATCHED for each in names}


def _renamed(document, names):
  """Returns a document with other names for some pieces, as {name: other name} says."""
  model, vocab = document['model'], document['model']['vocab']
  if isinstance(vocab, dict):
    vocab = {names.get(each, each): i for each, i in vocab.items()}
  else:
    vocab = [(names.get(each, each), score) for each, score in vocab]
  unknown = (
    {'unk_token': names.get(model['unk_token'], model['unk_token'])}
    if model.get('unk_token')
    else {}
  )
  renamed = lambda each: each | {'content': names[each['content']], 'normalized': False}
  tokens = [
    renamed(each) if each['content'] in names else each for each in document['added_tokens']
  ]
  return document | {'model': model | {'vocab': vocab} | unknown, 'added_tokens': tokens}


def _puts_space(document):
  """Whether a space is put before a text that has none there."""
  return any(
    stage['type'] == 'Prepend'
    or stage.get('content') == ' '
    and json_documents.SPACE_BEFORE in stage.get('pattern', {}).get('Regex', '')
    or stage['type'] == 'ByteLevel'
    and stage.get('add_prefix_space', False)
    or stage['type'] == 'Metaspace'
    and stage.get('add_prefix_space', True)
    and stage.get('prepend_scheme', 'always') != 'never'
    for stage in _stages(document)
  )


def _looks_at_ends(document):
  """Whether a text is not the same when it is normalised part by part, each from a space on."""
  return any(
    stage['type'] == 'Prepend'
    or stage['type'] == 'Strip'
    and stage.get('strip_left')
    or '\\A' in stage.get('pattern', {}).get('Regex', '')
    for stage in _stages(document)
  )


def _pieces(document, kind, ids, special):
  """Returns (pieces in our notation, '' for holes; set of ids that hold a part of a character)."""
  added = {each['content']: each for each in document['added_tokens']}
  prefix = document['model'].get('continuing_subword_prefix', json_documents.PREFIX)
  pieces, byte_ids = [''] * (max(ids.values()) + 1), set()
  for each, i in ids.items():
    has_bytes = bool(document['model'].get('byte_fallback')) and bool(BYTE.fullmatch(each))
    if each in special:
      pieces[i] = each
    elif each in added and added[each]['lstrip']:
      # The space before it is part of it, as of a word.
      pieces[i] = BOUNDARY_MARK + each.lstrip(' ' + BOUNDARY_MARK).replace(' ', BOUNDARY_MARK)
    elif kind == 'wordpiece':
      pieces[i] = _wordpiece(each, prefix)
    elif kind == 'byte_level' and each not in added:
      pieces[i], has_bytes = _byte_level(each)
    else:
      pieces[i] = each.replace(' ', BOUNDARY_MARK)
    if has_bytes:
      byte_ids.add(i)
  return pieces, byte_ids


def _wordpiece(piece, prefix):
  # A WordPiece marks what continues a word; our notation marks what begins one.
  if piece.startswith(prefix) and piece != prefix:
    return piece[len(prefix) :]
  return piece if scripts.stands_apart(piece) else BOUNDARY_MARK + piece


def _byte_level(piece):
  """Returns (the piece in our notation, whether it holds a part of a character)."""
  if not all(each in _byte_of() for each in piece):
    return piece, False
  # A byte that is not part of a whole character becomes a surrogate, from which it is named.
  text = bytes(_byte_of()[each] for each in piece).decode('utf-8', 'surrogateescape')
  shown = re.sub('[\udc80-\udcff]', lambda found: f'<0x{ord(found[0]) - 0xDC00:02X}>', text)
  return shown.replace(' ', BOUNDARY_MARK), shown != text


def _begins_apart(piece):
  """Whether a piece is the first bytes of a character, mostly one of a script without spaces."""
  if not _FIRST_BYTES.fullmatch(piece):
    return False
  # UTF-8: the first of three bytes holds 4 bits of the code point, the others 6 each.
  first, *others = (int(byte, 16) for byte in BYTE.findall(piece))
  code = first & 0x0F
  for byte in others:
    code = code << 6 | byte & 0x3F
  left = 6 * (2 - len(others))  # bits that are yet to come
  # 64 code points, spread over all that begin so.
  codes = range(code << left, (code + 1) << left, 1 << left >> 6)
  return 2 * sum(scripts.without_spaces(chr(code)) for code in codes) > len(codes)


@functools.cache
def _byte_of():
  """Returns {character: byte} of byte-level pieces; `bytes_to_unicode` of GPT-2's encoder.py."""
  shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
  others = [byte for byte in range(256) if byte not in shown]
  return {chr(byte): byte for byte in shown} | {chr(256 + n): byte for n, byte in enumerate(others)}
