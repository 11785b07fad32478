"""Settings of what pretraining learns."""

import ml_collections

from mlm_jax.config.keys import Config


def objective() -> Config:
  """What is learned: the losses and their weights."""
  objective = ml_collections.ConfigDict()
  # masked, or rtd (replaced-token detection: a discriminator finds the tokens that a small
  # generator replaced)
  objective.name = 'masked'
  # masked: the loss is over every position that a policy may choose, not only the chosen ones;
  # held-out losses are always over the chosen ones
  objective.predict_all = False
  # weight of the masked loss; the losses are added up
  objective.masked_weight = 1.0
  # masked: weight of the sentence-pair loss (data.pairs); 0 = it is not used
  objective.pairs_weight = 0.0
  # masked: weight of the span boundary loss: hidden spans are predicted from the tokens at their
  # two ends; 0 = it is not used
  objective.sbo_weight = 0.0
  # rtd: weight of the discriminator's loss
  objective.rtd_weight = 50.0
  # rtd: how the two share embeddings: tied, none, or gdes (gradient-disentangled, as in DeBERTa v3)
  objective.sharing = 'tied'
  # rtd: the generator's share of the discriminator's layers
  objective.generator_layers = 1.0
  # rtd: the generator's share of width, heads and feed_forward
  objective.generator_width = 0.25
  return objective
