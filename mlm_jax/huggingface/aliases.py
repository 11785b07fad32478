"""Other names that published files have for a parameter of today's classes with heads.

Older classes had other names, an encoder saved by itself lacks the prefix, and some files hold
copies of what the classes tie.
"""

from collections.abc import Iterable
import re

# (old name, name of today), applied one after another.
_RENAMED = (
  (r'(.*LayerNorm)\.gamma', r'\1.weight'),
  (r'(.*LayerNorm)\.beta', r'\1.bias'),
  (r'lm_predictions\.lm_head\.(dense|LayerNorm)\.(.*)', r'cls.predictions.transform.\1.\2'),
  (r'lm_predictions\.lm_head\.bias', 'cls.predictions.bias'),
  (r'cls\.predictions\.decoder\.bias', 'cls.predictions.bias'),
  (r'lm_head\.decoder\.bias', 'lm_head.bias'),
)
_COPIES_OF_TOKENS = re.compile(
  r'(cls\.predictions\.decoder|lm_head\.decoder|generator_lm_head|decoder)\.weight'
)
_OF_ENCODER = re.compile(r'(embeddings|encoder|layers|final_norm|pooler)[._].*')


def current(names: Iterable[str], prefix: str, table: str) -> dict[str, str]:
  """Returns {name in a file: name of today}; a copy gets the name of the tensor it copies.

  Args:
    names: all names in the file.
    prefix: before the names of the encoder's parameters, such as 'bert'.
    table: the name of the table of tokens.
  """
  # An encoder saved without a head: no name has the prefix that all of a model with a head have.
  is_bare = not any(name.startswith(f'{prefix}.') for name in names)

  def name_today(name: str) -> str:
    for was, now in _RENAMED:
      name = re.sub(f'^{was}$', now, name)
    if _COPIES_OF_TOKENS.fullmatch(name):
      return table
    return f'{prefix}.{name}' if is_bare and _OF_ENCODER.fullmatch(name) else name

  return {name: name_today(name) for name in names}
