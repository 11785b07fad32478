"""The numbers of an encoder in a Hugging Face config.json and in our group `model`, both ways.

A model that needs something that no family here has is refused by name, never read as if
it did not need it.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

from mlm_jax import config as config_lib

# {our setting: their setting}, where a number has a name there.
_COMMON = {
  'layers': 'num_hidden_layers',
  'width': 'hidden_size',
  'heads': 'num_attention_heads',
  'feed_forward': 'intermediate_size',
  'init_std': 'initializer_range',
}
_POST_NORM = _COMMON | {
  'types': 'type_vocab_size',
  'norm_epsilon': 'layer_norm_eps',
  'dropout': 'hidden_dropout_prob',
}


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of model there.

  Attributes:
    families: of ours that it may be.
    prefix: before the names of the encoder's parameters in the classes that have heads.
    names: {our setting: their setting}.
    defaults: {their setting: what its absence means there}.
    needs: {their setting: the values that are supported}, the absence of a setting being None.
    masked: the class with a masked-language-model head.
  """

  families: tuple[str, ...]
  prefix: str
  names: dict[str, str]
  defaults: dict[str, Any]
  needs: dict[str, tuple[Any, ...]]
  masked: str


# None: the setting is absent, and its default there is what we support.
_GELU = {'hidden_act': (None, 'gelu')}
_ABSOLUTE = _GELU | {
  'position_embedding_type': (None, 'absolute'),
  'is_decoder': (None, False),
  'add_cross_attention': (None, False),
  'tie_word_embeddings': (None, True),
}
_BERT_DEFAULTS = {
  'layer_norm_eps': 1e-12,
  'type_vocab_size': 2,
  'initializer_range': 0.02,
  'hidden_dropout_prob': 0.1,
  'max_position_embeddings': 512,
  'pad_token_id': 0,
}
_RELATIVE = _GELU | {
  'relative_attention': (True,),
  'position_biased_input': (False,),
  'talking_head': (None, False),
  'tie_word_embeddings': (None, True),
}
_DEBERTA_DEFAULTS = _BERT_DEFAULTS | {'layer_norm_eps': 1e-7, 'type_vocab_size': 0}

KINDS = {
  'bert': Kind(('bert',), 'bert', _POST_NORM, _BERT_DEFAULTS, _ABSOLUTE, 'BertForMaskedLM'),
  'roberta': Kind(
    ('roberta',),
    'roberta',
    _POST_NORM,
    _BERT_DEFAULTS | {'pad_token_id': 1},
    _ABSOLUTE,
    'RobertaForMaskedLM',
  ),
  'xlm-roberta': Kind(
    ('roberta',),
    'roberta',
    _POST_NORM,
    _BERT_DEFAULTS | {'pad_token_id': 1},
    _ABSOLUTE,
    'XLMRobertaForMaskedLM',
  ),
  'electra': Kind(
    ('electra',),
    'electra',
    _POST_NORM | {'embedding_width': 'embedding_size'},
    _BERT_DEFAULTS | {'embedding_size': 128},
    _ABSOLUTE,
    'ElectraForMaskedLM',
  ),
  'deberta': Kind(
    ('deberta',), 'deberta', _POST_NORM, _DEBERTA_DEFAULTS, _RELATIVE, 'DebertaForMaskedLM'
  ),
  'deberta-v2': Kind(
    ('deberta_v2', 'deberta_v3'),
    'deberta',
    _POST_NORM,
    _DEBERTA_DEFAULTS,
    _RELATIVE | {'conv_groups': (None, 1)},
    'DebertaV2ForMaskedLM',
  ),
  'modernbert': Kind(
    ('modernbert',),
    'model',
    _COMMON | {'norm_epsilon': 'norm_eps', 'modernbert.window': 'local_attention'},
    {
      'norm_eps': 1e-5,
      'local_attention': 128,
      'initializer_range': 0.02,
      'max_position_embeddings': 8192,
      'pad_token_id': 50283,
    },
    {
      'hidden_activation': (None, 'gelu'),
      'classifier_activation': (None, 'gelu'),
      'norm_bias': (None, False),
      'attention_bias': (None, False),
      'mlp_bias': (None, False),
      'classifier_bias': (None, False),
      'decoder_bias': (None, True),
      'tie_word_embeddings': (None, True),
    },
    'ModernBertForMaskedLM',
  ),
}
# Families whose classes there have no model without types: it has one type, for all tokens.
WITH_TYPES = ('bert', 'roberta', 'electra')


def kind(theirs: dict[str, Any]) -> Kind:
  """Returns the Kind of a config.json.

  Raises:
    UserError: an architecture that is not known here.
  """
  name = theirs.get('model_type')
  if name not in KINDS:
    raise config_lib.UserError(
      f'model_type {name!r} is not known here; there are {", ".join(KINDS)}'
    )
  return KINDS[name]


def to_ours(theirs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
  """Returns (family, {setting of our group `model`: value}) of a config.json.

  Raises:
    UserError: an architecture or a variant that is not known here, or a number that is missing.
  """
  of = kind(theirs)
  for name, supported in of.needs.items():
    if theirs.get(name) not in supported:
      raise config_lib.UserError(
        f'{theirs["model_type"]} with {name} = {theirs.get(name)!r} is not supported; it must '
        f'be {" or ".join(repr(each) for each in supported if each is not None)}'
      )
  # A null in config.json means the same as no entry.
  full = of.defaults | {name: value for name, value in theirs.items() if value is not None}
  missing = [name for name in of.names.values() if name not in full]
  if missing or 'vocab_size' not in full:
    raise config_lib.UserError(f'config.json lacks {", ".join(missing or ["vocab_size"])}')
  # What all families share by a table of names; the rest by a function of each.
  ours = {setting: full[name] for setting, name in of.names.items()}
  ours['vocab_size'], ours['max_positions'] = full['vocab_size'], full['max_position_embeddings']
  more: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    'roberta': _roberta,
    'deberta': _deberta,
    'deberta_v2': _deberta_v2,
    'modernbert': _modernbert,
  }
  family = of.families[0]
  try:
    if family in more:
      ours |= more[family](full)
    fits = ours['width'] % ours['heads'] == 0
  except (TypeError, ValueError, AttributeError, KeyError, ZeroDivisionError) as error:
    raise config_lib.UserError(
      f'config.json is damaged: a value has the wrong type ({error})'
    ) from None
  if not fits:
    raise config_lib.UserError(
      f'config.json: num_attention_heads = {ours["heads"]} does not divide hidden_size = '
      f'{ours["width"]}'
    )
  # One class there is two families here: version 3 is version 2 without the convolution.
  if family == 'deberta_v2' and not ours['deberta.convolution']:
    family = 'deberta_v3'
  return family, ours


def to_theirs(config: Any, pad_id: int) -> dict[str, Any]:
  """Returns the config.json of our resolved group `model`, without what the tokenizer says.

  Args:
    config: the group `model`, with `vocab_size` written out.
    pad_id: the padding token.
  """
  name, of = next((name, each) for name, each in KINDS.items() if config.family in each.families)
  flat = config_lib.flatten(config)
  theirs = {
    'model_type': name,
    'architectures': [of.masked],
    'torch_dtype': 'float32',
    'pad_token_id': pad_id,
    'vocab_size': config.vocab_size,
    'max_position_embeddings': config.max_positions + first_position(config.family, pad_id),
  }
  # 0 means the width of the layers here, and has to be written out there.
  flat['embedding_width'] = config.embedding_width or config.width
  theirs |= {there: flat[setting] for setting, there in of.names.items()}
  # The last of the supported values is the one to write; those before it are only read.
  theirs |= {setting: supported[-1] for setting, supported in of.needs.items()}
  if 'dropout' in of.names:
    # We have one dropout rate for all places.
    theirs['attention_probs_dropout_prob'] = config.dropout
  if config.family in WITH_TYPES:
    theirs['type_vocab_size'] = max(config.types, 1)
  if config.family.startswith('deberta'):
    own = config.deberta
    theirs |= {
      'pos_att_type': ['c2p', 'p2c'],
      'max_relative_positions': own.span or -1,
      'legacy': True,  # the head under cls.predictions, whose names ours is written with
    }
    if config.family != 'deberta':
      theirs |= {
        'position_buckets': own.buckets or -1,
        'share_att_key': own.projections == 'shared',
        'norm_rel_ebd': own.relative_norm,
        'conv_kernel_size': own.convolution,
        'conv_act': own.convolution_act,
      }
  if config.family == 'modernbert':
    own = config.modernbert
    theirs |= {
      'global_attn_every_n_layers': own.global_every,
      'global_rope_theta': own.global_theta,
      'local_rope_theta': own.local_theta,
      'attention_dropout': 0.0,
      'layer_types': [
        # Written both ways, for older and newer versions of the library.
        'sliding_attention' if n % own.global_every else 'full_attention'
        for n in range(config.layers)
      ],
    }
  return theirs


def first_position(family: str, pad_id: int) -> int:
  """Returns the row of the position table that belongs to the first token there.

  RoBERTa counts positions from the one after the padding token's id.
  """
  return pad_id + 1 if family == 'roberta' else 0


def _roberta(theirs: dict[str, Any]) -> dict[str, Any]:
  offset = first_position('roberta', theirs['pad_token_id'])
  return {'position_offset': offset, 'max_positions': theirs['max_position_embeddings'] - offset}


def _deberta(theirs: dict[str, Any]) -> dict[str, Any]:
  kinds = theirs.get('pos_att_type') or ()  # a list, or one string joined by |
  kinds = {each.strip() for each in (kinds.split('|') if isinstance(kinds, str) else kinds)}
  if kinds != {'c2p', 'p2c'}:
    raise config_lib.UserError(
      f'{theirs["model_type"]} with pos_att_type = {sorted(kinds)} is not supported; it must '
      'be c2p and p2c'
    )
  return {'deberta.span': max(theirs.get('max_relative_positions', -1), 0)}


def _deberta_v2(theirs: dict[str, Any]) -> dict[str, Any]:
  norm = theirs.get('norm_rel_ebd', 'none')
  # Heads that together are narrower than the layers, or tables that are: not supported.
  size = theirs['hidden_size'] // theirs['num_attention_heads']
  for name, supported in (('attention_head_size', size), ('embedding_size', theirs['hidden_size'])):
    if theirs.get(name, supported) != supported:
      raise config_lib.UserError(
        f'deberta-v2 with {name} = {theirs[name]} is not supported; it must be {supported}'
      )
  return _deberta(theirs) | {
    'deberta.buckets': max(theirs.get('position_buckets', -1), 0),
    'deberta.projections': 'shared' if theirs.get('share_att_key') else 'own',
    'deberta.relative_norm': 'layer_norm' if 'layer_norm' in norm else 'none',
    'deberta.convolution': theirs.get('conv_kernel_size', 0),
    'deberta.convolution_act': theirs.get('conv_act', 'tanh'),
  }


def _modernbert(theirs: dict[str, Any]) -> dict[str, Any]:
  every, layers = theirs.get('global_attn_every_n_layers', 3), theirs['num_hidden_layers']
  # Newer files list the kind of every layer, older ones give the period alone.
  if types := theirs.get('layer_types'):
    # One period must describe them all, since ours is a period.
    is_global = [n for n, each in enumerate(types) if each == 'full_attention']
    # With one such layer, the first, any period that is long enough says the same.
    every = is_global[1] if len(is_global) > 1 else layers
    if is_global != list(range(0, layers, every)):
      raise config_lib.UserError(
        'modernbert with these layer_types is not supported; layers 0, n, 2 n, ... must be '
        'full_attention and the others sliding_attention'
      )
  # Newer files have a group of rotary parameters for each kind of layer, older ones two numbers.
  rope = theirs.get('rope_parameters') or {}
  theta = lambda kind, old, default: rope.get(kind, {}).get('rope_theta', theirs.get(old, default))
  if any(each.get('rope_type', 'default') != 'default' for each in rope.values()):
    raise config_lib.UserError(
      'modernbert with scaled rotary positions is not supported; rope_type must be default'
    )
  return {
    'modernbert.global_every': every,
    'dropout': theirs.get('attention_dropout', 0.0),
    'modernbert.global_theta': theta('full_attention', 'global_rope_theta', 160_000.0),
    'modernbert.local_theta': theta('sliding_attention', 'local_rope_theta', 10_000.0),
  }
