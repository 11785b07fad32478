"""Encoders behind one face: make(config, vocab_size, ...) -> Model(init, apply, head)."""

from mlm_jax.models import bert
from mlm_jax.models import roberta
from mlm_jax.models.encoder import Encoded
from mlm_jax.models.encoder import Model

FAMILIES = {'bert': bert, 'roberta': roberta}


def make(config, vocab_size):
  """Returns the Model that `config` (the group `model`, resolved) describes."""
  return FAMILIES[config.family].make(config, vocab_size)


def resolve(config):
  """Writes the numbers of config.size into its fields that are 0, in place."""
  for name, value in FAMILIES[config.family].SIZES[config.size].items():
    config[name] = config[name] or value
