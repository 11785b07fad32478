"""The tokenizer and the objective that a saved model was trained with."""

from typing import Any

import jax

from mlm_jax import config as config_lib
from mlm_jax import objectives
from mlm_jax.data import store
from mlm_jax.data import tokenizers
from mlm_jax.objectives import finetuning


def encoder_params(model: Any, tokenizer: tokenizers.Tokenizer) -> dict[str, Any]:
  """Returns the encoder's parameters, without any head, of a training.saved.SavedModel.

  Raises:
    UserError: the parameters are not of the model that config.json describes.
  """
  if 'task' in model.config:
    return {name: each for name, each in model.params.items() if name != finetuning.HEAD}
  objective = objectives.make(
    model.config, tokenizer.size, tokenizer.pad_id, tokenizer.sep_id, head_rows=1
  )
  model.check_params(objective.init, f'config.json and a tokenizer of {tokenizer.size} pieces')
  params = objective.encoder_params(model.params)
  return {name: each for name, each in params.items() if name in _parts(objective.encoder)}


def _parts(encoder: Any) -> list[str]:
  """Returns the names at the top of an encoder's parameters, without its head."""
  return [name for name in jax.eval_shape(encoder.init, jax.random.key(0)) if name != 'head']


def restore(model: Any) -> tuple[tokenizers.Tokenizer, Any]:
  """Returns (Tokenizer, Objective) of a training.saved.SavedModel.

  Raises:
    UserError: the tokenizer in the run's folder is not the one that the model was trained with,
      or the parameters are not of the model that config.json describes.
  """
  path = model.workdir / store.TOKENIZER
  tokenizer = tokenizers.load(path)
  if model.fingerprints.get('tokenizer', tokenizer.sha256) != tokenizer.sha256:
    raise config_lib.UserError(f'{path} is not the tokenizer that the run was trained with')
  objective = objectives.make(
    model.config, tokenizer.size, tokenizer.pad_id, tokenizer.sep_id, head_rows=1
  )
  model.check_params(objective.init, f'config.json and a tokenizer of {tokenizer.size} pieces')
  return tokenizer, objective
