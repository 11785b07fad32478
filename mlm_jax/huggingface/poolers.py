"""The pooler that the class of an encoder has, where the head of a run has no place for one."""

from typing import Any

import numpy as np

from mlm_jax import models
from mlm_jax.huggingface import heads
from mlm_jax.huggingface import kinds
from mlm_jax.huggingface import names
from mlm_jax.huggingface import origin
from mlm_jax.objectives import finetuning
from mlm_jax.training import saved


def of_encoder(
  trained: saved.SavedModel, model: Any, part: str
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  """Returns ({name there: array} of the pooler that the class needs, {fact: text} for the card).

  It is that of a classifier, whose head begins with it, or the one that was imported, or else an
  identity matrix, after which the class's tanh only bounds the hidden state of [CLS].
  """
  of = kinds.of_family(model.family)[1]
  if part != 'encoder' or not of.has_pooler:
    return {}, {}
  prefix, rest = of.prefix, origin.rest(trained.workdir)
  has_head = finetuning.HEAD in trained.params
  if has_head and (rules := _rules(trained.config.task.name, of)):
    return names.to_theirs(rules, trained.params, models.make(model, 1).architecture), {}
  kept = {
    name: array.astype(np.float32)
    for was, array in rest.items()
    for name in [f'{prefix}.{was.removeprefix(prefix + ".")}']
    if name.startswith(f'{prefix}.pooler.')
  }
  # Imported with the model; training here has no loss on it and has left it as it was.
  if kept:
    return kept, {}
  plain = {
    f'{prefix}.pooler.dense.weight': np.eye(model.width, dtype=np.float32),
    f'{prefix}.pooler.dense.bias': np.zeros(model.width, np.float32),
  }
  return plain, {'pooler': 'not trained: it bounds the hidden state of [CLS] and does no more'}


def _rules(task: str, of: kinds.Kind) -> list[names.Rule]:
  """Returns the Rules of the pooler with which the head of a task begins, [] where it has none."""
  rules = heads.load(task).rules(of) if task in heads.NAMES else []
  return [rule for rule in rules if rule.theirs.startswith(f'{of.prefix}.pooler.')]
