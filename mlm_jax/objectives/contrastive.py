"""Queries and the documents that answer them: each query is to be nearest to its own.

A row of training holds one example: a query, a document that answers it, and hard negatives, which
seem to and do not. All documents of a batch are negatives for a query but those known to answer it.
"""

from collections.abc import Sequence
import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from mlm_jax.objectives import bi_encoder
from mlm_jax.objectives import finetuning

# Columns of rows that are trained on; int32, -1 where there is none.
DOCUMENT = 'document_BS'  # the number of a document, the same of equal texts
KNOWN = 'known_BSK'  # of a query: the numbers of the documents that are known to answer it
EMBEDDING, SCALE = 'embedding_BSD', 'scale_BS'  # outputs
_MOST = math.log(100.0)  # of the logarithm of a learned scale, as in arXiv:2103.00020


@dataclasses.dataclass(frozen=True)
class ContrastiveHead:
  """A finetuning.Head: cross-entropy of the right document among those of the batch.

  It is InfoNCE (arXiv:1807.03748) of cosines divided by a temperature, as in
  MultipleNegativesRankingLoss of sentence-transformers, and for several dimensions the sum of the
  losses of so many first numbers of a vector (arXiv:2205.13147).

  Attributes:
    pooled: of models/pooling.SEGMENT_MODES.
    temperature: as said; where it is learned the one to begin with.
    is_learned: whether it is.
    negatives: of an example at most.
    dimensions: () for the whole vector alone.
  """

  pooled: str
  temperature: float
  is_learned: bool = False
  negatives: int = 0
  dimensions: Sequence[int] = ()
  crosses_rows = True

  def init(self, key: jax.Array) -> Any:
    # A bias, which is not decayed: the logarithm of the scale beside its first value.
    return {'temperature': {'bias': jnp.zeros(())}} if self.is_learned else {}

  def outputs(
    self, params: Any, hidden_BLD: jax.Array, inputs: finetuning.Inputs, key: jax.Array | None
  ) -> dict[str, jax.Array]:
    """Returns {EMBEDDING: float32, of length 1}, and of rows to train on {SCALE}."""
    embedding_BSD = bi_encoder.embeddings(self.pooled, hidden_BLD, inputs)
    if DOCUMENT not in inputs.columns:
      return {EMBEDDING: embedding_BSD}
    scale = jnp.float32(-math.log(self.temperature))
    if self.is_learned:
      scale = jnp.minimum(scale + params['temperature']['bias'], _MOST)
    # Of each row, so that outputs of parts of a batch can be put together.
    return {EMBEDDING: embedding_BSD, SCALE: jnp.full(inputs.starts_BS.shape, jnp.exp(scale))}

  def weight(self, inputs: finetuning.Inputs) -> jax.Array:
    return _is_pair(inputs).sum(dtype=jnp.float32)

  def loss(self, outputs: dict[str, jax.Array], inputs: finetuning.Inputs) -> finetuning.Metrics:
    """Returns `loss`, `accuracy` and `temperature`; nothing of rows that are not to train on."""
    if DOCUMENT not in inputs.columns:
      return {}
    texts = 2 + self.negatives
    embedding_BSD, scale = outputs[EMBEDDING][:, :texts], outputs[SCALE][0, 0]
    is_pair_B, may_BC = _is_pair(inputs), _candidates(inputs, texts)
    own_B = jnp.arange(len(is_pair_B)) * (texts - 1)
    loss_B, right_B = jnp.zeros(len(is_pair_B)), is_pair_B
    for dimensions in self.dimensions or embedding_BSD.shape[-1:]:
      cut_BSD = bi_encoder.normalised(embedding_BSD[..., :dimensions])
      query_BD, document_CD = cut_BSD[:, 0], cut_BSD[:, 1:].reshape(-1, dimensions)
      cosine_BC = jnp.matmul(query_BD, document_CD.T, precision='highest')
      score_BC = jnp.where(may_BC, cosine_BC * scale, -jnp.inf)
      log_BC = jax.nn.log_softmax(score_BC)
      loss_B -= jnp.take_along_axis(log_BC, own_B[:, None], axis=1)[:, 0]
      right_B = is_pair_B & (score_BC.argmax(1) == own_B)
    weight = self.weight(inputs)
    return {
      'loss': (jnp.where(is_pair_B, loss_B, 0).sum(), weight),
      'accuracy': (right_B.sum(dtype=jnp.float32), weight),
      'temperature': (weight / scale, weight),
    }


def _is_pair(inputs: finetuning.Inputs) -> jax.Array:
  """Returns bool_B: rows that hold an example; a batch may be filled up with empty ones."""
  return inputs.used_BS[:, 0]


def _candidates(inputs: finetuning.Inputs, texts: int) -> jax.Array:
  """Returns bool [B, C]: which of the C = B x (texts - 1) documents a query is compared with.

  They are its own, and those that are not known to answer it.
  """
  document_BT = inputs.columns[DOCUMENT][:, 1:texts]
  known_BK = inputs.columns[KNOWN][:, 0]
  is_known_BC = (document_BT.reshape(1, -1, 1) == known_BK[:, None]).any(-1)
  own_B = jnp.arange(len(known_BK)) * (texts - 1)
  is_own_BC = jnp.arange(document_BT.size)[None] == own_B[:, None]
  # The query of an empty row has its own place too: a softmax over nothing would be NaN.
  return is_own_BC | ((document_BT.reshape(1, -1) >= 0) & ~is_known_BC)
