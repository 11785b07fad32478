"""The numbers of an encoder in a Hugging Face config.json and in our group `model`, both ways.

A model that needs something that no family here has is refused by name, never read as if
it did not need it.
"""

from collections.abc import Mapping
from typing import Any

from mlm_jax import config as config_lib
from mlm_jax.huggingface import activations
from mlm_jax.huggingface import kinds
from mlm_jax.huggingface import values
from mlm_jax.huggingface.kind import Kind


def to_ours(theirs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
  """Returns (family, {setting of our group `model`: value}) of a config.json.

  Raises:
    UserError: an architecture or a variant that is not known here, or a value that is missing or
      cannot be.
  """
  of = kinds.of_config(theirs)
  for name, supported in of.needs.items():
    if theirs.get(name) not in supported:
      shown = values.shown(theirs.get(name), repr)
      allowed = ' or '.join(repr(each) for each in supported if each is not None)
      raise config_lib.UserError(
        f'{theirs["model_type"]} with {name} = {shown} is not supported; it must be {allowed}'
      )
  # What all kinds share by tables of names; the rest by a function of each.
  ours: dict[str, Any] = {setting: number.read(theirs) for setting, number in of.numbers.items()}
  _check_padding(theirs, ours['vocab_size'])
  if ours['width'] % ours['heads']:
    # Their own names of the two: not all kinds have the same.
    heads, width = of.numbers['heads'].name, of.numbers['width'].name
    raise config_lib.UserError(
      f'config.json: {heads} = {ours["heads"]} does not divide {width} = {ours["width"]}'
    )
  ours['activation'] = activations.read(theirs, of.activation)
  ours['head_activation'] = (
    activations.read(theirs, of.head_activation) if of.head_activation else 'gelu'
  )
  ours['tied_head'] = values.flag(theirs, 'tie_word_embeddings', True)
  # With the defaults in: functions of a kind may use what the tables have read.
  full = {number.name: ours[setting] for setting, number in of.numbers.items()}
  ours |= of.read({**theirs, **full})
  family = of.families[0]
  # One class there is two families here: version 3 is version 2 without the convolution.
  if family == 'deberta_v2' and not ours['deberta.convolution']:
    family = 'deberta_v3'
  return family, ours


def _check_padding(theirs: Mapping[str, Any], vocab_size: int) -> None:
  """Raises UserError where padding is not among the tokens."""
  pad_id = theirs.get('pad_token_id')
  is_token = isinstance(pad_id, int) and not isinstance(pad_id, bool) and 0 <= pad_id < vocab_size
  if not is_token and pad_id is not None:
    values.refuse(theirs, 'pad_token_id', f'null or a whole number below vocab_size = {vocab_size}')


def to_theirs(config: Any, pad_id: int) -> dict[str, Any]:
  """Returns the config.json of our resolved group `model`, without what the tokenizer says.

  Args:
    config: the group `model`, with `vocab_size` written out.
    pad_id: the padding token.

  Raises:
    UserError: a number that the class there has no place for.
  """
  name, of = kinds.of_family(config.family)
  flat = config_lib.flatten(config)
  # 0 means the width of the layers here, and has to be written out there.
  flat['embedding_width'] = config.embedding_width or config.width
  pad_id = padding(config, of, pad_id)
  theirs = {
    'model_type': name,
    'architectures': [of.masked],
    'torch_dtype': 'float32',
    'tie_word_embeddings': config.tied_head,
    **{number.name: flat[setting] for setting, number in of.numbers.items()},
    # The last of the supported values is the one to write; those before it are only read.
    **{setting: supported[-1] for setting, supported in of.needs.items()},
    of.activation: activations.THEIRS[config.activation],
    'pad_token_id': pad_id,
    'max_position_embeddings': config.max_positions + of.first_position(pad_id),
  }
  if of.head_activation:
    # Mostly one setting for both; `has_head` tells where that will not do.
    theirs.setdefault(of.head_activation, activations.THEIRS[config.head_activation])
  if of.always_has_types:
    theirs['type_vocab_size'] = max(config.types, 1)
  return theirs | of.write(config)


def padding(config: Any, of: Kind, pad_id: int) -> int:
  """Returns the padding token's id that config.json names, `pad_id` being the tokenizer's."""
  if config.uncounted_id < 0:
    return pad_id
  if of.counts_from_padding:
    return config.uncounted_id
  raise config_lib.UserError(
    f'config.model.uncounted_id = {config.uncounted_id}: {of.masked} counts every token'
  )


def has_head(config: Any, of: Kind) -> bool:
  """Whether a class there can have the masked head of our resolved group `model`."""
  own = {of.activation: config.activation, '': 'gelu'}
  return config.head_activation == own.get(of.head_activation, config.head_activation)
