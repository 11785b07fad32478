"""What files call a parameter that the classes with heads call otherwise today.

Older classes had other names, an encoder saved by itself lacks the prefix, and some files hold
copies of what the classes tie.
"""

import re

# What a name was -> what it is, each in turn.
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


def current(names, prefix, table):
  """Returns {name in a file: the name of today}; a copy has the name of what it is a copy of.

  Args:
    names: all names in the file.
    prefix: before the names of the encoder's parameters, such as 'bert'.
    table: the name of the table of tokens.
  """
  is_bare = not any(name.startswith(f'{prefix}.') for name in names)

  def of(name):
    for was, now in _RENAMED:
      name = re.sub(f'^{was}$', now, name)
    if _COPIES_OF_TOKENS.fullmatch(name):
      return table
    return f'{prefix}.{name}' if is_bare and _OF_ENCODER.fullmatch(name) else name

  return {name: of(name) for name in names}
