"""Tokenizers of Hugging Face folders: read from the files there, written as tokenizer.json.

A tokenizer.json made from a SentencePiece model encodes some texts otherwise than the model does:
  a text that contains the name of a special piece, which `transformers` reads as the piece
  a text that begins with a space (none does where white space was collapsed): one space less
  with unigram, a text that the same pieces spell in several orders, such as a ruled line: rounding
    of the sum of their scores decides, to float32 there and to float64 here (187 of a
    million lines of books, papers, documentation and four more languages; none with bpe)
  with unigram, a text that contains the name of a byte piece, such as <0x0A>
  a text without spaces that is longer than what is encoded at once, see
    data.tokenizers.sentencepiece_model
"""

from collections.abc import Mapping
import json
import os
import pathlib
from typing import Any

from mlm_jax import config
from mlm_jax.data.tokenizers import base
from mlm_jax.data.tokenizers import json_documents
from mlm_jax.data.tokenizers import sentencepiece_model
from mlm_jax.data.tokenizers import tokenizer_json
from mlm_jax.data.tokenizers.base import BOUNDARY_MARK
from mlm_jax.data.tokenizers.base import NAMES

_JSON, _VOCAB_TXT, _VOCAB_JSON, _MERGES, _SPM = (
  'tokenizer.json',
  'vocab.txt',
  'vocab.json',
  'merges.txt',
  'spm.model',
)
_UNIGRAM, _BPE, _WORD = 1, 2, 3  # trainer_spec.model_type


def from_folder(folder: str | os.PathLike) -> bytes:
  """Returns the bytes of a folder's tokenizer, for data.tokenizers.make.

  They are tokenizer.json; or made as BERT does from vocab.txt, RoBERTa from vocab.json and
  merges.txt, DeBERTa from spm.model, with what tokenizer_config.json and added_tokens.json say.

  Raises:
    UserError: none of these is there, or one is damaged.
  """
  folder = pathlib.Path(folder)
  # tokenizer.json first: where it is there, the other files are what it was made of.
  for names, read in (
    ((_JSON,), _read_json),
    ((_VOCAB_TXT,), _from_vocab_txt),
    ((_VOCAB_JSON, _MERGES), _from_merges),
    ((_SPM,), _from_spm),
  ):
    if all((folder / name).is_file() for name in names):
      return read(folder)
  raise config.UserError(
    f'{folder} has no tokenizer: it must have {_JSON}, {_VOCAB_TXT}, {_VOCAB_JSON} with '
    f'{_MERGES}, or {_SPM}'
  )


def _read(path: pathlib.Path) -> bytes:
  try:
    return path.read_bytes()
  except OSError as error:
    raise config.UserError(f'cannot read {path}: {error.strerror}') from None


def _read_json(folder: pathlib.Path) -> bytes:
  return _read(folder / _JSON)


def _object(path: pathlib.Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
  """Returns the dict in a .json file; where there is no file, `default` if one is given."""
  if default is not None and not path.is_file():
    return default
  try:
    found = json.loads(_read(path))
  except ValueError:
    found = None
  if not isinstance(found, dict):
    raise config.UserError(f'{path} is damaged: it must hold a JSON object')
  return found


def _lines(path: pathlib.Path) -> list[str]:
  try:
    return _read(path).decode().split('\n')
  except UnicodeDecodeError:
    raise config.UserError(f'{path} is damaged: it must be text in UTF-8') from None


def _named(ids: Mapping[str, int], folder: pathlib.Path) -> dict[str, tuple[str, int]]:
  """Returns {role: (name, id)} of the special pieces in a vocabulary."""
  named = {
    role: (name, ids[name]) for role, names in NAMES.items() for name in names[::-1] if name in ids
  }
  # A row cannot be made without these two; the other special pieces are optional.
  for role in ('cls', 'sep'):
    if role not in named:
      raise base.missing(str(folder), role, 'among its tokens')
  return named


def _from_vocab_txt(folder: pathlib.Path) -> bytes:
  """BERT's: a piece a line, in the order of their ids."""
  settings = _object(folder / 'tokenizer_config.json', {})
  # The last line ends with a newline, so the split leaves an empty piece after it.
  lines = _lines(folder / _VOCAB_TXT)
  ids = {
    line.removesuffix('\r'): i for i, line in enumerate(lines[:-1] if lines[-1] == '' else lines)
  }
  normalizer = json_documents.bert_normalizer(
    settings.get('do_lower_case', True),
    settings.get('strip_accents'),
    settings.get('tokenize_chinese_chars', True),
  )
  named = _named(ids, folder)
  model = {
    'type': 'WordPiece',
    'unk_token': named.get('unk', NAMES['unk'])[0],
    'continuing_subword_prefix': json_documents.PREFIX,
    # Longer words become [UNK], as in BERT.
    'max_input_chars_per_word': 100,
    'vocab': ids,
  }
  return json_documents.document(
    model, normalizer, json_documents.BERT_PRE_TOKENIZER, json_documents.WORDPIECE_DECODER, named
  )


def _from_merges(folder: pathlib.Path) -> bytes:
  """RoBERTa's: the ids of pieces, and the pairs that are merged, in their order."""
  settings = _object(folder / 'tokenizer_config.json', {})
  # Ids need not follow the order of the file, so they are read and never counted.
  ids = _object(folder / _VOCAB_JSON)
  added = {
    name: i for name, i in _object(folder / 'added_tokens.json', {}).items() if name not in ids
  }
  pairs = [
    line.split(' ') for line in _lines(folder / _MERGES) if line and not line.startswith('#version')
  ]
  named = _named(ids | added, folder)
  others = [
    json_documents.added_token(name, i)
    for name, i in added.items()
    if (name, i) not in named.values()
  ]
  stage = json_documents.byte_level(settings.get('add_prefix_space', False))
  return json_documents.document(
    _bpe(ids, pairs), None, stage, json_documents.byte_level(), named, others
  )


def _bpe(ids: Mapping[str, int], pairs: list, **settings: Any) -> dict[str, Any]:
  return {
    'type': 'BPE',
    'dropout': None,
    'unk_token': None,
    'continuing_subword_prefix': None,
    'end_of_word_suffix': None,
    'fuse_unk': False,
    'byte_fallback': False,
    'ignore_merges': False,
    **settings,
    'vocab': ids,
    'merges': pairs,
  }


def _from_spm(folder: pathlib.Path) -> bytes:
  """DeBERTa's: a SentencePiece model; [MASK] and other added tokens follow its pieces."""
  settings = _object(folder / 'tokenizer_config.json', {})
  # They change the text before the model sees it, which spm.model alone would not do.
  for key in ('do_lower_case', 'split_by_punct'):
    if settings.get(key):
      raise config.UserError(f'{folder}: {key} with {_SPM} is not supported; give a {_JSON}')
  proto = sentencepiece_model.parse(_read(folder / _SPM), str(folder / _SPM))
  pieces = [each.piece for each in proto.pieces]
  # Where neither the model nor added_tokens.json has a mask, DeBERTa's own class adds one.
  default = {} if set(NAMES['mask']) & set(pieces) else {NAMES['mask'][0]: len(pieces)}
  added = _object(folder / 'added_tokens.json', default)
  for name, i in sorted(added.items(), key=lambda each: each[1]):
    if name in pieces and pieces.index(name) == i:
      continue
    if name in pieces or i != len(proto.pieces):
      raise config.UserError(
        f'{folder / "added_tokens.json"} gives {name} the id {i}; the ids of tokens '
        f'that {_SPM} lacks must follow its {len(pieces)} pieces'
      )
    # Control pieces are never the result of encoding text.
    proto.pieces.add(piece=name, score=0, type=proto.SentencePiece.CONTROL)
  return proto.SerializeToString()
