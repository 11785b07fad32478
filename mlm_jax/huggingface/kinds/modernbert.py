"""ModernBERT."""

import dataclasses
from typing import Any

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax.huggingface import names
from mlm_jax.huggingface import values
from mlm_jax.huggingface.kind import COMMON
from mlm_jax.huggingface.kind import Kind
from mlm_jax.huggingface.kind import SequenceHead
from mlm_jax.huggingface.kind import dropout
from mlm_jax.huggingface.values import real
from mlm_jax.huggingface.values import whole

_DECODER, _GLOBAL, _LOCAL = 'decoder', 'full_attention', 'sliding_attention'
_NUMBERS = COMMON | {
  'max_positions': whole('max_position_embeddings', 8, 1 << 20, 8192),
  'norm_epsilon': real('norm_eps', 1e-20, 1, 1e-5),
  # Of the weights and of what attention gives: one number there.
  'dropout': dropout('attention_dropout', 0.0),
  'modernbert.window': whole('local_attention', 2, 1 << 20, 128),
  'modernbert.embedding_dropout': dropout('embedding_dropout', 0.0),
  'modernbert.mlp_dropout': dropout('mlp_dropout', 0.0),
}
_NEEDS = {
  'norm_bias': (None, False),
  'attention_bias': (None, False),
  'mlp_bias': (None, False),
  'classifier_bias': (None, False),
  'decoder_bias': (None, True),
}
_EVERY = whole('global_attn_every_n_layers', 1, 1 << 10, 3)


def _read(theirs: dict[str, Any]) -> dict[str, Any]:
  if theirs['hidden_size'] // theirs['num_attention_heads'] % 2:
    values.refuse(
      theirs, 'num_attention_heads', 'such that heads have an even size, for rotary positions'
    )
  return {
    'attention_dropout': _NUMBERS['dropout'].read(theirs),
    'modernbert.global_every': _period(theirs),
    'modernbert.global_theta': _theta(theirs, _GLOBAL, 'global_rope_theta', 160_000.0),
    'modernbert.local_theta': _theta(theirs, _LOCAL, 'local_rope_theta', 10_000.0),
  }


def _period(theirs: dict[str, Any]) -> int:
  """Returns n, where layers 0, n, 2 n, ... are global."""
  # Newer files list the kind of every layer, older ones give the period alone.
  types, layers = theirs.get('layer_types'), theirs['num_hidden_layers']
  if types is None:
    return _EVERY.read(theirs)
  if isinstance(types, list) and len(types) == layers and set(map(str, types)) <= {_GLOBAL, _LOCAL}:
    # One period must describe them all, since ours is a period.
    is_global = [n for n, each in enumerate(types) if each == _GLOBAL]
    # With one such layer, the first, any period that is long enough says the same.
    every = is_global[1] if len(is_global) > 1 else layers
    if is_global == list(range(0, layers, every)):
      return every
  values.refuse(
    theirs, 'layer_types', f'{_GLOBAL} for layers 0, n, 2 n, ... and {_LOCAL} for the others'
  )


def _theta(theirs: dict[str, Any], kind: str, old: str, default: float) -> float:
  """Returns the base of the wavelengths of a kind of layer."""
  # Newer files have a group of rotary parameters for each kind of layer, older ones two numbers.
  groups: Any = {} if theirs.get('rope_parameters') is None else theirs['rope_parameters']
  group = groups.get(kind) if isinstance(groups, dict) else groups
  group = {} if group is None else group
  if not isinstance(group, dict):
    values.refuse(theirs, 'rope_parameters', f'an object with {_GLOBAL} and {_LOCAL}')
  plain = {'rope_type': ('default',), 'partial_rotary_factor': (1, None)}
  is_scaled = any(group.get(name, allowed[0]) not in allowed for name, allowed in plain.items())
  if is_scaled or theirs.get('rope_scaling') is not None:
    raise config_lib.UserError(
      'config.json: modernbert with scaled rotary positions is not supported; rope_type must be '
      'default'
    )
  fallback = real(old, 1, 1e12, default).read(theirs)
  return real('rope_theta', 1, 1e12, fallback).read(group)


def _write(config: Any) -> dict[str, Any]:
  own = config.modernbert
  return {
    'global_attn_every_n_layers': own.global_every,
    'global_rope_theta': own.global_theta,
    'local_rope_theta': own.local_theta,
    # Written both ways, for older and newer versions of the library.
    'layer_types': [_LOCAL if n % own.global_every else _GLOBAL for n in range(config.layers)],
  }


def _rules(a: Any) -> list[names.Rule]:
  """Queries, keys and values are one product there, and so are the gated layer and its gate."""

  def joined(theirs: str, *ours: str) -> names.Rule:
    return names.Rule(
      theirs,
      tuple(f'layers/{each}/kernel' for each in ours),
      lambda x: [part.T for part in np.split(x, len(ours))],
      lambda arrays: names.library(arrays).concatenate([x.T for x in arrays]),
    )

  layer = 'model.layers.{n}'
  return [
    names.padded('model.embeddings.tok_embeddings.weight', 'embeddings/token/embedding', a),
    *names.norm('model.embeddings.norm', 'embeddings/norm', bias=False),
    joined(f'{layer}.attn.Wqkv.weight', 'attention/query', 'attention/key', 'attention/value'),
    *names.dense(f'{layer}.attn.Wo', 'layers/attention/out', bias=False),
    # Their first layer has no attention norm; ours has one that is not used, at its initial ones.
    dataclasses.replace(
      names.same(f'{layer}.attn_norm.weight', 'layers/attention_norm/scale'),
      first=1,
      unused=(np.ones(a.width, np.float32),),
    ),
    joined(f'{layer}.mlp.Wi.weight', 'feed_forward/in', 'feed_forward/gate'),
    *names.dense(f'{layer}.mlp.Wo', 'layers/feed_forward/out', bias=False),
    *names.norm(f'{layer}.mlp_norm', 'layers/feed_forward_norm', bias=False),
    *names.norm('model.final_norm', 'final_norm', bias=False),
    *names.head('head.dense', 'head.norm', _DECODER, f'{_DECODER}.bias', a, bias=False),
  ]


KINDS = {
  'modernbert': Kind(
    ('modernbert',),
    'model',
    'ModernBertForMaskedLM',
    _DECODER,
    _NUMBERS,
    _NEEDS,
    _rules,
    SequenceHead('head.dense', 'classifier', norm='head.norm', pooling='classifier_pooling'),
    activation='hidden_activation',
    head_activation='classifier_activation',
    read=_read,
    write=_write,
  )
}
