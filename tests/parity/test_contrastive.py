"""The loss of retrieval beside those of sentence-transformers: values and gradients."""

import jax
import numpy as np
import pytest
import torch

from mlm_jax.objectives import contrastive
from mlm_jax.objectives import finetuning

losses = pytest.importorskip('sentence_transformers.sentence_transformer.losses')

pytestmark = pytest.mark.parity

B, D = 16, 48


class Given(torch.nn.Module):
  """A model whose vectors are what it is given."""

  def forward(self, features):
    return dict(features)

  def get_embedding_dimension(self):
    return D


def inputs(texts):
  """Returns rows of a query, a document and negatives, of no tokens that matter."""
  document_BS = np.arange(B * texts).reshape(B, texts).astype(np.int32)
  known_BSK = np.repeat(document_BS[:, 1:2, None], texts, axis=1)
  zeros_BL = np.zeros((B, 4), np.int32)
  starts_BS = np.tile(np.arange(texts, dtype=np.int32), (B, 1))
  columns = {contrastive.DOCUMENT: document_BS, contrastive.KNOWN: known_BSK}
  fields = (zeros_BL, zeros_BL, zeros_BL, None, starts_BS, columns, zeros_BL[:, 0], zeros_BL[:, :2])
  return finetuning.Inputs(*fields)


@pytest.mark.parametrize('negatives', (0, 2))
@pytest.mark.parametrize('dimensions', ((), (8, 24, 48)))
@pytest.mark.parametrize('temperature', (0.05, 0.5))
def test_losses_and_gradients_are_theirs(negatives, dimensions, temperature):
  random, texts = np.random.default_rng(0), 2 + negatives
  vectors_BSD = random.normal(size=(B, texts, D)).astype(np.float32)
  # Queries resemble their documents: not every loss is that of chance.
  vectors_BSD[:, 1] += 0.4 * vectors_BSD[:, 0]
  head = contrastive.ContrastiveHead('mean', temperature, False, negatives, dimensions)
  scale_BS = np.full((B, texts), 1 / temperature, np.float32)

  def ours(x_BSD):
    outputs = {contrastive.EMBEDDING: x_BSD, contrastive.SCALE: scale_BS}
    total, weight = head.loss(outputs, inputs(texts))['loss']
    return total / weight

  loss, gradient_BSD = jax.value_and_grad(ours)(vectors_BSD)
  model = Given()
  wanted = losses.MultipleNegativesRankingLoss(model, scale=1 / temperature)
  if dimensions:
    wanted = losses.MatryoshkaLoss(model, wanted, list(dimensions))
  theirs = [torch.tensor(vectors_BSD[:, s], requires_grad=True) for s in range(texts)]
  said = wanted([{'sentence_embedding': each} for each in theirs], None)
  said.backward()
  assert float(loss) == pytest.approx(said.item(), rel=1e-5)
  for s, each in enumerate(theirs):
    np.testing.assert_allclose(gradient_BSD[:, s], each.grad.numpy(), rtol=1e-4, atol=1e-6)
