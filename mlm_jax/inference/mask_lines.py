"""Masked pieces as lines of a terminal: coloured, or between the marks of `mask_marks`."""

from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
import itertools
import sys

import numpy as np
from rich import console
from rich import text

from mlm_jax import masking
from mlm_jax.data.tokenizers import scripts
from mlm_jax.inference import mask_marks
from mlm_jax.inference import mask_preview
from mlm_jax.inference import mask_source

_STYLES = {
  'mask': 'bold white on red',
  'random': 'bold black on yellow',
  'keep': 'bold black on green',
}


def show(source: mask_source.Source, visits: int, seed: int) -> None:
  """Prints what a policy does to a row on its first visits, and notes for the reader."""
  tokenizer, batch = source.tokenizer, source.batch
  ends = {tokenizer.piece(i) for i in (tokenizer.cls_id, tokenizer.sep_id)}
  pieces: list[mask_preview.MaskedPiece] = []
  _print(legend())
  for visit in range(visits):
    # The same example on another visit: so masks differ from epoch to epoch.
    batch = dataclasses.replace(batch, visit_B=np.full_like(batch.visit_B, visit))
    (pieces,) = mask_preview.mask_batch(
      source.policy, batch, tokenizer.piece, tokenizer.pad_id, seed=seed, progress=source.progress
    )
    _show_visit(pieces, ends)
  for note in _notes(source.policy, source.progress, pieces):
    _print(note, style='dim')


def _show_visit(pieces: list[mask_preview.MaskedPiece], ends: set[str]) -> None:
  """Prints each document on a line, then counts; `ends` are the pieces around documents."""
  # [CLS] and [SEP] are never chosen, so they only divide.
  runs = itertools.groupby(pieces, lambda each: each.piece in ends)
  documents = [list(each) for is_end, each in runs if not is_end]
  for document in documents:
    _print(line(document))
  pieces = list(itertools.chain(*documents))
  # Counted over all the documents of the row, as a rate is.
  chosen = [each for each in pieces if each.action]
  count = lambda action: sum(each.action == action for each in chosen)
  predicted = sum(each.predicted for each in chosen)
  _print(
    f'  {len(chosen)} of {len(pieces)} pieces in {len({each.unit for each in chosen})} units: '
    f'{count("mask")} masked, {count("random")} random, {count("keep")} kept'
    + (f'; {predicted} predicted' if predicted < len(chosen) else ''),
    style='dim',
  )


def legend() -> text.Text:
  """Returns what the colours, or the marks, of the lines mean."""
  shown = text.Text('  ')
  for number, (action, (example, meaning)) in enumerate(mask_marks.MEANINGS.items()):
    shown.append(', ' if number else '').append_text(_marked(example, action))
    shown.append(f' {meaning}')
  return shown.append(f'; {mask_marks.ESCAPE}')


def line(pieces: Iterable[mask_preview.MaskedPiece]) -> text.Text:
  """Returns pieces as one line in which what is chosen is coloured, or stands between marks."""
  shown = text.Text()
  for part, action in mask_marks.parts(pieces):
    shown.append_text(_marked(part, action) if action else text.Text(part))
  return shown


def _marked(shown: str, action: str) -> text.Text:
  # Where nothing is coloured, on a plain terminal too, marks say what colours would.
  is_coloured = sys.stdout.isatty() and console.Console().color_system is not None
  begin, end = mask_marks.MARKS[action]
  return text.Text(shown if is_coloured else f'{begin}{shown}{end}', _STYLES[action])


def _notes(
  policy: masking.Policy, progress: float, pieces: list[mask_preview.MaskedPiece]
) -> Iterator[str]:
  """Yields what a reader might misunderstand."""
  rate = lambda progress: float(policy.schedule.mean_at(progress))
  if not rate(progress):
    more = next(each for each in (0.5, 0.0, 1.0) if rate(each))
    yield f'  the rate is 0 at --progress={progress:g}; --progress={more:g} shows more'
  letters = ''.join(each.piece for each in pieces)
  if policy.unit.of_words and any(map(scripts.without_spaces, letters)):
    yield '  in text without spaces between words each piece is taken for a word'


def _print(content: text.Text | str, style: str | None = None) -> None:
  # Nothing in a text may be read as markup, and a line is never wrapped.
  console.Console(soft_wrap=True, highlight=False, markup=False, emoji=False).print(
    content, style=style
  )
