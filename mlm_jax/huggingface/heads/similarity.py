"""The classes for sequence classification with one score, which is a regression there.

A bi-encoder has no head: it goes to sentence-transformers, see exporting.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from mlm_jax.huggingface import names
from mlm_jax.huggingface import tuned
from mlm_jax.huggingface import values
from mlm_jax.huggingface.heads import classification
from mlm_jax.huggingface.kind import Kind
from mlm_jax.objectives import finetuning

CLASS = classification.CLASS
_PAIRS = 'pairs'


def rules(of: Kind) -> list[names.Rule]:
  return classification.rules(of)


def to_theirs(config: Any, facts: Mapping[str, Any], of: Kind) -> dict[str, Any]:
  return {
    **tuned.named(['LABEL_0']),
    'problem_type': classification.REGRESSION,
    **classification.reading(config, of),
    **tuned.own_entry(config, {_PAIRS: bool(config.task.second_text)}),
  }


def params(ours: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the parameters with which the score is in the unit of the examples, as it is there."""
  head = ours[finetuning.HEAD]
  scale, shift = (jnp.float32(facts[name]) for name in ('scale', 'shift'))
  out = {'kernel': head['out']['kernel'] * scale, 'bias': head['out']['bias'] * scale + shift}
  return {**ours, finetuning.HEAD: {**head, 'out': out}}


def to_ours(theirs: Mapping[str, Any], of: Kind) -> tuned.Tuned | None:
  if len(tuned.labels(theirs)) != 1:  # several scores of a text have no kind of task here
    return None
  is_of_pairs = values.flag(tuned.own(theirs), _PAIRS, False)
  return tuned.Tuned(
    {
      'name': 'similarity',
      'pooling': classification.pooling(theirs, of),
      'second_text': tuned.SECOND_TEXT if is_of_pairs else '',
    },
    {'shift': 0.0, 'scale': 1.0},
    tuned.row_length(theirs),
  )
