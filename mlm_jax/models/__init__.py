"""Encoders behind one face: make(config, vocab_size) -> Model(init, apply, head)."""

from mlm_jax import config as config_lib
from mlm_jax.models import bert
from mlm_jax.models import deberta
from mlm_jax.models import deberta_v2
from mlm_jax.models import deberta_v3
from mlm_jax.models import electra
from mlm_jax.models import encoder
from mlm_jax.models import heads
from mlm_jax.models import modernbert
from mlm_jax.models import roberta
from mlm_jax.models.encoder import Encoded
from mlm_jax.models.encoder import Model

FAMILIES = {
  'bert': bert,
  'roberta': roberta,
  'electra': electra,
  'deberta': deberta,
  'deberta_v2': deberta_v2,
  'deberta_v3': deberta_v3,
  'modernbert': modernbert,
}
_GROUPS = {'deberta': ('deberta', 'deberta_v2', 'deberta_v3'), 'modernbert': ('modernbert',)}


def make(config, vocab_size):
  """Returns the Model that `config` (the group `model`, resolved) describes, with its masked
  head.
  """
  return encoder.make(FAMILIES[config.family].module(config, vocab_size))


def make_discriminator(config, vocab_size):
  """Returns the Model with a head that gives one logit a position (see heads.DiscriminatorHead)."""
  return encoder.make(
    FAMILIES[config.family].module(config, vocab_size).clone(head_kind=heads.DiscriminatorHead)
  )


def resolve(config):
  """Writes the numbers of config.size and of the family into the fields that leave them open, in
  place.

  Raises:
    UserError: a size that the family does not have, or settings of another family.
  """
  family, unset = FAMILIES[config.family], config_lib.base().model
  if config.size not in family.SIZES:
    raise config_lib.UserError(
      f'config.model.size = {config.size!r}: {config.family} has {", ".join(family.SIZES)}'
    )
  for group, families in _GROUPS.items():
    if config.family not in families and config[group].to_dict() != unset[group].to_dict():
      raise config_lib.UserError(
        f'config.model.{group} is for {", ".join(families)}; the family is {config.family}'
      )
  for name, value in (family.OWN | family.SIZES[config.size]).items():
    *group, key = name.split('.')
    ours, theirs = (config[group[0]], unset[group[0]]) if group else (config, unset)
    if ours[key] == theirs[key]:
      ours[key] = value
