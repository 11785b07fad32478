"""RoBERTa (arXiv:1907.11692): BERT without types, whose positions start at 2."""

from mlm_jax.models import bert

SIZES = bert.SIZES


def make(config, vocab_size):
  """Returns the Model; config is the resolved group `model`."""
  return bert.encoder.make(bert.architecture(config, vocab_size, types=0, position_offset=2,
                                             norm_epsilon=1e-5))
