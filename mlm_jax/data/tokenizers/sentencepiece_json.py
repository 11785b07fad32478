"""A SentencePiece model as the document of a tokenizer.json, which cuts texts as the model does.

Two models need care for that. One of unigrams prefers the cut whose scores sum up highest, and
rounding decides where two cuts are equally good, as of a ruled line: scores are multiples of a
power of two here, so that no sum is rounded. One of bpe merges the leftmost of
equally good pairs, which a list of merges cannot express for every piece: so the document, and not
SentencePiece, cuts the texts of a run too.
"""

import base64
from collections.abc import Iterable
from typing import Any

from mlm_jax import config
from mlm_jax.data.tokenizers import json_documents
from mlm_jax.data.tokenizers.base import BOUNDARY_MARK

UNIGRAM, BPE, WORD = 1, 2, 3  # trainer_spec.model_type
QUANTUM = 2.0**-10  # of unigrams' scores
# The names of bytes, as <0x0A>, are cut, since a text that has one would be taken for the byte.
BYTE_NAME = '<(?=0x[0-9A-F]{2}>)'
_APART = {
  'type': 'Split',
  'pattern': {'Regex': BYTE_NAME},
  'behavior': 'Isolated',
  'invert': False,
}
_UNMATCHED = '\U0010ffff'  # a noncharacter
_UNKNOWN = 10  # what both libraries take off the lowest score for an unknown character


def round_scores(proto: Any) -> None:
  """Makes the scores of unigrams multiples of a power of two."""
  types = proto.SentencePiece
  if proto.trainer_spec.model_type != UNIGRAM:
    return
  for piece in proto.pieces:
    piece.score = round(piece.score / QUANTUM) * QUANTUM
    # A piece of one character that is always cut out: as it is in no other piece, its score, which
    # SentencePiece makes up, decides nothing.
    if piece.type == types.USER_DEFINED and len(piece.piece) == 1:
      piece.type = types.NORMAL


def exact(proto: Any, special_ids: Iterable[int]) -> int:
  """Returns how many characters SentencePiece cuts as a document does.

  Of so many float32 sums the rounded scores without rounding. 0 where the two differ by more.

  Args:
    proto: ModelProto, after `round_scores`.
    special_ids: of the special pieces that no text has; a document finds the names of others.
  """
  types = proto.SentencePiece
  plain = {types.NORMAL, types.UNKNOWN, types.BYTE}
  others = {
    piece.type
    for i, piece in enumerate(proto.pieces)
    if piece.type not in plain and not (piece.type == types.CONTROL and i in special_ids)
  }
  normalizes = proto.normalizer_spec.precompiled_charsmap
  if proto.trainer_spec.model_type != UNIGRAM or others or normalizes or _crosses_spaces(proto):
    return 0
  return int(2**24 * QUANTUM / (_UNKNOWN - min(piece.score for piece in proto.pieces)))


def document(proto: Any, named: dict[str, tuple[str, int]]) -> bytes:
  """Returns the bytes of a tokenizer.json that puts no space before a text.

  Args:
    proto: ModelProto; after `round_scores`.
    named: {role: (name, id)} of the special pieces.

  Raises:
    UserError: a model of a kind that tokenizer.json cannot express.
  """
  types = proto.SentencePiece
  # The model's normalisation, compiled; empty in those that are trained here.
  charsmap = proto.normalizer_spec.precompiled_charsmap
  normalizer = {'type': 'Precompiled', 'precompiled_charsmap': base64.b64encode(charsmap).decode()}
  stage = {
    'type': 'Metaspace',
    'replacement': BOUNDARY_MARK,
    'prepend_scheme': 'never',
    # Pieces with a mark inside were trained across spaces: text must not be split there.
    'split': not _crosses_spaces(proto),
  }
  if any(each.type == types.BYTE for each in proto.pieces):
    stage = {'type': 'Sequence', 'pretokenizers': [_APART, stage]}
  # A user-defined piece of one character needs no entry: it is in no other piece, and the model
  # finds it by itself.
  others = [
    json_documents.added_token(each.piece, i) | {'special': each.type == types.CONTROL}
    for i, each in enumerate(proto.pieces)
    if (each.piece, i) not in named.values()
    and (each.type == types.CONTROL or each.type == types.USER_DEFINED and len(each.piece) > 1)
  ]
  return json_documents.document(
    _model(proto, named['unk']),
    normalizer if charsmap else None,
    stage,
    json_documents.METASPACE_DECODER,
    named,
    others,
  )


def _crosses_spaces(proto):
  normal = proto.SentencePiece.NORMAL
  return any(BOUNDARY_MARK in each.piece[1:] for each in proto.pieces if each.type == normal)


def _model(proto, unknown):
  """Returns the model of a document; `unknown` is (name, id)."""
  types = proto.SentencePiece
  has_bytes = any(each.type == types.BYTE for each in proto.pieces)
  kind = proto.trainer_spec.model_type
  if kind == UNIGRAM:
    return {
      'type': 'Unigram',
      'unk_id': unknown[1],
      'byte_fallback': has_bytes,
      'vocab': [(each.piece, each.score) for each in proto.pieces],
    }
  ids = {each.piece: i for i, each in enumerate(proto.pieces)}
  # Unknown characters become bytes where the model has them, one [UNK] for a run of them else.
  settings = {'unk_token': unknown[0], 'fuse_unk': True, 'byte_fallback': has_bytes}
  if kind == BPE:
    return json_documents.bpe(ids, _merges(proto), **settings)
  # With pieces of one letter, BPE would spell unknown words, which a word model does not do. A
  # space is a word only where two follow each other, as none do in a text that was cleaned.
  ordinary = (types.NORMAL, types.USER_DEFINED)
  letters = {each.piece for each in proto.pieces if each.type in ordinary and len(each.piece) == 1}
  if kind == WORD and letters <= {BOUNDARY_MARK}:
    ids = {each + _UNMATCHED if each in letters else each: i for each, i in ids.items()}
    # Without merges a word is one piece, if it is known, or its bytes.
    return json_documents.bpe(ids, [], ignore_merges=True, **settings)
  what = 'words, some of one letter' if kind == WORD else 'single characters'
  raise config.UserError(
    'the tokenizer cannot be written as tokenizer.json, which cannot express a '
    f'SentencePiece model of {what}'
  )


def _merges(proto):
  """Returns the pairs that merge into each piece, in the order that SentencePiece prefers pieces.

  A merge list ranks the pairs of one piece too, where SentencePiece merges the leftmost one,
  whichever it is. Where such pairs overlap, the one with the longer left part is more often the
  leftmost, so it comes first.
  """
  normal = {
    each.piece: each.score for each in proto.pieces if each.type == proto.SentencePiece.NORMAL
  }
  pairs = [
    (-score, at, (piece[:-at], piece[-at:]))
    for piece, score in normal.items()
    for at in range(1, len(piece))
    if piece[:-at] in normal and piece[-at:] in normal
  ]
  return [pair for *_, pair in sorted(pairs)]
