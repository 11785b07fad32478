"""BERT (arXiv:1810.04805): post-norm encoder, learned positions, two types.

Sizes below base are those of "Well-Read Students Learn Better"
(arXiv:1908.08962).
"""

from typing import Any

from mlm_jax.models import architecture
from mlm_jax.models import encoder


def _size(layers: int, width: int) -> dict[str, int]:
  return dict(layers=layers, width=width, heads=max(1, width // 64), feed_forward=4 * width)


SIZES = {
  'tiny': _size(2, 128),
  'mini': _size(4, 256),
  'small': _size(4, 512),
  'medium': _size(8, 512),
  'base': _size(12, 768),
  'large': _size(24, 1024),
}
DEFAULTS = dict(types=2, position_offset=0, norm_epsilon=1e-12)
GROUP = ''
SEQUENCE_HEAD = dict(activation='tanh')
TOKEN_HEAD = 'plain'
PAIR_SEPS = 1


def module(config: Any, vocab_size: int) -> encoder.Encoder:
  """Returns the Encoder; config is the resolved group `model`."""
  return encoder.Encoder(architecture.make(config, vocab_size))
