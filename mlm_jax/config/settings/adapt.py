"""Settings of adaptation: a trained model goes on with the text of a domain."""

import ml_collections

from mlm_jax.config.keys import Config


def adapt() -> Config:
  """What is followed of general text while a model learns a domain, and what may be lost of it."""
  adapt = ml_collections.ConfigDict()
  # general text, as in data.source; '' = the rows of the run in init_from, which its folder keeps
  adapt.general = ''
  # nats by which the held-out loss of general text may rise above that of step 0: a checkpoint
  # beyond is not the best one, and training ends there
  adapt.allowance = 0.2
  # share of the training rows that are general text
  adapt.replay = 0.0
  # words of the domain that the tokenizer gets as further pieces, those that save most tokens of
  # its training text; 0 = it is kept as it is
  adapt.new_pieces = 0
  return adapt
