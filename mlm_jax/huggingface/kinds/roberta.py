"""RoBERTa, and what has its classes under other names: XLM-RoBERTa and CamemBERT."""

import functools
from typing import Any

from mlm_jax.huggingface import names
from mlm_jax.huggingface import values
from mlm_jax.huggingface.kind import ABSOLUTE
from mlm_jax.huggingface.kind import POST_NORM
from mlm_jax.huggingface.kind import Kind
from mlm_jax.huggingface.kind import SequenceHead

_DECODER, _LEAST_POSITIONS = 'lm_head.decoder', 8
_PAD = values.whole('pad_token_id', 0, 1 << 24, 1)


def _rules(a: Any) -> list[names.Rule]:
  return (
    names.embeddings('roberta', a)
    + names.post_norm_layers('roberta')
    + names.head('lm_head.dense', 'lm_head.layer_norm', _DECODER, 'lm_head.bias', a)
  )


def _read(theirs: dict[str, Any]) -> dict[str, Any]:
  """Returns where positions begin: behind the padding token's id, as many rows fewer."""
  pad_id = _PAD.read(theirs)
  positions = POST_NORM['max_positions'].read(theirs) - pad_id - 1
  if positions < _LEAST_POSITIONS:
    values.refuse(
      theirs, 'max_position_embeddings', f'at least pad_token_id + {1 + _LEAST_POSITIONS}'
    )
  return {'position_offset': pad_id + 1, 'max_positions': positions, 'uncounted_id': pad_id}


_kind = functools.partial(
  Kind,
  families=('roberta',),
  prefix='roberta',
  decoder=_DECODER,
  numbers=POST_NORM,
  needs=ABSOLUTE,
  rules=_rules,
  sequence_head=SequenceHead('classifier.dense', 'classifier.out_proj'),
  head_activation='',
  counts_from_padding=True,
  has_pooler=True,
  read=_read,
)
KINDS = {
  'roberta': _kind(masked='RobertaForMaskedLM'),
  'xlm-roberta': _kind(masked='XLMRobertaForMaskedLM'),
  'camembert': _kind(masked='CamembertForMaskedLM'),
}
