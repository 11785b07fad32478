"""SentencePiece: training, loading, and text to ids and back.

The normalisation is the identity, since documents are cleaned before; with byte
fallback every text can be written and read back exactly. [CLS], [SEP] and [MASK] are
control symbols: no text encodes to them.

The kind `word` has a piece for each of the most frequent words, as spaces part them;
every other word, and so nearly every sentence of a script without spaces, is written
in bytes.
"""

import hashlib
import io
import re

import numpy as np
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from mlm_jax import config
from mlm_jax import vocabulary
from mlm_jax.data import scripts

MASK = '[MASK]'
BOUNDARY_MARK = '\u2581'
# The names of the special pieces, ours first, then the other common ones.
_SPECIAL = {'pad': ('[PAD]', '<pad>'), 'unk': ('[UNK]', '<unk>'), 'cls': ('[CLS]', '<s>'),
            'sep': ('[SEP]', '</s>'), 'mask': (MASK, '<mask>')}
_SENTENCE = 1000  # characters: the trainer passes over sentences above 4192 bytes
_STRETCH = 4096   # characters encoded at once: bounds the memory of a long document


class Tokenizer:
  """A SentencePiece model and what masked language modelling needs to know of it.

  Attributes:
    size: pieces, special ones included.
    pad_id, unk_id, cls_id, sep_id, mask_id: ids of the special pieces.
    special_ids: sorted ids of these and of any other control piece.
    byte_ids: ids of the pieces that stand for one byte each.
    starts_V, ends_V, closes_V: bool; see `vocabulary.Table`.
    letters_V: bool, the piece has a letter, mark or number, or is a byte that may belong to one; a word
      without any is punctuation.
    sha256: of the model file.
  """

  def __init__(self, model, name='the tokenizer', threads=1):
    """Takes the bytes of a model file.

    Raises:
      UserError: they are none, or a special piece is absent or could be forged.
    """
    self.model = model
    self.sha256 = hashlib.sha256(model).hexdigest()
    self._threads = threads
    self._processor = _processor(model, name)
    self.size = self._processor.get_piece_size()
    for kind, names in _SPECIAL.items():
      setattr(self, f'{kind}_id', self._special_id(kind, names, name))
    if len({self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id}) < 5:
      raise config.UserError(f'{name}: two special pieces share an id; train one with mlm-jax prepare')
    self.special_ids = tuple(i for i in range(self.size) if self._is_special(i))
    self.byte_ids = tuple(i for i in range(self.size) if self._processor.is_byte(i))
    self.starts_V, self.ends_V = self._boundaries()
    self.closes_V = self._column(scripts.ends_sentence)
    self.letters_V = self._column(scripts.has_letters)
    # More than a byte may well spell a letter.
    self.letters_V[list(self.byte_ids)] = [byte >= 0x80 or scripts.has_letters(chr(byte)) for byte in
                                           (int(self.piece(i)[1:-1], 16) for i in self.byte_ids)]

  def _is_special(self, i):
    return self._processor.is_control(i) or self._processor.is_unknown(i) or self._processor.is_unused(i)

  def _special_id(self, kind, names, model_name):
    for name in names:
      i = self._processor.piece_to_id(name)
      if self._processor.id_to_piece(i) != name:
        continue
      if not self._is_special(i):
        raise config.UserError(f'{model_name}: {name} is an ordinary piece there, so that a text '
                               'could forge it; train it as a control symbol')
      return i
    raise config.UserError(f'{model_name} has no {kind} piece; it must have {" or ".join(names)} as a '
                           "control symbol, or set config.data.tokenizer to 'unigram' to train one")

  def _boundaries(self):
    """Returns (starts_V, ends_V); byte pieces go on with the word before them."""
    starts_V = np.zeros(self.size, bool)
    ends_V = np.zeros(self.size, bool)
    for i in range(self.size):
      if self._is_special(i) or self._processor.is_byte(i):
        starts_V[i] = ends_V[i] = self._is_special(i)
        continue
      piece = self.piece(i)
      bare = piece.lstrip(BOUNDARY_MARK)
      apart = bool(bare) and scripts.stands_apart(bare)
      starts_V[i] = piece.startswith(BOUNDARY_MARK) or apart
      ends_V[i] = apart
    return starts_V, ends_V

  def _column(self, is_so):
    """Returns bool_V: what is so of the text of each ordinary piece, False of the others."""
    return np.array([not (self._is_special(i) or self._processor.is_byte(i)) and is_so(self.piece(i))
                     for i in range(self.size)])

  def piece(self, i):
    """Returns the piece of one id as it stands in the model."""
    return self._processor.id_to_piece(int(i))

  def encode(self, text):
    """Returns the ids of a cleaned text, without special pieces."""
    return self.encode_batch([text])[0].tolist()

  def encode_batch(self, texts):
    """Returns an int32 array of ids for each of the texts."""
    return self._encode([' ' + text if text else '' for text in texts])

  def encode_with_places(self, text):
    """Returns (ids, int64 place_T) of a cleaned text: the ids of `encode`, and where each stands.

    That is its first character that is no space; for a piece of spaces alone the first one behind
    them, or the length of the text. All pieces that spell one character stand at it.
    """
    parts = stretches(' ' + text if text else '', _STRETCH)
    encoded = self._processor.encode(parts, return_type='offset_mapping')
    before = np.cumsum([-1] + [len(part) for part in parts])   # -1: the space put before is none of its own
    begins = [begin + first for each, first in zip(encoded, before) for begin, _ in each['offsets']]
    index_C = np.arange(len(text) + 1)
    is_space_C = np.array([character.isspace() for character in text] + [False])
    next_C = np.minimum.accumulate(np.where(is_space_C, len(text), index_C)[::-1])[::-1]
    ids = np.array([i for each in encoded for i in each['ids']], np.int32)
    return ids, next_C[np.maximum(np.array(begins, np.int64), 0)]

  def encode_with_masks(self, text):
    """Returns the ids of a cleaned text in which [MASK] stands for hidden tokens.

    A mask takes the place of a word together with the space before it, as words have
    it in running text: 'of [MASK].' becomes the ids of 'of', the mask and '.'.
    """
    first, *others = text.split(MASK)
    parts = [' ' + first if first else ''] + others
    parts = [part.removesuffix(' ') for part in parts[:-1]] + parts[-1:]
    ids = []
    for number, part_ids in enumerate(self._encode(parts)):
      ids += ([self.mask_id] if number else []) + part_ids.tolist()
    return ids

  def _encode(self, texts):
    """Encodes verbatim: nothing is put before a text. Long ones go in stretches."""
    pieces = [stretch for text in texts for stretch in stretches(text, _STRETCH)]
    ids = self._processor.encode(pieces, out_type='numpy', num_threads=self._threads)
    if len(pieces) == len(texts) and all(len(text) <= _STRETCH for text in texts):
      return ids
    joined, at = [], 0
    for text in texts:
      n = len(stretches(text, _STRETCH))
      joined.append(np.concatenate(ids[at:at + n]))
      at += n
    return joined

  def decode(self, ids):
    """Returns the text of ids; control pieces are written by name, padding is left out."""
    names = {self.mask_id: MASK, self.cls_id: '[CLS]', self.sep_id: '[SEP]', self.unk_id: '[UNK]'}
    text, run = '', []
    for i in [int(i) for i in ids] + [None]:
      if i is not None and i not in self.special_ids:
        run.append(i)
        continue
      text += self._decode_run(run)
      run = []
      if i in names:
        text += ('' if text.endswith(' ') or not text else ' ') + names[i]
    return text.removeprefix(' ')

  def _decode_run(self, ids):
    """Joins pieces verbatim, bytes put together; the model's own decoder drops a space."""
    data = b''.join(bytes([int(self.piece(i)[1:-1], 16)]) if self._processor.is_byte(i)
                    else self.piece(i).encode() for i in ids)
    return data.decode('utf-8', 'replace').replace(BOUNDARY_MARK, ' ')

  def table(self, counts_V=None, classes=()):
    """Returns the vocabulary.Table that the device needs."""
    return vocabulary.table(self.size, self.mask_id, self.special_ids, self.starts_V, self.ends_V,
                            counts_V, self.closes_V, classes)


def _processor(model, name):
  """Returns the processor, told not to add or take away spaces: we do that."""
  try:
    proto = sentencepiece_model_pb2.ModelProto.FromString(model)
    proto.normalizer_spec.add_dummy_prefix = False
    proto.normalizer_spec.remove_extra_whitespaces = False
    return sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
  except Exception as error:  # protobuf and SentencePiece raise their own kinds
    raise config.UserError(f'{name} is no SentencePiece model, or is damaged') from error


def load(path, threads=1):
  """Returns the Tokenizer of a model file; UserError where it is none."""
  try:
    with open(path, 'rb') as file:
      model = file.read()
  except OSError as error:
    raise config.UserError(f'config.data.tokenizer: cannot read {path} ({error.strerror}); '
                           'give unigram, bpe, word or the path of a SentencePiece model') from None
  return Tokenizer(model, str(path), threads)


def train(texts, data):
  """Returns the bytes of a model trained on cleaned texts.

  Args:
    texts: the sample, in a fixed order: that and the thread count decide the result.
    data: `config.data`.

  Raises:
    UserError: the texts do not give as many pieces as data.vocab_size asks for.
  """
  model = io.BytesIO()
  sentences = (each for text in texts for each in stretches(text, _SENTENCE) if not each.isspace())
  try:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=sentences, model_writer=model, model_type=data.tokenizer,
        vocab_size=data.vocab_size, num_threads=data.tokenizer_threads, byte_fallback=True,
        pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, pad_piece='[PAD]', unk_piece='[UNK]',
        control_symbols=['[CLS]', '[SEP]', MASK],
        # Line ends and tabs are there only when white space is kept; words end at them.
        user_defined_symbols=['\n', '\t'] if data.white_space == 'keep' else [],
        normalization_rule_name='identity', remove_extra_whitespaces=False,
        shuffle_input_sentence=False, input_sentence_size=0, minloglevel=2)
  except (RuntimeError, ValueError, OSError) as error:
    raise _untrainable(str(error), data) from None
  return model.getvalue()


def _untrainable(message, data):
  """Returns the UserError for what SentencePiece says of a vocabulary size."""
  given = f'config.data.vocab_size = {data.vocab_size}'
  if limit := re.search(r'value <= (\d+)', message):
    return config.UserError(f'{given}: this corpus gives at most {limit.group(1)} pieces; '
                            'lower it to that or give more text')
  if needed := re.search(r'required_chars. \d+ vs (\d+)', message):
    return config.UserError(f'{given}: the special pieces, the 256 bytes and the different characters '
                            f'of this corpus need at least {needed.group(1)}; raise it')
  return config.UserError('training the tokenizer failed: ' + ' '.join(message.split()))


def stretches(text, characters):
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
