"""The classes for token classification."""

from collections.abc import Mapping
from typing import Any

from mlm_jax.data.examples import tag_schemes
from mlm_jax.huggingface import names
from mlm_jax.huggingface import tuned
from mlm_jax.huggingface import values
from mlm_jax.huggingface.kind import Kind
from mlm_jax.objectives import finetuning

CLASS = 'ForTokenClassification'
_SCHEME, _PLAIN, _DROPOUT = 'scheme', 'plain', 'classifier_dropout'


def rules(of: Kind) -> list[names.Rule]:
  return of.sequence_head.token_rules('classifier', finetuning.HEAD)


def to_theirs(config: Any, facts: Mapping[str, Any], of: Kind) -> dict[str, Any]:
  # Where it is not the setting of that class alone, the whole model's is theirs.
  is_own = of.sequence_head.dropout == _DROPOUT
  return {
    **tuned.named(facts['labels']),
    **({_DROPOUT: config.model.dropout} if is_own else {}),
    **tuned.own_entry(config, {_SCHEME: facts[_SCHEME]}),
  }


def to_ours(theirs: Mapping[str, Any], of: Kind) -> tuned.Tuned | None:
  labels = tuned.labels(theirs)
  known = {each: each for each in (*tag_schemes.PREFIXES, _PLAIN)}
  scheme = values.choice(tuned.own(theirs), _SCHEME, known, _scheme(labels))
  if not all(tag_schemes.is_tag(each, scheme) for each in labels):
    values.refuse(theirs, 'id2label', f'tags of the scheme {scheme}; {tuned.WITHOUT}')
  return tuned.Tuned(
    {'name': 'token_labelling', 'token_labelling.scheme': scheme},
    {'labels': labels, 'scheme': scheme},
    tuned.row_length(theirs),
  )


def _scheme(labels: list[str]) -> str:
  """Returns the scheme that tags are of: the first one that has them all, plain without O."""
  # The entities that tags say do not depend on it, see data/examples/tag_schemes.py.
  fits = (
    scheme
    for scheme in tag_schemes.PREFIXES
    if all(tag_schemes.is_tag(each, scheme) for each in labels)
  )
  return next(fits, _PLAIN) if tag_schemes.OUTSIDE in labels else _PLAIN
