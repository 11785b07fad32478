"""Masked texts in a notebook: read back without a doubt, whatever the text itself is."""

import html.parser
import unicodedata

import hypothesis
from hypothesis import strategies as st

from mlm_jax.inference import mask_html
from mlm_jax.inference import mask_lines
from mlm_jax.inference import mask_preview
from tests.inference import test_mask_lines

_HOSTILE = st.one_of(
  st.text(st.sampled_from('<>&"\'/⟦⟧⟪⟫⟨⟩→\\ab א\u202e\u2066\x00'), min_size=1, max_size=6),
  st.sampled_from(
    ['<script>alert(1)</script>', '&lt;b&gt;', '</bdi></p>', '<!--', '"><img src=x>']
  ),
)
_PIECES = st.lists(st.tuples(_HOSTILE, st.sampled_from(['', 'mask', 'random', 'keep']), _HOSTILE))


class Shown(html.parser.HTMLParser):
  """Keeps the text, and the elements with their attributes; complains where they do not nest."""

  def __init__(self, text):
    super().__init__()
    self.text, self.elements, self.open = '', [], []
    self.feed(text)
    self.close()
    assert not self.open

  def handle_starttag(self, tag, attrs):
    self.elements.append((tag, *(name for name, _ in attrs)))
    self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text += data

  def handle_comment(self, data):
    raise AssertionError(data)


def pieces(given):
  return [
    mask_preview.MaskedPiece(text, other, action, bool(action), 0) for text, action, other in given
  ]


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(_PIECES)
def test_a_notebook_shows_what_a_terminal_prints_and_nothing_else(given):
  shown = Shown(mask_html.line(pieces(given)))
  assert shown.text == mask_lines.line(pieces(given)).plain
  assert set(shown.elements) <= {('bdi',), ('bdi', 'style')}
  # No text turns the direction of what stands beside it, or is unseen.
  assert not [each for each in shown.text if unicodedata.category(each) in ('Cc', 'Cf')]
  chosen = [action for _, action, _ in given if action]
  assert shown.elements.count(('bdi', 'style')) == len(chosen)
  back = [action for _, action, _ in test_mask_lines._read_back(shown.text) if action]
  assert back == chosen


def test_the_legend_is_that_of_the_terminal_and_stands_above_the_texts():
  texts = mask_html.MaskedTexts([pieces([('a', 'mask', '')]), pieces([('<b>', '', '')])])
  shown = Shown(texts._repr_html_())
  legend = mask_lines.legend().plain.strip()
  assert Shown(mask_html.legend()).text == legend
  assert shown.text == f'{legend}⟦a⟧<b>' and [name for name, *_ in shown.elements].count('p') == 3
  assert texts == [pieces([('a', 'mask', '')]), pieces([('<b>', '', '')])]  # still a list
