"""How masked pieces are marked in a text, on a terminal and in a notebook alike.

⟦mask⟧   hidden from the model
⟪a→b⟫    the random piece b in place of a
⟨kept⟩   chosen, but shown as it is

A mark, a backslash or a control character in the text itself is written with a backslash, so that
whatever the text is, a mark without one is ours.
"""

from collections.abc import Iterable
from collections.abc import Iterator

from mlm_jax.data import tokenizers as tokenizer_lib
from mlm_jax.inference import mask_preview

MARKS = {'mask': ('⟦', '⟧'), 'random': ('⟪', '⟫'), 'keep': ('⟨', '⟩')}
_TO = '→'  # from what a random piece stands in place of to the random piece
# {action: (an example, what it means)}: the legend.
MEANINGS = {
  'mask': ('hidden', 'hidden from the model'),
  'random': (f'piece{_TO}random', 'the model sees a random piece'),
  'keep': ('kept', 'chosen, and shown as it is'),
}
ESCAPE = '\\ before a sign of the text itself'
# White space that is more than a space, and would end the line or move the cursor.
_BREAKS = '\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029'
_OURS = {*''.join(map(''.join, MARKS.values())), _TO, '\\'}


def parts(pieces: Iterable[mask_preview.MaskedPiece]) -> Iterator[tuple[str, str]]:
  """Yields (text, action) of a line of pieces, escaped and without marks; '' is not chosen."""
  has_begun = False
  for each in pieces:
    word = each.piece.lstrip(tokenizer_lib.BOUNDARY_MARK)
    # A mark of a word's start is shown as the space before the word. A piece that is such a mark
    # alone has no word to be before: what is done to it must be seen, so it is shown as it is.
    space = len(each.piece) - len(word) if has_begun and (word or not each.action) else 0
    if space:
      yield ' ' * space, ''
    shown = escaped(word or (each.piece if each.action else ''))
    if each.action == 'random':
      shown += _TO + escaped(each.shown.lstrip(tokenizer_lib.BOUNDARY_MARK) or each.shown)
    if shown or each.action:
      yield shown, each.action
    has_begun = has_begun or bool(shown or each.action)


def escaped(piece: str) -> str:
  """Returns a piece of text in which nothing can be taken for a mark, or moves the cursor."""
  letters = []
  for letter in piece:
    if letter in _OURS:
      letter = '\\' + letter
    elif not letter.isprintable() and not letter.isspace() or letter in _BREAKS:
      letter = f'\\u{ord(letter):04x}' if ord(letter) < 0x10000 else f'\\U{ord(letter):08x}'
    letters.append(letter)
  return ''.join(letters)
