"""BERT (arXiv:1810.04805): post-norm encoder, learned positions, two types.

Sizes below base are those of "Well-Read Students Learn Better"
(arXiv:1908.08962).
"""

from mlm_jax.models import encoder


def _size(layers, width):
  return dict(layers=layers, width=width, heads=max(1, width // 64), feed_forward=4 * width)


SIZES = {
  'tiny': _size(2, 128),
  'mini': _size(4, 256),
  'small': _size(4, 512),
  'medium': _size(8, 512),
  'base': _size(12, 768),
  'large': _size(24, 1024),
}
OWN = dict(types=2, position_offset=0, norm_epsilon=1e-12)


def module(config, vocab_size):
  """Returns the Encoder; config is the resolved group `model`."""
  return encoder.Encoder(encoder.architecture(config, vocab_size))
