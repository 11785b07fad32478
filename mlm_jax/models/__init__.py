"""Encoders with one interface: make(config, vocab_size) -> Model(init, apply, head)."""

from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.models import encoder
from mlm_jax.models import families
from mlm_jax.models import heads
from mlm_jax.models.architecture import Architecture
from mlm_jax.models.encoder import Encoded
from mlm_jax.models.encoder import Model

__all__ = [
  'Encoded',
  'Model',
  'make',
  'make_discriminator',
  'pair_seps',
  'resolve',
  'sequence_head',
  'sizes',
  'span_head',
  'token_head',
]


def make(config: Any, vocab_size: int) -> Model:
  """Returns the Model with its masked-language-model head.

  Args:
    config: the group `model`, resolved.
    vocab_size: pieces of the tokenizer.
  """
  return encoder.make(_module(config, vocab_size))


def make_discriminator(config: Any, vocab_size: int) -> Model:
  """Returns the Model whose head gives one logit a position (see heads.DiscriminatorHead)."""
  return encoder.make(_module(config, vocab_size).clone(head_kind=heads.DiscriminatorHead))


def sequence_head(config: Any, architecture: Architecture, outputs: int) -> heads.SequenceHead:
  """Returns the module that scores whole texts; config is the group `model`, resolved."""
  return heads.SequenceHead(architecture, outputs, **families.load(config.family).SEQUENCE_HEAD)


def token_head(
  config: Any, architecture: Architecture, outputs: int
) -> heads.SequenceHead | heads.TokenHead:
  """Returns the module that scores tokens; config is the group `model`, resolved."""
  if families.load(config.family).TOKEN_HEAD == 'as_sequence':
    return sequence_head(config, architecture, outputs)
  return heads.TokenHead(architecture, outputs)


def span_head(config: Any, architecture: Architecture) -> Any:
  """Returns the module that scores tokens as the two ends of an answer: heads.SpanHead.

  ModernBERT's class has the layer of its other classes before the scores. config is the group
  `model`, resolved.
  """
  settings = families.load(config.family).SEQUENCE_HEAD
  if settings.get('has_norm'):
    return heads.SequenceHead(architecture, 2, **settings)
  return heads.SpanHead(architecture)


def pair_seps(config: Any) -> int:
  """Returns how many [SEP] are between the texts of a pair; config is the group `model`."""
  return families.load(config.family).PAIR_SEPS


def _module(config: Any, vocab_size: int) -> Any:
  """Returns the family's Encoder; Any, since type checkers do not see that Flax's can be hashed."""
  return families.load(config.family).module(config, vocab_size)


def sizes(family: str) -> dict[str, dict[str, int]]:
  """Returns {size: {setting of the group `model`: value}} of a family."""
  return families.load(family).SIZES


def resolve(config: Any) -> None:
  """Fills in, in place, the settings that the size and the family decide.

  Args:
    config: the group `model`; what it sets itself is kept.

  Raises:
    UserError: a size that the family does not have, or settings of another family.
  """
  # `unset` tells what was left open: a setting that still has its default.
  family, unset = families.load(config.family), config_lib.base().model
  if config.size not in family.SIZES:
    raise config_lib.UserError(
      f'config.model.size = {config.size!r}: {config.family} has {", ".join(family.SIZES)}'
    )
  _refuse_settings_of_others(config, family.GROUP, unset)
  for name, value in (family.DEFAULTS | family.SIZES[config.size]).items():
    *group, key = name.split('.')
    ours, theirs = (config[group[0]], unset[group[0]]) if group else (config, unset)
    # What still has its default was left open; what differs from it was set on purpose.
    if ours[key] == theirs[key]:
      ours[key] = value
  # What the family leaves open too is as it is elsewhere in the model.
  if config.attention_dropout == unset.attention_dropout:
    config.attention_dropout = config.dropout
  config.head_activation = config.head_activation or config.activation
  if config.uncounted_id >= 0 and config.position_offset < 1:
    raise config_lib.UserError(
      f'config.model.uncounted_id = {config.uncounted_id}: must be -1 unless '
      'config.model.position_offset is at least 1: the row before it is that of this token'
    )


def _refuse_settings_of_others(config: Any, own: str, unset: Any) -> None:
  """Raises UserError where a group of other families than the config's was changed."""
  for group, settings in config.items():
    # Groups are nested configs; everything else is a setting that all families share.
    if not config_lib.is_config(settings) or group == own:
      continue
    if settings.to_dict() != unset[group].to_dict():
      readers = [name for name in families.names() if families.load(name).GROUP == group]
      raise config_lib.UserError(
        f'config.model.{group} is for {", ".join(readers)}; the family is {config.family}'
      )
