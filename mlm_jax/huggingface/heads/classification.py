"""The classes for sequence classification."""

from collections.abc import Mapping
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.huggingface import names
from mlm_jax.huggingface import tuned
from mlm_jax.huggingface import values
from mlm_jax.huggingface.kind import Kind
from mlm_jax.objectives import finetuning

CLASS = 'ForSequenceClassification'
REGRESSION = 'regression'
_SINGLE, _SEVERAL = 'single_label_classification', 'multi_label_classification'


def rules(of: Kind) -> list[names.Rule]:
  return of.sequence_head.rules(finetuning.HEAD)


def to_theirs(config: Any, facts: Mapping[str, Any], of: Kind) -> dict[str, Any]:
  return {
    **tuned.named(facts['labels']),
    'problem_type': _SEVERAL if facts['multilabel'] else _SINGLE,
    **reading(config, of),
    **tuned.own_entry(config, {}),
  }


def reading(config: Any, of: Kind) -> dict[str, Any]:
  """Returns what config.json says of how the head reads a text, whatever it scores.

  Raises:
    UserError: the class there does not read it so.
  """
  head, pooling = of.sequence_head, config.task.pooling
  if pooling != 'cls' and not head.pooling:
    raise config_lib.UserError(
      f'config.task.pooling = {pooling}: {of.masked.replace("ForMaskedLM", CLASS)} reads [CLS] '
      'alone; say --part=encoder'
    )
  return {
    head.dropout: config.model.dropout,
    **({head.pooling: pooling} if head.pooling else {}),
    **{setting: supported[-1] for setting, supported in head.needs.items()},
  }


def pooling(theirs: Mapping[str, Any], of: Kind) -> str:
  """Returns what the head of a config.json reads; UserError for a head that cannot be."""
  for name, supported in of.sequence_head.needs.items():
    if theirs.get(name) not in supported:
      values.refuse(theirs, name, f'{supported[-1]!r} for a classifier; {tuned.WITHOUT}')
  setting = of.sequence_head.pooling
  return values.choice(theirs, setting, {'cls': 'cls', 'mean': 'mean'}, 'cls') if setting else 'cls'


def to_ours(theirs: Mapping[str, Any], of: Kind) -> tuned.Tuned | None:
  labels, problem = tuned.labels(theirs), theirs.get('problem_type')
  # One score there is that of a regression, whatever else is said: see similarity.
  if problem == REGRESSION or len(labels) == 1:
    return None
  if problem not in (None, _SINGLE, _SEVERAL):
    allowed = f'{_SINGLE}, {_SEVERAL} or {REGRESSION}; {tuned.WITHOUT}'
    values.refuse(theirs, 'problem_type', allowed)
  is_multilabel = problem == _SEVERAL
  return tuned.Tuned(
    {'name': 'classification', 'multilabel': is_multilabel, 'pooling': pooling(theirs, of)},
    {'labels': labels, 'multilabel': is_multilabel},
    tuned.row_length(theirs),
  )
