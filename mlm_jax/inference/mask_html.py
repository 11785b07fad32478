"""Masked texts as a notebook shows them: coloured, between the marks of `mask_marks`."""

from collections.abc import Iterable
import html

from mlm_jax.inference import mask_marks
from mlm_jax.inference import mask_preview

_COLORS = {
  'mask': 'background:#b3261e;color:#ffffff',
  'random': 'background:#ffd166;color:#000000',
  'keep': 'background:#8fd694;color:#000000',
}


class MaskedTexts(list[list[mask_preview.MaskedPiece]]):
  """A list of MaskedPiece for each text, which a notebook shows with a legend."""

  def _repr_html_(self) -> str:
    """Returns the HTML that a notebook shows for it; it asks for it by this name."""
    texts = ''.join(
      f'<p dir="auto" style="line-height:1.8;white-space:pre-wrap">{line(each)}</p>'
      for each in self
    )
    return f'<div><p><small>{legend()}</small></p>{texts}</div>'


def legend() -> str:
  """Returns, as HTML, what the colours and marks of the lines mean."""
  meanings = (
    f'{_marked(example, action)} {html.escape(meaning)}'
    for action, (example, meaning) in mask_marks.MEANINGS.items()
  )
  return f'{", ".join(meanings)}; {html.escape(mask_marks.ESCAPE)}'


def line(pieces: Iterable[mask_preview.MaskedPiece]) -> str:
  """Returns pieces as one line of HTML."""
  return ''.join(
    _marked(text, action) if action else html.escape(text)
    for text, action in mask_marks.parts(pieces)
  )


def _marked(text: str, action: str) -> str:
  # Marks too: colours are lost where styles are, and not seen by all. Isolated, so that a word that
  # is written from right to left leaves its marks around it.
  begin, end = mask_marks.MARKS[action]
  return f'<bdi style="{_COLORS[action]}">{begin}<bdi>{html.escape(text)}</bdi>{end}</bdi>'
