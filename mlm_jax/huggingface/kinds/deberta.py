"""DeBERTa, the first version."""

from typing import Any

import numpy as np

from mlm_jax.huggingface import names
from mlm_jax.huggingface import values
from mlm_jax.huggingface.kind import POST_NORM
from mlm_jax.huggingface.kind import Kind
from mlm_jax.huggingface.kind import SequenceHead
from mlm_jax.huggingface.kinds import bert

NUMBERS = POST_NORM | {
  'types': values.whole('type_vocab_size', 0, 1 << 16, 0),
  'norm_epsilon': values.real('layer_norm_eps', 1e-20, 1, 1e-7),
}
NEEDS = {
  'relative_attention': (True,),
  'position_biased_input': (False,),
  'talking_head': (None, False),
}
SEQUENCE_HEAD = SequenceHead(
  'pooler.dense',
  'classifier',
  dropout='cls_dropout',
  needs={'pooler_hidden_act': (None, 'gelu'), 'pooler_dropout': (None, 0)},
)
_SPAN = values.whole('max_relative_positions', -1, 1 << 20, -1)


def read(theirs: dict[str, Any]) -> dict[str, Any]:
  """Returns what both versions have: {our setting: value}."""
  kinds = theirs.get('pos_att_type') or []  # a list, or one string joined by |
  kinds = kinds.split('|') if isinstance(kinds, str) else kinds
  is_text = isinstance(kinds, list) and all(isinstance(each, str) for each in kinds)
  if not is_text or {each.strip() for each in kinds} != {'c2p', 'p2c'}:
    values.refuse(theirs, 'pos_att_type', 'c2p and p2c')
  # Tables that are narrower than the layers: not supported.
  if theirs.get('embedding_size', theirs.get('hidden_size')) != theirs.get('hidden_size'):
    values.refuse(theirs, 'embedding_size', f'hidden_size = {theirs["hidden_size"]}')
  found: dict[str, Any] = {'deberta.span': max(_SPAN.read(theirs), 0)}
  # The other head of these classes has no table of its own, whatever is said of it.
  return found if values.flag(theirs, 'legacy', True) else found | {'tied_head': True}


def write(config: Any) -> dict[str, Any]:
  """Returns what both versions have: {their setting: value}."""
  return {
    'pos_att_type': ['c2p', 'p2c'],
    'max_relative_positions': config.deberta.span or -1,
    'legacy': True,  # the head under cls.predictions, whose names ours is written with
  }


def _rules(a: Any) -> list[names.Rule]:
  """Queries, keys and values of a head are together in one product there; keys have no bias."""
  H, K, D = a.heads, a.width // a.heads, a.width
  layer = 'deberta.encoder.layer.{n}'
  paths = [f'layers/attention/{name}/kernel' for name in ('query', 'key', 'value')]
  # Theirs is [H x 3 x K, D], head by head; ours are three matrices [D, H x K].
  fused = names.Rule(
    f'{layer}.attention.self.in_proj.weight',
    tuple(paths),
    lambda x: [part.reshape(D, D).T for part in np.split(x.reshape(H, 3, K, D), 3, axis=1)],
    lambda arrays: (
      names.library(arrays).stack([x.T.reshape(H, K, D) for x in arrays], axis=1).reshape(3 * D, D)
    ),
  )
  return [
    *names.embeddings('deberta', a, positions=False),
    fused,
    names.same(f'{layer}.attention.self.q_bias', 'layers/attention/query/bias'),
    names.same(f'{layer}.attention.self.v_bias', 'layers/attention/value/bias'),
    *names.dense(f'{layer}.attention.self.pos_proj', 'layers/attention/position_key', bias=False),
    *names.dense(f'{layer}.attention.self.pos_q_proj', 'layers/attention/position_query'),
    *names.after_attention(layer),
    *names.table('deberta.encoder.rel_embeddings', 'relative'),
    *names.head(*bert.HEAD, bert.DECODER, bert.BIAS, a),
  ]


KINDS = {
  'deberta': Kind(
    ('deberta',),
    'deberta',
    'DebertaForMaskedLM',
    bert.DECODER,
    NUMBERS,
    NEEDS,
    _rules,
    SEQUENCE_HEAD,
    read=read,
    write=write,
  )
}
