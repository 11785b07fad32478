"""ELECTRA (arXiv:2003.10555): BERT's encoder, whose tables may be narrower than its layers."""

from mlm_jax.models.families import bert

SIZES = {
  'small': dict(layers=12, width=256, heads=4, feed_forward=1024, embedding_width=128),
  'base': dict(layers=12, width=768, heads=12, feed_forward=3072),
  'large': dict(layers=24, width=1024, heads=16, feed_forward=4096),
}
# Its generator's head has a GELU whatever the layers have.
DEFAULTS = bert.DEFAULTS | dict(head_activation='gelu')
GROUP = ''
SEQUENCE_HEAD = dict(activation='gelu', drops_input=True)
TOKEN_HEAD = 'plain'
PAIR_SEPS = 1
module = bert.module
