"""DistilBERT (arXiv:1910.01108): BERT without types, of half as many layers.

Where this differs from the published code: the attention's output is dropped in training as BERT's
is; there only its weights are.
"""

from mlm_jax.models.families import bert

SIZES = {'base': dict(layers=6, width=768, heads=12, feed_forward=3072)}
DEFAULTS = bert.DEFAULTS | dict(types=0)
GROUP = ''
SEQUENCE_HEAD = dict(activation='relu')
TOKEN_HEAD = 'plain'
PAIR_SEPS = 1
module = bert.module
