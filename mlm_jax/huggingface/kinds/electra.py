"""ELECTRA: its generator has the masked-language-model head."""

from typing import Any

from mlm_jax.huggingface import names
from mlm_jax.huggingface.kind import ABSOLUTE
from mlm_jax.huggingface.kind import MOST_WIDE
from mlm_jax.huggingface.kind import POST_NORM
from mlm_jax.huggingface.kind import Kind
from mlm_jax.huggingface.kind import SequenceHead
from mlm_jax.huggingface.values import whole

_INSIDE, _DECODER = 'generator_predictions', 'generator_lm_head'


def _rules(a: Any) -> list[names.Rule]:
  # Only where tables are narrower than layers.
  is_narrow = a.embedding_width != a.width
  return [
    *names.embeddings('electra', a),
    *(names.dense('electra.embeddings_project', 'project') if is_narrow else []),
    *names.post_norm_layers('electra'),
    *names.head(f'{_INSIDE}.dense', f'{_INSIDE}.LayerNorm', _DECODER, f'{_DECODER}.bias', a),
  ]


KINDS = {
  'electra': Kind(
    ('electra',),
    'electra',
    'ElectraForMaskedLM',
    _DECODER,
    POST_NORM | {'embedding_width': whole('embedding_size', 1, MOST_WIDE, 128)},
    ABSOLUTE,
    _rules,
    SequenceHead('classifier.dense', 'classifier.out_proj'),
    head_activation='',
  )
}
