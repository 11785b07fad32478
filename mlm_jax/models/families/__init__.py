"""Families of encoders: each file in this folder is one, found by its name.

A new family is a new file with the names that `Family` lists. Nothing else has to be edited: the
choices of config.model.family are the names of the files here.
"""

import importlib
import pkgutil
from typing import Any
from typing import Protocol
from typing import cast

from mlm_jax.models.encoder import Encoder


class Family(Protocol):
  """What the file of a family holds.

  Attributes:
    SIZES: {size: {setting: value}} of its published sizes.
    DEFAULTS: {setting: value} of what the family decides where the config leaves it open; settings
      of a group inside `model` are dotted, as in 'deberta.buckets'.
    GROUP: the group inside config.model that belongs to it, '' for none.
    SEQUENCE_HEAD: the settings of heads.SequenceHead that classifies texts.
    TOKEN_HEAD: what scores tokens: 'plain', heads.TokenHead, or 'as_sequence', the head of texts.
    PAIR_SEPS: how many [SEP] are between the texts of a pair.
  """

  SIZES: dict[str, dict[str, int]]
  DEFAULTS: dict[str, Any]
  GROUP: str
  SEQUENCE_HEAD: dict[str, Any]
  TOKEN_HEAD: str
  PAIR_SEPS: int

  def module(self, config: Any, vocab_size: int) -> Encoder:
    """Returns the Encoder; config is the resolved group `model`."""
    ...


def names() -> tuple[str, ...]:
  """Returns the names of all families, in the order of the alphabet."""
  return tuple(sorted(each.name for each in pkgutil.iter_modules(__path__)))


def load(name: str) -> Family:
  """Returns the module of a family; `name` is one of `names()`, as config.check has made sure."""
  return cast(Family, importlib.import_module(f'{__name__}.{name}'))
