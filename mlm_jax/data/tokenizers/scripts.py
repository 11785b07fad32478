"""What the characters of a piece make of it.

A word of its own: punctuation, and scripts without spaces. A part of a word: letters. The
end of a sentence: full stops and the like.
"""

import re
import unicodedata

# First and last code points of scripts that are written without spaces between words:
# the ideographic ones and those of the class SA (South-East Asian) of Unicode's line
# breaking, UAX 14, with Javanese, Balinese and Tibetan.
_WITHOUT_SPACES = (
  (0x0E00, 0x0EFF),  # Thai, Lao
  (0x0F00, 0x0FFF),  # Tibetan
  (0x1000, 0x109F),
  (0xA9E0, 0xA9FF),
  (0xAA60, 0xAA7F),  # Myanmar
  (0x1780, 0x17FF),
  (0x19E0, 0x19FF),  # Khmer
  (0x1950, 0x19DF),
  (0x1A20, 0x1AAF),
  (0xAA80, 0xAADF),
  (0x11700, 0x1174F),  # Tai Le to Ahom
  (0x1B00, 0x1B7F),
  (0xA980, 0xA9DF),  # Balinese, Javanese
  (0x3005, 0x3007),
  (0x3021, 0x3029),
  (0x3031, 0x3035),
  (0x303B, 0x303C),  # ideographic marks, numerals
  (0x3040, 0x30FF),
  (0x31F0, 0x31FF),
  (0xFF66, 0xFF9F),
  (0x1AFF0, 0x1B16F),  # kana
  (0x3100, 0x312F),
  (0x31A0, 0x31BF),  # bopomofo
  (0x3400, 0x4DBF),
  (0x4E00, 0x9FFF),
  (0xF900, 0xFAFF),
  (0x20000, 0x3FFFF),  # Han
)
_ZERO_WIDTH_SPACE = '\u200b'
# What ends a sentence in Latin, Greek, Armenian, Arabic, Indic, Myanmar, Ethiopic, Khmer and
# ideographic text, and the closing quotes and brackets that may follow it.
_SENTENCE_END = re.compile(
  r'[.!?\u2026\u203c\u2047-\u2049\u0589\u061f\u06d4\u0964\u0965\u104b\u1362\u1367'
  r'\u17d4\u17d5\u3002\uff0e\uff01\uff1f\uff61]'
  r'[\'")\]}\u00bb\u2019\u201d\u203a\u300d\u300f\u3009\u300b\u3011\uff09\uff3d]*$'
)


def without_spaces(character: str) -> bool:
  """Whether a character belongs to a script that is written without spaces."""
  code = ord(character)
  return any(first <= code <= last for first, last in _WITHOUT_SPACES)


def stands_apart(text: str) -> bool:
  """Whether a piece is a word of its own: no letter or number of a spaced script.

  Marks, and format characters such as the zero-width joiners of Persian and of the Indic
  scripts, go with what they follow; a piece of these alone is not a word.
  """
  bases = [c for c in text if not _goes_with_another(c)]
  return bool(bases) and all(
    without_spaces(c) or unicodedata.category(c)[0] not in 'LN' for c in bases
  )


def has_letters(text: str) -> bool:
  """Whether a piece has a letter, mark or number of any script."""
  return any(unicodedata.category(c)[0] in 'LMN' for c in text)


def ends_sentence(text: str) -> bool:
  """Whether a piece ends with a full stop or the like, also with closing quotes after it.

  The stop of an abbreviation or a decimal number looks the same.
  """
  return bool(_SENTENCE_END.search(text))


def _goes_with_another(character):
  category = unicodedata.category(character)
  return (
    category == 'Cf'
    and character != _ZERO_WIDTH_SPACE
    or category[0] == 'M'
    and not without_spaces(character)
  )
