"""Texts become rows of ids: cleaned, cut into pieces, and made to fit.

What is longer than a row is cut, read part by part, or refused, as the caller says.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from mlm_jax import config as config_lib

TOO_LONG = ('truncate', 'window', 'error')
_OVERHEAD = 2  # [CLS] and [SEP] of each row


def checked(texts: Iterable[str]) -> list[str]:
  """Returns texts as a list; UserError for what is not a number of texts."""
  # A string is a sequence of strings too: its letters would be taken for texts.
  if isinstance(texts, str | bytes):
    raise config_lib.UserError('texts must be a list of texts, not one text')
  try:
    found = list(texts)
  except TypeError:
    raise config_lib.UserError(
      f'texts must be a list of texts, not {type(texts).__name__}'
    ) from None
  for number, text in enumerate(found):
    if not isinstance(text, str):
      raise config_lib.UserError(
        f'texts[{number}] = {config_lib.one_line(repr(text), 60)}: must be a str'
      )
  return found


def named(texts: Sequence[Any], number: int) -> str:
  """Returns what errors call a text."""
  return f'texts[{number}]' if len(texts) > 1 else 'the text'


@dataclasses.dataclass(frozen=True)
class Maker:
  """Makes rows of texts; the contents of a row are its ids without [CLS] and [SEP].

  Attributes:
    tokenizer: data.tokenizers.Tokenizer.
    data: `config.data`: how texts are cleaned.
    length: tokens of the longest row.
    log: is told what was done to texts that are longer.
  """

  tokenizer: Any
  data: Any
  length: int
  log: Callable[[str], None]

  def contents(self, text: str, has_masks: bool = False) -> np.ndarray:
    """Returns int32 ids of a text; [MASK] in it is just these letters unless `has_masks`."""
    return self.tokenizer.encode_text(text, self.data, has_masks)[1:-1]

  def row(self, contents: np.ndarray) -> np.ndarray:
    """Returns int32 [CLS] contents [SEP]."""
    return np.array([self.tokenizer.cls_id, *contents, self.tokenizer.sep_id], np.int32)

  def fit(self, contents: Sequence[np.ndarray], too_long: str, done: str) -> list[np.ndarray]:
    """Returns the contents, cut to what a row holds where too_long = 'truncate'.

    Args:
      contents: of each text.
      too_long: of TOO_LONG.
      done: what the caller does to longer ones where too_long = 'window', for the log; '' where
        there is no choice.

    Raises:
      UserError: another too_long, or, where it is 'error', a text that does not fit.
    """
    if not isinstance(too_long, str) or too_long not in TOO_LONG:
      raise config_lib.UserError(f'too_long = {too_long!r}: must be one of {", ".join(TOO_LONG)}')
    room = self.length - _OVERHEAD
    longer = [number for number, each in enumerate(contents) if len(each) > room]
    if longer and too_long == 'error':
      raise config_lib.UserError(
        f'{named(contents, longer[0])} has {len(contents[longer[0]]) + _OVERHEAD} tokens with '
        f'[CLS] and [SEP]; the model was trained on rows of {self.length}: shorten it'
        + (", or choose too_long = 'truncate' or 'window'" if done else '')
      )
    if longer:
      done = 'only their beginning is read' if too_long == 'truncate' else done
      self.log(f'{len(longer)} of {len(contents)} texts exceed {self.length} tokens: {done}')
    return [each[:room] for each in contents] if too_long == 'truncate' else list(contents)

  def windows(self, contents: np.ndarray) -> list[np.ndarray]:
    """Returns the rows of a text, one behind another; all but the last one are full."""
    room = self.length - _OVERHEAD
    return [self.row(contents[i : i + room]) for i in range(0, max(1, len(contents)), room)]

  def around(self, contents: np.ndarray, place: int) -> tuple[np.ndarray, int]:
    """Returns (the row of what is around a place of a text, the place in it).

    There is as much before it as behind it; at the ends of the text more on the other side, so that
    a row of a longer text is always full.
    """
    room = self.length - _OVERHEAD
    begin = int(np.clip(place - room // 2, 0, max(0, len(contents) - room)))
    return self.row(contents[begin : begin + room]), place - begin + 1
