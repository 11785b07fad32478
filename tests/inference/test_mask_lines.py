"""Printed masks are read back without a doubt, whatever signs the text itself has."""

import re

import hypothesis
from hypothesis import strategies as st

from mlm_jax.inference import mask_lines
from mlm_jax.inference import mask_preview

_HOSTILE = st.one_of(
  st.text(st.sampled_from('⟦⟧⟪⟫⟨⟩→\\\\[]{}<>*ab\x1b\n\r\t'), min_size=1, max_size=6),
  st.sampled_from(['[MASK]', '\x1b[31m', '⟦a⟧', '\\\\u001b', '\u2028', '\u202e']),
)
_PIECES = st.lists(st.tuples(_HOSTILE, st.sampled_from(['', 'mask', 'random', 'keep']), _HOSTILE))
_ACTIONS = {'⟦': 'mask', '⟪': 'random', '⟨': 'keep'}
_SIGN = r'\\u[0-9a-f]{4}|\\U[0-9a-f]{8}|\\.|.'


def _plain(signs):
  """Returns the text that was written as signs."""
  decoded = lambda sign: chr(int(sign[2:], 16)) if sign[:2] in ('\\u', '\\U') else sign[-1]
  return ''.join(map(decoded, signs))


def _read_back(line):
  """Returns [(text, action, random piece)], as the legend says; neighbours unchosen are one."""
  found, signs, action = [], [], ''
  for sign in re.findall(_SIGN, line):
    if sign in '⟦⟪⟨⟧⟫⟩':
      if signs:
        parts = ''.join('\0' if each == '→' else each for each in signs).split('\0')
        parts = [_plain(re.findall(_SIGN, part)) for part in parts]
        found.append((parts[0], action, parts[1] if action == 'random' else ''))
      signs, action = [], _ACTIONS.get(sign, '')
    else:
      signs.append(sign)
  return found + ([(_plain(signs), '', '')] if signs else [])


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(_PIECES)
def test_actions_are_read_back_from_hostile_texts(given):
  pieces = [
    mask_preview.MaskedPiece(text, other, action, bool(action), 0) for text, action, other in given
  ]
  line = mask_lines.line(pieces).plain
  expected = []
  for text, action, other in given:
    if not action and expected and not expected[-1][1]:
      expected[-1] = (expected[-1][0] + text, '', '')
    else:
      expected.append((text, action, other if action == 'random' else ''))
  assert _read_back(line) == expected
  assert len(line.splitlines()) <= 1 and '\x1b' not in line


def test_the_legend_names_every_mark():
  legend = mask_lines.legend().plain
  assert all(mark in legend for mark in '⟦⟧⟪⟫⟨⟩→\\')
