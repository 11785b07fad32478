"""RoBERTa (arXiv:1907.11692): BERT without types, whose positions start at 2."""

from mlm_jax.models.families import bert

SIZES = bert.SIZES
# Positions 0 and 1 belong to padding in the published code (see embeddings.Embeddings).
# Its head has a GELU whatever the layers have.
DEFAULTS = dict(types=0, position_offset=2, norm_epsilon=1e-5, head_activation='gelu')
GROUP = ''
SEQUENCE_HEAD = dict(activation='tanh', drops_input=True)
TOKEN_HEAD = 'plain'
PAIR_SEPS = 2
module = bert.module
