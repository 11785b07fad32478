"""What a run does to a text before its tokenizer, as the normalizer of a tokenizer.json.

`transformers` cuts the names of added tokens out of a text before it is normalised, so that what is
left and right of a [MASK] would be cleaned alone, and lose the space beside it. So such names are
looked for in the cleaned text, as a run does: their entries are `normalized`.
"""

import json
import re
from typing import Any

import tokenizers

from mlm_jax.data.corpus import clean
from mlm_jax.data.tokenizers import json_documents
from mlm_jax.data.tokenizers.base import NAMES

# What str.split takes for white space.
_WHITE_SPACE = '\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000'
_FORMS = ('NFC', 'NFKC', 'NFD', 'NFKD')
_LETTERS = {name for role, names in NAMES.items() if role != 'mask' for name in names}
# What stands for a mask between cleaning and the tokenizer's own normalizer, which may change its
# name or make it of other letters: no cleaned text has the first, hardly any two noncharacters.
_HIDDEN = (2 * clean.BOUNDARY_MARK, 2 * '\U0010ffff')


def cleaning(data: Any) -> list[dict]:
  """Returns the normalizers that do what `clean.given` does; `data` is `config.data`."""
  steps, form = [], [{'type': data.unicode}] if data.unicode != 'none' else []
  steps += form
  if data.control_characters == 'remove':
    steps += [_replace(clean.CONTROL.pattern, ''), *form]
  if data.boundary_mark == 'replace':
    steps.append(_replace(clean.BOUNDARY_MARK, '_'))
  if data.white_space == 'collapse':
    steps.append(_replace(f'[{_WHITE_SPACE}]+', ' '))
    steps.append({'type': 'Strip', 'strip_left': True, 'strip_right': True})
  return steps


def with_cleaning(document: dict, data: Any, mask: str, puts_space: bool = False) -> dict:
  """Returns a tokenizer.json that cleans texts before all else.

  Args:
    document: of a tokenizer.json.
    data: `config.data`.
    mask: the name of the mask in it.
    puts_space: whether a cleaned text gets a space before it.
  """
  steps, own = cleaning(data), document['normalizer']
  first = own['normalizers'][: len(steps)] if own and own['type'] == 'Sequence' else []
  # What was exported with these rules has them already.
  if not puts_space and (not steps or first == steps):
    return document
  if _looks_at_ends(own):
    return _in_sections(document, steps)
  hidden = _HIDDEN if data.boundary_mark == 'replace' else _HIDDEN[1:]
  seen = _kept(document, [*(hidden if own else ()), mask])
  if seen and seen != mask:
    steps.append(_replace(re.escape(mask), seen))
  names = {mask} if seen else set()
  # Where their own normalizer changes no name, all are looked for in the cleaned text, but for
  # those that a run takes for letters.
  if not own or own['type'] in _FORMS:
    names |= {each['content'] for each in document['added_tokens']} - _LETTERS
  steps += [own] if own else []
  if puts_space:
    steps.append(json_documents.space_before(sorted(names - {mask} | {seen or mask})))
  tokens = [
    each | {'normalized': True} if each['content'] in names else each
    for each in document['added_tokens']
  ]
  return document | {
    'normalizer': {'type': 'Sequence', 'normalizers': steps},
    'added_tokens': tokens,
  }


def _looks_at_ends(normalizer: dict | None) -> bool:
  """Whether a tokenizer's own normalizer does something else beside a mask than inside a text."""
  inner = (normalizer or {}).get('normalizers', [normalizer or {}])
  return any(each.get('type') in ('Strip', 'Prepend') for each in inner)


def _in_sections(document: dict, steps: list[dict]) -> dict:
  """Returns a document that cleans what is between masks, each section alone.

  A space at the beginning stays, for those behind a mask; such a tokenizer puts one there anyway.
  """
  steps = [each | {'strip_left': False} if each['type'] == 'Strip' else each for each in steps]
  normalizers = [*steps, document['normalizer']]
  return document | {'normalizer': {'type': 'Sequence', 'normalizers': normalizers}}


def _kept(document: dict, names: list[str]) -> str | None:
  """Returns the first of some names that the document's own normalizer leaves as it is."""
  normalizer = tokenizers.Tokenizer.from_str(json.dumps(document)).normalizer
  return next(
    (each for each in names if not normalizer or normalizer.normalize_str(each) == each), None
  )


def _replace(pattern: str, content: str) -> dict:
  return {'type': 'Replace', 'pattern': {'Regex': pattern}, 'content': content}
