"""What a run does to a text before its tokenizer, as the normalizer of a tokenizer.json.

`transformers` cuts the names of added tokens out of a text before it is normalised, so that what is
left and right of a [MASK] would be cleaned alone, and lose the space beside it. So the name of the
mask is looked for in the cleaned text, as a run does: its entry there is `normalized`.
"""

import json
import re
from typing import Any

import tokenizers

from mlm_jax.data.corpus import clean
from mlm_jax.data.tokenizers import json_documents

# What str.split takes for white space.
_WHITE_SPACE = '\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000'
# A mask between cleaning and the tokenizer's own normalizer, which may change its name or make it
# of other letters; no cleaned text has it.
_MASK = 2 * clean.BOUNDARY_MARK


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
  if puts_space:
    steps.append(json_documents.space_before(mask))
  seen = _kept(document, [_MASK, mask] if own and data.boundary_mark == 'replace' else [mask])
  if seen == _MASK:
    steps.append(_replace(re.escape(mask), _MASK))
  tokens = [
    each | {'normalized': True} if each['content'] == mask and seen else each
    for each in document['added_tokens']
  ]
  normalizer = {'type': 'Sequence', 'normalizers': [*steps, *([own] if own else [])]}
  return document | {'normalizer': normalizer, 'added_tokens': tokens}


def _kept(document: dict, names: list[str]) -> str | None:
  """Returns the first of some names that the document's own normalizer leaves as it is."""
  normalizer = tokenizers.Tokenizer.from_str(json.dumps(document)).normalizer
  return next(
    (each for each in names if not normalizer or normalizer.normalize_str(each) == each), None
  )


def _replace(pattern: str, content: str) -> dict:
  return {'type': 'Replace', 'pattern': {'Regex': pattern}, 'content': content}
