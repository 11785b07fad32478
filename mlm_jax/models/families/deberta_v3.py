"""DeBERTa-v3 (arXiv:2111.09543): the second version's encoder without the convolution.

Published with replaced-token detection (objectives/replaced_token.py).
"""

from mlm_jax.models.families import deberta_v2

SIZES = {
  'xsmall': dict(layers=12, width=384, heads=6, feed_forward=1536),
  'small': dict(layers=6, width=768, heads=12, feed_forward=3072),
  'base': dict(layers=12, width=768, heads=12, feed_forward=3072),
  'large': dict(layers=24, width=1024, heads=16, feed_forward=4096),
}
DEFAULTS = deberta_v2.DEFAULTS | {'deberta.convolution': 0}
GROUP = 'deberta'
SEQUENCE_HEAD = dict(activation='gelu')
TOKEN_HEAD = 'plain'
PAIR_SEPS = 1
module = deberta_v2.module
