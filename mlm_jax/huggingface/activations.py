"""Names of activations there and here."""

from collections.abc import Mapping
from typing import Any

from mlm_jax.huggingface import values

# Several names there are of the same function, up to rounding.
OURS = {
  'gelu': 'gelu',
  'gelu_python': 'gelu',
  'gelu_new': 'gelu_tanh',
  'gelu_pytorch_tanh': 'gelu_tanh',
  'gelu_fast': 'gelu_tanh',
  'gelu_accurate': 'gelu_tanh',
  'relu': 'relu',
  'silu': 'silu',
  'swish': 'silu',
  'tanh': 'tanh',
}
THEIRS = {
  'gelu': 'gelu',
  'gelu_tanh': 'gelu_pytorch_tanh',
  'relu': 'relu',
  'silu': 'silu',
  'tanh': 'tanh',
}


def read(theirs: Mapping[str, Any], name: str, default: str = 'gelu') -> str:
  """Returns our name of the activation that a setting of config.json names."""
  return values.choice(theirs, name, OURS, default)
