"""DistilBERT: BERT's encoder without types, under names of its own."""

from typing import Any

from mlm_jax.huggingface import names
from mlm_jax.huggingface import values
from mlm_jax.huggingface.kind import COMMON
from mlm_jax.huggingface.kind import Kind
from mlm_jax.huggingface.kind import SequenceHead
from mlm_jax.huggingface.kind import dropout

_DECODER = 'vocab_projector'
_NAMED = {
  'layers': ('n_layers', 6),
  'width': ('dim', 768),
  'heads': ('n_heads', 12),
  'feed_forward': ('hidden_dim', 3072),
}
_NUMBERS = COMMON | {
  **{
    setting: values.whole(name, 1, int(COMMON[setting].most), default)
    for setting, (name, default) in _NAMED.items()
  },
  'dropout': dropout('dropout', 0.1),
  'attention_dropout': dropout('attention_dropout', 0.1),
}


def _rules(a: Any) -> list[names.Rule]:
  layer = 'distilbert.transformer.layer.{n}'
  found = [
    *names.embeddings('distilbert', a),
    *names.norm(f'{layer}.sa_layer_norm', 'layers/attention_norm'),
    *names.dense(f'{layer}.ffn.lin1', 'layers/feed_forward/in'),
    *names.dense(f'{layer}.ffn.lin2', 'layers/feed_forward/out'),
    *names.norm(f'{layer}.output_layer_norm', 'layers/feed_forward_norm'),
    *names.head('vocab_transform', 'vocab_layer_norm', _DECODER, f'{_DECODER}.bias', a),
  ]
  for ours, theirs in {'query': 'q', 'key': 'k', 'value': 'v', 'out': 'out'}.items():
    found += names.dense(f'{layer}.attention.{theirs}_lin', f'layers/attention/{ours}')
  return found


# Its norms have this epsilon whatever config.json says.
_EPSILON = 1e-12

KINDS = {
  'distilbert': Kind(
    ('distilbert',),
    'distilbert',
    'DistilBertForMaskedLM',
    _DECODER,
    _NUMBERS,
    {},
    _rules,
    SequenceHead('pre_classifier', 'classifier', dropout='seq_classif_dropout'),
    answer_settings={'qa_dropout': 0.0},  # none here, see models.heads.SpanHead
    activation='activation',
    head_activation='activation',
    read=lambda theirs: {'norm_epsilon': _EPSILON, 'types': 0},
  )
}
