"""What a policy does to texts, piece by piece, for looking at."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import itertools
import re
from typing import Any

import jax
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.core import vocabulary
from mlm_jax.data.annotations import word_classes as classes_lib
from mlm_jax.data.corpus import clean
from mlm_jax.data.tokenizers import scripts

_SPECIAL = ('[PAD]', '[CLS]', '[SEP]', '[MASK]')
_PIECE = 4  # letters of a piece of a longer word
_WHOLE = 6  # letters of a word that is one piece
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


def mask_rows(
  policy: masking.Policy,
  rows: Sequence,
  piece: Callable[[int], str],
  pad_id: int,
  *,
  seed: int = 0,
  progress: float = 1.0,
  **settings: Any,
) -> list[list[MaskedPiece]]:
  """Returns a list of MaskedPiece for each row: `mask_batch` of the batch that `batch_of` makes."""
  return mask_batch(
    policy, batch_of(rows, pad_id, **settings), piece, pad_id, seed=seed, progress=progress
  )


def batch_of(
  rows: Sequence,
  pad_id: int,
  *,
  length: int = 0,
  first: int = 0,
  joins: Callable | None = None,
  classes: Sequence | None = None,
) -> batches.Batch:
  """Returns the batches.Batch of rows of one document each, on their first visit.

  Args:
    rows: lists of ids, [CLS] and [SEP] included; row i is example (0, first + i).
    pad_id: the padding token, which fills them up.
    length: of the rows, where none is longer; else, as for 0, the next power of two.
    first: see rows.
    joins: (tokens_BL, starts_BS) -> joins_BL, for collocations; see batches.Batch.
    classes: the classes of each row's tokens; see batches.Batch.
  """
  longest = max(len(row) for row in rows)
  if longest > length:
    length = max(8, 1 << (longest - 1).bit_length())  # so that shapes recur
  tokens_BL = _filled(rows, length, pad_id, np.int32)
  starts_B1 = np.zeros((len(rows), 1), np.int32)
  example_B2 = np.stack([np.zeros(len(rows)), np.arange(first, first + len(rows))], 1).astype(
    np.uint32
  )
  columns = {}
  if joins:
    columns['joins_BL'] = joins(tokens_BL, starts_B1)
  if classes is not None:
    columns['classes_BL'] = _filled(classes, length, 0, np.uint8)
  return batches.Batch(tokens_BL, starts_B1, example_B2, np.zeros(len(rows), np.uint32), columns)


def _filled(rows: Sequence, length: int, value: int, dtype: Any) -> np.ndarray:
  filled_BL = np.full((len(rows), length), value, dtype)
  for b, row in enumerate(rows):
    filled_BL[b, : len(row)] = row
  return filled_BL


def mask_batch(
  policy: masking.Policy,
  batch: batches.Batch,
  piece: Callable[[int], str],
  pad_id: int,
  *,
  seed: int = 0,
  progress: float = 1.0,
) -> list[list[MaskedPiece]]:
  """Returns a list of MaskedPiece for each row of a batches.Batch, padding left out.

  Args:
    policy: masking.Policy.
    batch: batches.Batch.
    piece: (id) -> text.
    pad_id: the padding token.
    seed: of the draws.
    progress: share of the training done, for policies that change.
  """
  # The same function as in training, so what is shown is what a model would see.
  masked = jax.device_get(_mask(policy, rng.root_key(seed), batch, progress))
  return [
    [
      MaskedPiece(
        piece(masked.targets_BL[b, i]),
        piece(masked.inputs_BL[b, i]),
        _ACTIONS[masked.action_BL[b, i]],
        bool(masked.chosen_BL[b, i]),
        int(masked.units_BL[b, i]),
      )
      for i in np.flatnonzero(tokens_L != pad_id)
    ]
    for b, tokens_L in enumerate(masked.targets_BL)
  ]


_mask = jax.jit(masking.mask_batch)  # once for the module, so that calls share compiled programs


def classes_of(text: str, tokenizer: Any, data: Any, names: Sequence[str]) -> np.ndarray:
  """Returns uint8, the classes of the tokens of [CLS] text [SEP]; see batches.Batch.

  Args:
    text: str, as yet uncleaned.
    tokenizer: data.tokenizers.Tokenizer.
    data: `config.data`: how texts are cleaned, and what tells the classes of words.
    names: the classes, in their order; any other one counts as no class.

  Raises:
    UserError: the classes come from a treebank, or from a function that cannot be used.
  """
  if data.classes == 'conllu':
    raise config_lib.UserError(
      "masking.selection = 'class': classes come from the data's treebank, so a text has "
      'none; mlm-jax mask --row=N shows a held-out row'
    )
  # Cleaned as the training text was, before a tagger sees it.
  text = clean.given(text, data)
  tagger = classes_lib.FromFunction(data.classes)
  numbers_C = tagger.values(text)
  given_C = tagger.sorted_from[numbers_C]  # i + 1 for the i-th of the tagger's names
  class_N = np.array([0, *(names.index(name) + 1 if name in names else 0 for name in tagger.names)])
  # place_T: where in the text each token begins, and so the letter whose class it takes.
  _, place_T = tokenizer.encode_with_places(text)
  # A piece of spaces at the end is behind the last letter, hence one 0 more; [CLS] and [SEP] have
  # no class either.
  return np.array([0, *np.append(class_N[given_C], 0)[place_T], 0], np.uint8)


class PlainTokenizer:
  """A vocabulary made of one text, to try policies where none has been trained.

  Words and punctuation marks are the pieces; longer words are cut every four letters.
  Attributes are those of data.tokenizers.Tokenizer that masking needs.
  """

  pad_id, cls_id, sep_id, mask_id = range(4)

  def __init__(self, text: str):
    # A piece starts a word if there is a space before it, as with trained tokenizers.
    self._pieces = []
    for match in re.finditer(r'(\s*)(\w+|[^\w\s])', text):
      first, *others = _cut(match[2])
      self._pieces += [_MARK + first if match[1] or not match.start() else first, *others]
    self._names = list(dict.fromkeys([*_SPECIAL, *self._pieces]))

  def encode(self) -> list[int]:
    """Returns the ids of the text."""
    number = {name: i for i, name in enumerate(self._names)}
    return [number[piece] for piece in self._pieces]

  def piece(self, i: int) -> str:
    """Returns the piece with this id."""
    return self._names[i]

  def table(self) -> vocabulary.Table:
    """Returns the vocabulary as masking takes it, with the counts of the text."""
    bare = [name.removeprefix(_MARK) for name in self._names]
    apart_V = [name in _SPECIAL or scripts.stands_apart(name) for name in bare]
    starts_V = [name.startswith(_MARK) or apart for name, apart in zip(self._names, apart_V)]
    counts_V = np.bincount(self.encode(), minlength=len(self._names))
    return vocabulary.table(
      len(self._names),
      self.mask_id,
      range(len(_SPECIAL)),
      starts_V,
      apart_V,
      counts_V,
      list(map(scripts.ends_sentence, bare)),
    )


_MARK = '▁'


def _cut(word: str) -> list[str]:
  """Returns the pieces of a word; those of scripts without spaces are words of their own."""
  pieces = []
  for _, letters in itertools.groupby(word, scripts.without_spaces):
    part = ''.join(letters)
    size = _PIECE if len(part) > _WHOLE else _WHOLE
    pieces += [part[i : i + size] for i in range(0, len(part), size)]
  return pieces
