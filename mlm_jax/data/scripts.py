"""Which characters make a piece a word of its own: punctuation, and scripts without spaces."""

import unicodedata

# First and last code points of scripts that are written without spaces between words.
_WITHOUT_SPACES = (
    (0x0E00, 0x0EFF),    # Thai, Lao
    (0x0F00, 0x0FFF),    # Tibetan
    (0x1000, 0x109F),    # Myanmar
    (0x1780, 0x17FF),    # Khmer
    (0x3005, 0x3007), (0x3021, 0x3029),  # ideographic marks and numerals
    (0x3040, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F),  # kana
    (0x3100, 0x312F), (0x31A0, 0x31BF),  # bopomofo
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF),  # Han
)


def without_spaces(character):
  """Whether a character belongs to a script that is written without spaces."""
  code = ord(character)
  return any(first <= code <= last for first, last in _WITHOUT_SPACES)


def stands_apart(text):
  """Whether a piece is a word of its own: no letter, digit or mark of a spaced script."""
  return all(without_spaces(c) or unicodedata.category(c)[0] not in 'LNM' for c in text)
