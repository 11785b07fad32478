"""Kinds of models of the Hugging Face ecosystem: each file in this folder has those of one make.

A new kind is an entry of KINDS in one of these files, or a new file with one; nothing else has to
be edited.
"""

from collections.abc import Mapping
import functools
import importlib
import pkgutil
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.huggingface import values
from mlm_jax.huggingface.kind import Kind
from mlm_jax.huggingface.names import Rule
from mlm_jax.models.architecture import Architecture

# What serves in place of a kind that no family here can hold.
_INSTEAD = {
  'mpnet': (
    'its attention has a bias by distance that no family here has; a BERT or RoBERTa serves as it '
    'does, such as sentence-transformers/all-MiniLM-L12-v2 or all-distilroberta-v1'
  ),
  'albert': (
    'its layers share one set of weights, which no family here does; a BERT or an ELECTRA serves '
    'as it does, such as google/electra-small-generator for its size'
  ),
}


@functools.cache
def known() -> Mapping[str, Kind]:
  """Returns {model_type: Kind}."""
  files = sorted(each.name for each in pkgutil.iter_modules(__path__))
  return {
    name: kind
    for file in files
    for name, kind in importlib.import_module(f'{__name__}.{file}').KINDS.items()
  }


def of_config(theirs: Mapping[str, Any]) -> Kind:
  """Returns the Kind of a config.json.

  Raises:
    UserError: an architecture that is not known here.
  """
  name = theirs.get('model_type')
  if isinstance(name, str) and name in known():
    return known()[name]
  if isinstance(name, str) and name in _INSTEAD:
    raise config_lib.UserError(f'model_type {name!r} is not supported: {_INSTEAD[name]}')
  raise config_lib.UserError(
    f'model_type {values.shown(name, repr)} is not known here; there are {", ".join(known())}'
  )


def of_family(family: str) -> tuple[str, Kind]:
  """Returns (model_type, Kind) as which a family of ours is written."""
  return next((name, each) for name, each in known().items() if family in each.families)


def rules(family: str, architecture: Architecture) -> list[Rule]:
  """Returns the Rules of an encoder of a family and of its masked-language-model head."""
  return of_family(family)[1].rules(architecture)
