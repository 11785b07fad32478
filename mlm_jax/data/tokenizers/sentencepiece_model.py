"""SentencePiece: training, and text to ids.

The normalisation is the identity, since documents are cleaned before; with byte
fallback every text can be written and read back exactly. [CLS], [SEP] and [MASK] are
control symbols: no text encodes to them.

The kind `word` has a piece for each of the most frequent words, as spaces separate them;
every other word, and so nearly every sentence of a script without spaces, is written
in bytes.
"""

from collections.abc import Sequence
import functools
import io
import itertools
import re
from typing import Any

import numpy as np
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from mlm_jax import config
from mlm_jax.data.tokenizers import base
from mlm_jax.data.tokenizers import sentencepiece_json
from mlm_jax.data.tokenizers import tokenizer_json

TRAINED = ('unigram', 'bpe', 'word')
_SENTENCE = 1000  # characters: the trainer skips sentences above 4192 bytes
_STRETCH = 4096  # characters encoded at once: bounds the memory of a long document
_BYTE_NAME = re.compile(sentencepiece_json.BYTE_NAME)
# What `tokenizers` takes for white space before a mask.
_SPACE_AT_END = re.compile('[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+\\Z')


class SentencePiece(base.Tokenizer):
  """A base.Tokenizer of the bytes of a SentencePiece model."""

  def __init__(self, model: bytes, name: str = 'the tokenizer', threads: int = 1):
    """Takes the bytes of a model file.

    Raises:
      UserError: they are not one, or a special piece is absent or could be forged.
    """
    self._threads = threads
    self._proto = parse(model, name)
    sentencepiece_json.round_scores(self._proto)
    self._processor = _processor(self._proto, name)
    ids = range(self._processor.get_piece_size())
    roles = {role: self._special_id(role, name) for role in base.NAMES}
    super().__init__(
      model,
      name,
      [self._processor.id_to_piece(i) for i in ids],
      roles,
      [i for i in ids if self._is_special(i)],
      [i for i in ids if self._processor.is_byte(i)],
      is_prefixed=True,
    )
    # Characters at once.
    self._exact = sentencepiece_json.exact(self._proto, set(roles.values()))

  def _is_special(self, i):
    return (
      self._processor.is_control(i) or self._processor.is_unknown(i) or self._processor.is_unused(i)
    )

  def _special_id(self, role, model_name):
    for name in base.NAMES[role]:
      i = self._processor.piece_to_id(name)
      if self._processor.id_to_piece(i) != name:  # the unknown piece is found for an absent name
        continue
      if not self._is_special(i):
        raise config.UserError(
          f'{model_name}: {name} is an ordinary piece there, so that a text '
          'could forge it; train it as a control symbol'
        )
      return i
    raise base.missing(model_name, role, 'as a control symbol')

  @functools.cached_property
  def document(self) -> bytes:
    """The bytes of a tokenizer.json that cuts a text as this does, after the space before it.

    Raises:
      UserError: none can, see sentencepiece_json.
    """
    named = {role: (self.piece(i), i) for role in base.NAMES for i in [getattr(self, f'{role}_id')]}
    return sentencepiece_json.document(self._proto, named)

  @functools.cached_property
  def _json(self):
    """What cuts texts where SentencePiece is not exact; None where no document can."""
    try:
      return tokenizer_json.Json(self.document, 'the tokenizer', self._threads)
    except config.UserError:
      return None

  def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
    return self._encode([' ' + text if text else '' for text in texts])

  def encode_with_places(self, text: str) -> tuple[np.ndarray, np.ndarray]:
    # The space that is put before the text is not a character of it.
    if self._json:
      ids, place_T = self._json.encode_with_places(' ' + text if text else '')
      return ids, np.maximum(place_T - 1, 0)
    parts = stretches(' ' + text if text else '', _STRETCH)
    encoded = self._processor.encode(parts, return_type='offset_mapping')
    before = np.cumsum([-1] + [len(part) for part in parts])
    begins = [begin + first for each, first in zip(encoded, before) for begin, _ in each['offsets']]
    ids = np.array([i for each in encoded for i in each['ids']], np.int32)
    return ids, base.next_letters(text)[np.maximum(np.array(begins, np.int64), 0)]

  def encode_with_masks(self, text: str) -> list[int]:
    # Only the text before the first mask begins with the space that every text gets; each mask
    # takes the white space before it.
    first, *others = text.split(base.MASK)
    parts = [' ' + first if first else ''] + others
    parts = [_SPACE_AT_END.sub('', part) for part in parts[:-1]] + parts[-1:]
    ids = []
    for number, part_ids in enumerate(self._encode(parts)):
      ids += ([self.mask_id] if number else []) + part_ids.tolist()
    return ids

  def _encode(self, texts):
    """Encodes verbatim: nothing is put before a text."""
    exact = [self._is_exact(text) for text in texts]
    fast = iter(
      self._with_sentencepiece([text for text, is_exact in zip(texts, exact) if is_exact])
    )
    others = [text for text, is_exact in zip(texts, exact) if not is_exact]
    slow = iter(self._json.encode_batch(others) if self._json and others else ())
    return [next(fast if is_exact else slow) for is_exact in exact]

  def _is_exact(self, text):
    """Whether SentencePiece, which is faster, cuts a text as the document does."""
    if not self._exact:
      return self._json is None
    # No word may be so long that its scores are rounded.
    is_short = len(text) < self._exact - 1 or max(map(len, text.split(' '))) < self._exact - 1
    return is_short and not ('<0x' in text and _BYTE_NAME.search(text))

  def _with_sentencepiece(self, texts):
    """Encodes in stretches: those of a long text are cut before spaces."""
    parts = [stretches(text, self._exact or _STRETCH) for text in texts]
    ids = iter(
      self._processor.encode(
        [part for each in parts for part in each], out_type='numpy', num_threads=self._threads
      )
    )
    return [np.concatenate(list(itertools.islice(ids, len(each)))) for each in parts]


def parse(model: bytes, name: str) -> Any:
  """Returns the ModelProto of the bytes of a model; UserError where they are not one."""
  try:
    # pyrefly: ignore[missing-attribute] -- protobuf makes the class when it is imported
    return sentencepiece_model_pb2.ModelProto.FromString(model)
  except Exception as error:  # protobuf raises kinds of its own
    raise _damaged(name) from error


def _processor(proto, name):
  """Returns the processor, told not to add or take away spaces: we do that."""
  proto.normalizer_spec.add_dummy_prefix = False
  proto.normalizer_spec.remove_extra_whitespaces = False
  try:
    return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
  except Exception as error:  # SentencePiece raises kinds of its own
    raise _damaged(name) from error


def _damaged(name):
  return config.UserError(f'{name} is not a SentencePiece model or a tokenizer.json, or is damaged')


def train(texts: Sequence[str], data: Any) -> bytes:
  """Returns the bytes of a model, see tokenizers.train.

  They depend on the thread count and on the order of the texts.
  """
  model = io.BytesIO()
  sentences = (each for text in texts for each in stretches(text, _SENTENCE) if not each.isspace())
  pad, unknown, *control = base.SPECIAL
  try:
    sentencepiece.SentencePieceTrainer.train(
      sentence_iterator=sentences,
      model_writer=model,
      model_type=data.tokenizer,
      vocab_size=data.vocab_size,
      num_threads=data.tokenizer_threads,
      byte_fallback=True,
      pad_id=0,
      unk_id=1,
      # [CLS] and [SEP] are control symbols here, so its own two are turned off.
      bos_id=-1,
      eos_id=-1,
      pad_piece=pad,
      unk_piece=unknown,
      control_symbols=control,
      # Line ends and tabs are there only when white space is kept; words end at them.
      user_defined_symbols=['\n', '\t'] if data.white_space == 'keep' else [],
      # Documents are cleaned before, and what is encoded must be decoded exactly.
      normalization_rule_name='identity',
      remove_extra_whitespaces=False,
      # All sentences, in their order: the sample is chosen before, by hash.
      shuffle_input_sentence=False,
      input_sentence_size=0,
      minloglevel=2,
    )
  except (RuntimeError, ValueError, OSError) as error:
    raise _untrainable(str(error), data) from None
  return model.getvalue()


def _untrainable(message, data):
  """Returns the UserError for what SentencePiece says of a vocabulary size."""
  # It has no error types for these two, only these words.
  given = f'config.data.vocab_size = {data.vocab_size}'
  if limit := re.search(r'value <= (\d+)', message):
    return config.UserError(
      f'{given}: this corpus gives at most {limit.group(1)} pieces; '
      'lower it to that or give more text'
    )
  if needed := re.search(r'required_chars. \d+ vs (\d+)', message):
    return config.UserError(
      f'{given}: the special pieces, the 256 bytes and the different characters '
      f'of this corpus need at least {needed.group(1)}; raise it'
    )
  return config.UserError('training the tokenizer failed: ' + ' '.join(message.split()))


def stretches(text: str, characters: int) -> list[str]:
  """Returns the text in parts of at most so many characters, cut before spaces if it can be.

  Pieces do not reach across a space, so that encoding part by part changes nothing there.
  In a text without spaces a cut can change the pieces beside it, never what they spell.
  """
  if len(text) <= characters:
    return [text]
  parts, begin = [], 0
  while len(text) - begin > characters:
    end = text.rfind(' ', begin + 1, begin + characters)
    end = begin + characters if end < 0 else end
    parts.append(text[begin:end])
    begin = end
  return parts + [text[begin:]]
