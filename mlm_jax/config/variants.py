"""The small variant that every recipe has."""

from mlm_jax.config.keys import Config
from mlm_jax.config.keys import UserError


def vary(config: Config, variant: str | None) -> Config:
  """Returns a recipe as its variant asks: None as it is, 'smoke' to see it work on a CPU.

  The smoke variant keeps the family, the masking and the kind of optimizer and
  shrinks everything else to about a minute on two cores, on the built-in corpus.
  """
  if variant is None:
    return config
  if variant != 'smoke':
    raise UserError(f'no variant {variant!r}: there is smoke, or none')
  if 'task' in config:
    config.batch_size, config.total_steps = 4, 30
    config.data.row_length = 64
    config.evaluation.batch_size = 4
    return config
  config.batch_size, config.total_steps = 16, 60
  config.data.update(
    source='pydocs', document='file', vocab_size=2000, row_length=64, tokenizer_characters=500_000
  )
  config.optim.update(warmup_steps=10, decay_steps=0)
  # The model of the run in init_from has its size, and a high rate would undo its training.
  if config.model.family:
    config.model.update(layers=2, width=64, heads=2, feed_forward=128, dtype='float32')
    config.optim.learning_rate = 2e-3
  config.evaluation.update(every=30, rows=64, batch_size=16)
  config.checkpoint.every = 30
  config.log.every = 10
  if config.stages:
    config.stages = ({'steps': 40, 'data.row_length': 32}, {'steps': 20})
  return config
