"""What a policy does to texts, piece by piece, for looking at."""

import dataclasses
import re

import jax
import numpy as np

from mlm_jax import batches
from mlm_jax import masking
from mlm_jax import rng
from mlm_jax import vocabulary

_SPECIAL = ('[PAD]', '[CLS]', '[SEP]', '[MASK]')
_PIECE = 4       # letters of a piece of a longer word
_WHOLE = 6       # letters of a word that is one piece
_ACTIONS = ('', 'mask', 'random', 'keep')


@dataclasses.dataclass(frozen=True)
class MaskedPiece:
  """One piece of a text and what the policy does to it.

  Attributes:
    piece: of the text; its start of a word is marked as the tokenizer marks it.
    shown: what the model sees.
    action: '' (not chosen), 'mask', 'random' or 'keep'.
    predicted: whether the model is asked for it.
    unit: number of the first piece of its unit; -1 = no unit.
  """
  piece: str
  shown: str
  action: str
  predicted: bool
  unit: int


def mask_rows(policy, rows, piece, pad_id, *, seed=0, first=0, visit=0, progress=1.0, joins=None):
  """Returns a list of MaskedPiece for each row.

  Args:
    policy: masking.Policy.
    rows: lists of ids, [CLS] and [SEP] included.
    piece: (id) -> text.
    pad_id: the padding token.
    seed: of the draws; row i is example (0, first + i).
    first, visit: see seed; how often the rows have been seen before.
    progress: share of the training done, for policies that change.
    joins: (tokens_BL, starts_BS) -> joins_BL, for collocations; see batches.Batch.
  """
  number_B = np.arange(first, first + len(rows))
  longest = max(len(row) for row in rows)
  length = max(8, 1 << (longest - 1).bit_length())   # so that shapes recur
  tokens_BL = np.full((len(rows), length), pad_id, np.int32)
  for b, row in enumerate(rows):
    tokens_BL[b, :len(row)] = row
  starts_B1 = np.zeros((len(rows), 1), np.int32)
  batch = batches.Batch(
      tokens_BL, starts_B1, np.stack([0 * number_B, number_B], 1).astype(np.uint32),
      np.full(len(rows), visit, np.uint32), joins_BL=joins and joins(tokens_BL, starts_B1))
  masked = jax.device_get(_mask(policy, rng.root_key(seed), batch, progress))
  return [[MaskedPiece(piece(masked.targets_BL[b, i]), piece(masked.inputs_BL[b, i]),
                       _ACTIONS[masked.action_BL[b, i]], bool(masked.chosen_BL[b, i]),
                       int(masked.units_BL[b, i])) for i in range(len(row))]
          for b, row in enumerate(rows)]


_mask = jax.jit(masking.mask_batch)


class PlainTokenizer:
  """A vocabulary made of one text, to try policies where none has been trained.

  Words and punctuation marks are the pieces; longer words are cut every four letters.
  Attributes are those of data.tokenizer.Tokenizer that masking needs.
  """

  pad_id, cls_id, sep_id, mask_id = range(4)

  def __init__(self, text):
    self._pieces = [piece for word in re.findall(r'\w+|[^\w\s]', text) for piece in _cut(word)]
    self._names = list(dict.fromkeys([*_SPECIAL, *self._pieces]))

  def encode(self):
    """Returns the ids of the text."""
    number = {name: i for i, name in enumerate(self._names)}
    return [number[piece] for piece in self._pieces]

  def piece(self, i):
    return self._names[i]

  def table(self):
    bare = [name.lstrip(_MARK) for name in self._names]
    apart_V = [not re.match(r'\w', each) for each in bare]
    starts_V = [name.startswith(_MARK) or apart for name, apart in zip(self._names, apart_V)]
    counts_V = np.bincount(self.encode(), minlength=len(self._names))
    return vocabulary.table(len(self._names), self.mask_id, range(len(_SPECIAL)), starts_V, apart_V, counts_V,
                            [each in {'.', '!', '?', '。', '！', '？'} for each in bare])


_MARK = '▁'


def _cut(word):
  """Returns the pieces of a word; the first is marked."""
  if len(word) <= _WHOLE:
    return [_MARK + word if re.match(r'\w', word) else word]
  first, *others = [word[i:i + _PIECE] for i in range(0, len(word), _PIECE)]
  return [_MARK + first, *others]
