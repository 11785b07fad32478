"""Objectives: prepare, weights and loss as pure functions of their arguments."""

from typing import Any

from mlm_jax import config as config_lib
from mlm_jax import models
from mlm_jax.objectives import masked
from mlm_jax.objectives import replaced_token
from mlm_jax.objectives import sentence_pairs
from mlm_jax.objectives import span_boundary

# Auxiliary losses, which have heads of their own under these names in the parameters.
AUXILIARY = (sentence_pairs.SentencePairLoss.name, span_boundary.SpanBoundaryLoss.name)

Objective = masked.Objective | replaced_token.Objective


def make(
  config: Any,
  vocab_size: int,
  pad_id: int,
  sep_id: int,
  head_rows: int,
  counted: str = '',
  predict_all: bool | None = None,
) -> Objective:
  """Returns the Objective that a resolved config describes.

  Args:
    config: the run's.
    vocab_size: pieces of the tokenizer.
    pad_id: the padding token.
    sep_id: the token that ends each sentence of a pair.
    head_rows, counted: see masked.Objective.
    predict_all: in place of config.objective.predict_all; None for that.

  Raises:
    UserError: a generator that cannot be made, or a table that does not hold the tokenizer.
  """
  # JAX raises no error for an index beyond a table: it looks up NaN.
  if config.model.vocab_size and config.model.vocab_size < vocab_size:
    raise config_lib.UserError(
      f'config.model.vocab_size = {config.model.vocab_size}: must be at least {vocab_size}, the '
      'pieces of the tokenizer, or 0 for as many'
    )
  # A model that was imported may have a larger table than its tokenizer has pieces.
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
      _auxiliary(own, model),
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


def scores(own: Any) -> dict[str, str]:
  """Returns {metric: 'min' or 'max', which is better} of those that say how good a model is.

  The other metrics of an objective describe what was masked and packed.

  Args:
    own: the config's group `objective`.
  """
  found = {'loss': 'min', 'accuracy': 'max', 'top5_accuracy': 'max'}
  if own.name == 'rtd':
    return found | {'rtd_loss': 'min', 'rtd_accuracy': 'max'}
  for name, weight in zip(AUXILIARY, (own.pairs_weight, own.sbo_weight), strict=True):
    found |= {f'{name}_loss': 'min', f'{name}_accuracy': 'max'} if weight else {}
  return found


def _auxiliary(own: Any, model: models.Model) -> tuple[masked.AuxiliaryLoss, ...]:
  """Returns the auxiliary losses that a config (the group `objective`) asks for."""
  losses = (
    sentence_pairs.SentencePairLoss(model.architecture, own.pairs_weight),
    span_boundary.SpanBoundaryLoss(model, own.sbo_weight),
  )
  # A coefficient of 0 means none: no head, no parameters, no metric.
  return tuple(each for each in losses if each.coefficient)


def generator_config(config: Any) -> Any:
  """Returns the generator's group `model`: the discriminator's with fewer layers or less width.

  Raises:
    UserError: the generator's heads do not divide its width.
  """
  own, model = config.objective, config.model.copy_and_resolve_references()
  share = lambda name, part: max(1, round(model[name] * part))
  with model.unlocked():
    # The tables are shared, so they keep the discriminator's width where the layers get narrower.
    model.embedding_width = model.embedding_width or model.width
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
