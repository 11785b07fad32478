"""BERT."""

from typing import Any

from mlm_jax.huggingface import names
from mlm_jax.huggingface.kind import ABSOLUTE
from mlm_jax.huggingface.kind import POST_NORM
from mlm_jax.huggingface.kind import Kind
from mlm_jax.huggingface.kind import SequenceHead

HEAD = ('cls.predictions.transform.dense', 'cls.predictions.transform.LayerNorm')
DECODER, BIAS = 'cls.predictions.decoder', 'cls.predictions.bias'


def rules(a: Any) -> list[names.Rule]:
  """Returns the Rules of all parameters."""
  return (
    names.embeddings('bert', a)
    + names.post_norm_layers('bert')
    + names.head(*HEAD, DECODER, BIAS, a)
  )


KINDS = {
  'bert': Kind(
    ('bert',),
    'bert',
    'BertForMaskedLM',
    DECODER,
    POST_NORM,
    ABSOLUTE,
    rules,
    SequenceHead('bert.pooler.dense', 'classifier'),
    has_pooler=True,
  )
}
