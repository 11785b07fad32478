"""DeBERTa-v2, whose classes are also those of version 3, which has no convolution."""

from typing import Any

from mlm_jax.huggingface import activations
from mlm_jax.huggingface import names
from mlm_jax.huggingface import values
from mlm_jax.huggingface.kind import Kind
from mlm_jax.huggingface.kinds import bert
from mlm_jax.huggingface.kinds import deberta

_BUCKETS = values.whole('position_buckets', -1, 1 << 20, -1)
_KERNEL = values.whole('conv_kernel_size', 0, 1023, 0)


def _read(theirs: dict[str, Any]) -> dict[str, Any]:
  # Heads that together are narrower than the layers: not supported.
  size = theirs['hidden_size'] // theirs['num_attention_heads']
  if theirs.get('attention_head_size', size) != size:
    values.refuse(theirs, 'attention_head_size', str(size))
  kernel, norm = _KERNEL.read(theirs), theirs.get('norm_rel_ebd', 'none')
  if kernel and kernel % 2 == 0:
    values.refuse(theirs, 'conv_kernel_size', 'odd, or 0 for none')
  if not isinstance(norm, str):
    values.refuse(theirs, 'norm_rel_ebd', 'layer_norm or none')
  has_norm = 'layer_norm' in [each.strip() for each in norm.lower().split('|')]
  return deberta.read(theirs) | {
    'deberta.buckets': max(_BUCKETS.read(theirs), 0),
    'deberta.projections': 'shared' if values.flag(theirs, 'share_att_key', False) else 'own',
    'deberta.relative_norm': 'layer_norm' if has_norm else 'none',
    'deberta.convolution': kernel,
    'deberta.convolution_act': activations.read(theirs, 'conv_act', 'tanh'),
  }


def _write(config: Any) -> dict[str, Any]:
  own = config.deberta
  return deberta.write(config) | {
    'position_buckets': own.buckets or -1,
    'share_att_key': own.projections == 'shared',
    'norm_rel_ebd': own.relative_norm,
    'conv_kernel_size': own.convolution,
    'conv_act': activations.THEIRS[own.convolution_act],
  }


def _rules(a: Any) -> list[names.Rule]:
  layer = 'deberta.encoder.layer.{n}'
  projections = {'query': 'query_proj', 'key': 'key_proj', 'value': 'value_proj'}
  if not a.shared_projections:
    # With shared projections the content's serve both.
    projections |= {'position_key': 'pos_key_proj', 'position_query': 'pos_query_proj'}
  found = [
    *names.embeddings('deberta', a, positions=False),
    *names.after_attention(layer),
    *names.table('deberta.encoder.rel_embeddings', 'relative'),
    *names.head(*bert.HEAD, bert.DECODER, bert.BIAS, a),
  ]
  for ours, theirs in projections.items():
    found += names.dense(f'{layer}.attention.self.{theirs}', f'layers/attention/{ours}')
  if a.relative_norm:
    found += names.norm('deberta.encoder.LayerNorm', 'relative/norm')
  if a.convolution:
    # X places of the kernel.
    D, X = a.width, a.convolution
    found += [
      # Theirs is [out, in, place]; ours is a product with the places side by side.
      names.Rule(
        'deberta.encoder.conv.conv.weight',
        ('convolution/kernel/kernel',),
        lambda x: [x.transpose(2, 1, 0).reshape(X * D, D)],
        lambda arrays: arrays[0].reshape(X, D, D).transpose(2, 1, 0),
      ),
      names.same('deberta.encoder.conv.conv.bias', 'convolution/kernel/bias'),
      *names.norm('deberta.encoder.conv.LayerNorm', 'convolution/norm'),
    ]
  return found


KINDS = {
  'deberta-v2': Kind(
    ('deberta_v2', 'deberta_v3'),
    'deberta',
    'DebertaV2ForMaskedLM',
    bert.DECODER,
    deberta.NUMBERS,
    deberta.NEEDS | {'conv_groups': (None, 1)},
    _rules,
    deberta.SEQUENCE_HEAD,
    read=_read,
    write=_write,
  )
}
