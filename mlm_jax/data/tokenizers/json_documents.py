"""The documents that the `tokenizers` library reads, tokenizer.json: written, and trained."""

import collections
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import json
import re
from typing import Any

import tokenizers
from tokenizers import models
from tokenizers import normalizers
from tokenizers import pre_tokenizers
from tokenizers import trainers

from mlm_jax import config
from mlm_jax.data.tokenizers import base
from mlm_jax.data.tokenizers.base import NAMES

TRAINED = ('wordpiece', 'byte_bpe')
PREFIX = '##'  # of the pieces of a WordPiece that continue a word
_AT_LEAST = 2  # times that what becomes a piece occurs in the sample


def added_token(name: str, i: int, lstrip: bool = False) -> dict:
  """Returns the entry of a special piece; with `lstrip` it takes the space before it."""
  return {
    'id': i,
    'content': name,
    'single_word': False,
    'lstrip': lstrip,
    'rstrip': False,
    'normalized': False,
    'special': True,
  }


def document(
  model: dict,
  normalizer: dict | None,
  pre_tokenizer: dict,
  decoder: dict,
  named: Mapping[str, tuple[str, int]],
  others: Iterable[dict] = (),
) -> bytes:
  """Returns the bytes of a tokenizer.json that puts [CLS] and [SEP] around a text.

  Args:
    model, normalizer, pre_tokenizer, decoder: dicts, as it has them.
    named: {'pad': (name, id), ...} of the special pieces; 'unk' may be absent.
    others: entries of more added tokens.
  """
  # A mask takes the space before it, so that it is in the place of a word with its space.
  tokens = [added_token(*named[role], lstrip=role == 'mask') for role in NAMES if role in named]
  return json.dumps(
    {
      'version': '1.0',
      'truncation': None,
      'padding': None,
      'added_tokens': sorted([*tokens, *others], key=lambda each: each['id']),
      'normalizer': normalizer,
      'pre_tokenizer': pre_tokenizer,
      'post_processor': around(named['cls'], named['sep']),
      'decoder': decoder,
      'model': model,
    },
    ensure_ascii=False,
  ).encode()


def around(cls: tuple[str, int], sep: tuple[str, int], seps: int = 1) -> dict:
  """Returns the post-processor that puts [CLS] and [SEP], each (name, id), around texts.

  Between the texts of a pair are `seps` [SEP], the first of them of the first text's type.
  """
  token = lambda each, kind: {'SpecialToken': {'id': each[0], 'type_id': kind}}
  text = lambda letter, kind: {'Sequence': {'id': letter, 'type_id': kind}}
  first = [token(cls, 0), text('A', 0), token(sep, 0)]
  return {
    'type': 'TemplateProcessing',
    'single': first,
    'pair': [*first, *[token(sep, 1)] * (seps - 1), text('B', 1), token(sep, 1)],
    'special_tokens': {name: {'id': name, 'ids': [i], 'tokens': [name]} for name, i in (cls, sep)},
  }


def bert_normalizer(
  lowercase: bool = False, strip_accents: bool | None = False, chinese: bool = True
) -> dict:
  """Returns the normalizer of a BERT."""
  return {
    'type': 'BertNormalizer',
    'clean_text': True,
    'handle_chinese_chars': chinese,
    'strip_accents': strip_accents,
    'lowercase': lowercase,
  }


SPACE_BEFORE = r'\A(?=[\d\D])'


def space_before(names: Iterable[str]) -> dict:
  """Returns the normalizer that puts a space before each text.

  Names of added tokens get none: the library normalises them too, and looks for the result.
  """
  alone = '|'.join(map(re.escape, names))
  pattern = rf'{SPACE_BEFORE}(?!(?:{alone})\z)'
  return {'type': 'Replace', 'pattern': {'Regex': pattern}, 'content': ' '}


def byte_level(add_prefix_space: bool = False) -> dict:
  """Returns the pre-tokenizer, and decoder, of a byte-level BPE."""
  return {
    'type': 'ByteLevel',
    'add_prefix_space': add_prefix_space,
    'trim_offsets': True,
    'use_regex': True,
  }


def bpe(ids: Mapping[str, int], pairs: Sequence, **settings: Any) -> dict[str, Any]:
  """Returns a model of BPE, with settings that differ from the usual ones."""
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


METASPACE_DECODER = {
  'type': 'Sequence',
  'decoders': [  # bytes first: the boundary mark may be spelled in them too
    {'type': 'ByteFallback'},
    {'type': 'Fuse'},
    {'type': 'Replace', 'pattern': {'String': base.BOUNDARY_MARK}, 'content': ' '},
    {'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0},
  ],
}
BERT_PRE_TOKENIZER = {'type': 'BertPreTokenizer'}
WORDPIECE_DECODER = {'type': 'WordPiece', 'prefix': PREFIX, 'cleanup': True}
_Trained = tuple[dict, dict | None, dict, dict]  # model, normalizer, pre-tokenizer, decoder


def lowercase(text: str) -> str:
  """Returns a text in lower case, letter by letter, as such a document's Lowercase does it."""
  # Python's own looks at the letters around one: a sigma that ends a word is another one there.
  return normalizers.Lowercase().normalize_str(text)


# Training


def train(texts: Sequence[str], data: Any) -> bytes:
  """Returns the bytes of a tokenizer.json trained on cleaned texts.

  `wordpiece` keeps capitals and accents; what has a character that is not among the most frequent
  ones becomes [UNK]. `byte_bpe` spells every text, and puts no space before one.

  Raises:
    UserError: the texts do not give as many pieces as data.vocab_size asks for.
  """
  special = list(base.SPECIAL)
  make = {'wordpiece': _train_wordpiece, 'byte_bpe': _train_byte_bpe}[data.tokenizer]
  model, normalizer, pre_tokenizer, decoder = make(texts, data.vocab_size, special)
  if len(model['vocab']) < data.vocab_size:
    raise config.UserError(
      f'config.data.vocab_size = {data.vocab_size}: this corpus gives at most '
      f'{len(model["vocab"])} pieces; lower it to that or give more text'
    )
  named = {role: (name, i) for i, (role, name) in enumerate(zip(NAMES, special))}
  return document(model, normalizer, pre_tokenizer, decoder, named)


def _train_wordpiece(texts, size, special) -> _Trained:
  library = tokenizers.Tokenizer(models.WordPiece(unk_token=special[1]))
  library.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
  library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
  counts = collections.Counter()
  for text in texts:
    counts.update(library.normalizer.normalize_str(text))
  # The most frequent characters, at most a quarter of the pieces: in a large alphabet, such as the
  # Chinese one, they would else leave no room for pieces of several.
  letters = [each for each in counts if not each.isspace()]
  letters = sorted(sorted(letters, key=lambda each: (-counts[each], each))[: size // 4])
  # Those that can be inside a word: a character that the pre-tokenizer isolates never is.
  inner = [
    each
    for each in letters
    if len(library.pre_tokenizer.pre_tokenize_str(library.normalizer.normalize_str('a' + each)))
    == 1
  ]
  # The trainer numbers the pieces of one character in an order that chance decides, but for those
  # that it is given.
  trainer = trainers.WordPieceTrainer(
    vocab_size=size,
    min_frequency=_AT_LEAST,
    show_progress=False,
    initial_alphabet=letters,
    limit_alphabet=len(letters),
    special_tokens=[*special, *letters, *(PREFIX + each for each in inner)],
  )
  return (
    _trained(library, texts, trainer),
    bert_normalizer(),
    BERT_PRE_TOKENIZER,
    WORDPIECE_DECODER,
  )


def _train_byte_bpe(texts, size, special) -> _Trained:
  library = tokenizers.Tokenizer(models.BPE())
  library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  trainer = trainers.BpeTrainer(
    vocab_size=size,
    min_frequency=_AT_LEAST,
    show_progress=False,
    special_tokens=special,
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
  )
  return _trained(library, texts, trainer), None, byte_level(), byte_level()


def _trained(library, texts, trainer):
  """Returns the model, as a tokenizer.json has it."""
  library.train_from_iterator(texts, trainer)
  return json.loads(library.to_str())['model']
