"""Other names that published files have for a parameter of today's classes with heads.

Older classes had other names, an encoder saved by itself lacks the prefix, and some files hold
copies of what the classes tie.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import re

# (old name, name of today), applied one after another.
_RENAMED = (
  (r'(.*LayerNorm)\.gamma', r'\1.weight'),
  (r'(.*LayerNorm)\.beta', r'\1.bias'),
  (r'lm_predictions\.lm_head\.(dense|LayerNorm)\.(.*)', r'cls.predictions.transform.\1.\2'),
  (r'lm_predictions\.lm_head\.bias', 'cls.predictions.bias'),
)
_OF_ENCODER = re.compile(r'(embeddings|encoder|transformer|layers|final_norm|pooler)[._].*')


def current(names: Iterable[str], prefix: str, copies: Mapping[str, str]) -> dict[str, str]:
  """Returns {name in a file: name of today}; a copy gets the name of the tensor it copies.

  Args:
    names: all names in the file.
    prefix: before the names of the encoder's parameters, such as 'bert'.
    copies: {name: the one it is a copy of}.
  """
  # An encoder saved without a head: no name has the prefix that all of a model with a head have.
  is_bare = not any(name.startswith(f'{prefix}.') for name in names)

  def name_today(name: str) -> str:
    for was, now in _RENAMED:
      name = re.sub(f'^{was}$', now, name)
    name = copies.get(name, name)
    return f'{prefix}.{name}' if is_bare and _OF_ENCODER.fullmatch(name) else name

  return {name: name_today(name) for name in names}
