"""Unicode's normal forms as the `tokenizers` library has them, so that an export can repeat them.

The library knows the characters of an older version of Unicode (9.0) than Python does. Those that
it does not know stay as they are here too, and nothing is reordered or composed across one: some
170, none of a common script. So every version of Python normalises a text alike.
"""

import functools
import re
import sys
from typing import Any
import unicodedata

from tokenizers import normalizers

_LOW_MARK, _HIGH_MARK = '\u0334', '\u0345'  # of the lowest and the highest combining class


def normalize(text: str, form: Any) -> str:
  """Returns a text in the form NFC or NFKC; the same again when normalised again."""
  # What is normal to Python has nothing left for the library to compose or reorder either.
  if unicodedata.is_normalized(form, text):
    return text
  # Known and unknown characters in turn.
  parts = _unknown().split(text)
  parts[::2] = [unicodedata.normalize(form, part) for part in parts[::2]]
  return ''.join(parts)


@functools.cache
def _unknown() -> re.Pattern:
  """Matches one character of which the library does not know what Python knows; a group."""
  library = normalizers.NFKD()
  characters = set()
  for code in range(128, sys.maxunicode + 1):
    each = chr(code)
    decomposed = unicodedata.normalize('NFKD', each)
    if unicodedata.combining(each):
      # A mark that is known goes before one of a higher class.
      is_known = library.normalize_str(each + _LOW_MARK)[0] == _LOW_MARK or (
        library.normalize_str(_HIGH_MARK + each)[0] == each
      )
      if not is_known and each != _HIGH_MARK and each != _LOW_MARK:
        characters.add(each)
    elif decomposed != each and library.normalize_str(each) != decomposed:
      # Where its parts compose to it again, the second one must not.
      composes = unicodedata.normalize('NFC', unicodedata.normalize('NFD', each)) == each
      has_parts = unicodedata.normalize('NFD', each) != each
      characters |= {each, decomposed[-1]} if composes and has_parts else {each}
  return re.compile(f'([{"".join(sorted(map(re.escape, characters)))}])')
