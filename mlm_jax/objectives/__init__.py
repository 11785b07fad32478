"""Objectives: prepare, weights and loss as pure functions of their arguments."""

from mlm_jax import config as config_lib
from mlm_jax import models
from mlm_jax.objectives import masked
from mlm_jax.objectives import replaced_token
from mlm_jax.objectives import sentence_pairs
from mlm_jax.objectives import span_boundary

ADDED = (sentence_pairs.Term.name, span_boundary.Term.name)  # losses with heads of their own


def make(config, vocab_size, pad_id, sep_id, head_rows, counted='', predict_all=None):
  """Returns the Objective that a resolved config describes.

  Args:
    config: the run's.
    vocab_size: pieces of the tokenizer.
    pad_id, sep_id: the padding token, and the one that ends a sentence of a pair.
    head_rows, counted: see masked.Objective.
    predict_all: instead of config.objective.predict_all; None for that.

  Raises:
    UserError: a generator that cannot be made.
  """
  own, vocab_size = config.objective, config.model.vocab_size or vocab_size
  if own.name == 'masked':
    model = models.make(config.model, vocab_size)
    return masked.Objective(
      model,
      pad_id,
      head_rows,
      counted,
      own.masked_weight,
      own.predict_all if predict_all is None else predict_all,
      _terms(own, model),
      sep_id,
    )
  generator = models.make(generator_config(config), vocab_size)
  return replaced_token.Objective(
    masked.Objective(generator, pad_id, head_rows, counted, sep_id=sep_id),
    models.make_discriminator(config.model, vocab_size),
    own.sharing,
    own.masked_weight,
    own.rtd_weight,
  )


def _terms(own, model):
  """Returns the added losses that a config (the group `objective`) asks for."""
  terms = (
    sentence_pairs.Term(model.architecture, own.pairs_weight),
    span_boundary.Term(model, own.sbo_weight),
  )
  return tuple(term for term in terms if term.weight)


def generator_config(config):
  """Returns the group `model` of the generator: the discriminator's, with its shares of layers and
  width.
  """
  own, model = config.objective, config.model.copy_and_resolve_references()
  share = lambda name, part: max(1, round(model[name] * part))
  with model.unlocked():
    model.embedding_width = model.embedding_width or model.width  # the tables are shared
    model.update(
      layers=share('layers', own.generator_layers),
      heads=share('heads', own.generator_width),
      width=share('width', own.generator_width),
      feed_forward=share('feed_forward', own.generator_width),
    )
  if model.width % model.heads:
    raise config_lib.UserError(
      f'config.objective.generator_width = {own.generator_width}: the generator would be '
      f'{model.width} wide, '
      f'which its {model.heads} heads do not divide'
    )
  return model
