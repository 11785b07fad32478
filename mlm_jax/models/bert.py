"""BERT (arXiv:1810.04805): post-norm encoder, learned positions, two types.

Sizes below base are those of "Well-Read Students Learn Better"
(arXiv:1908.08962).
"""

from mlm_jax.models import encoder


def _size(layers, width):
  return dict(layers=layers, width=width, heads=max(1, width // 64), feed_forward=4 * width)


SIZES = {
    'tiny': _size(2, 128), 'mini': _size(4, 256), 'small': _size(4, 512),
    'medium': _size(8, 512), 'base': _size(12, 768), 'large': _size(24, 1024),
}


def make(config, vocab_size):
  """Returns the Model; config is the resolved group `model`."""
  return encoder.make(architecture(config, vocab_size, types=2, position_offset=0,
                                   norm_epsilon=1e-12))


def architecture(config, vocab_size, *, types, position_offset, norm_epsilon):
  """Returns the Architecture that a config and a family's own numbers describe."""
  return encoder.Architecture(
      vocab_size=vocab_size, max_positions=config.max_positions, types=types,
      position_offset=position_offset, norm_epsilon=norm_epsilon, layers=config.layers,
      width=config.width, heads=config.heads, feed_forward=config.feed_forward,
      init_std=config.init_std, dropout=config.dropout, dtype=config.dtype,
      scan_layers=config.scan_layers, remat=config.remat)
