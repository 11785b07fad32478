"""Initial values with which a small post-norm encoder leaves the unigram plateau at once.

A post-norm encoder that starts from small random numbers predicts token
frequencies for thousands of steps before its heads find the neighbouring
positions. These initial values save it that time. Nothing else changes: the model
is an ordinary BERT and its checkpoints are ordinary checkpoints.

- The position table starts with sinusoids (arXiv:1706.03762), on frequencies that
  spread evenly over each head's share of the width.
- Queries start at the identity and keys at a rotation of it, both with noise, so
  that each head looks at a fixed offset: -1, 1, -2, 2, ... (a shift of position is a
  rotation of sinusoids). Starting attention at a structure instead of noise is the
  idea of arXiv:2305.09828, at single offsets that of arXiv:2404.01139.
- Layers after the first start as small corrections: their output kernels are scaled.

Impressions of what its parts are worth, which are untested, are in
experiments/novels_small/NOTES.md.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax.models.architecture import Architecture

_GAIN = 24.0  # twice the score by which a head prefers its offset
_NOISE = 0.3  # share of the random queries and keys that is kept
_LATER_LAYERS = 0.2  # scale of the output kernels of the layers after the first
_GOLDEN = (5**0.5 - 1) / 2


def start(params: dict[str, Any], architecture: Architecture) -> dict[str, Any]:
  """Returns params with these initial values in place of the random ones.

  Args:
    params: of a BERT, RoBERTa or ELECTRA encoder, freshly initialised.
    architecture: of that encoder; its head size must be even.
  """
  width, heads = architecture.width, architecture.heads
  # Multiples of the golden ratio, so that any run of them covers (0, pi) evenly.
  frequency_W = np.pi * (np.arange(1, width // 2 + 1) * _GOLDEN % 1)
  started, layers = dict(params), dict(params['layers'])
  if 'embeddings' in params:  # a generator may use its discriminator's
    rows = params['embeddings']['position']['embedding'].shape[0]
    started['embeddings'] = params['embeddings'] | {
      'position': {'embedding': _sinusoids(rows, frequency_W, architecture.init_std)}
    }
  attention = dict(layers['attention'])
  # The same factor on query and key, so that their product has the gain after 1 / sqrt(K).
  size = (_GAIN / (width // heads) ** 0.5) ** 0.5
  for name, matrix_DD in (('query', np.eye(width)), ('key', _rotation(frequency_W, heads))):
    noise_NDD = _NOISE * attention[name]['kernel']
    attention[name] = attention[name] | {
      'kernel': noise_NDD + size * jnp.asarray(matrix_DD[None], jnp.float32)
    }
  attention['out'] = _smaller_later(attention['out'])
  layers['attention'] = attention
  layers['feed_forward'] = layers['feed_forward'] | {
    'out': _smaller_later(layers['feed_forward']['out'])
  }
  return started | {'layers': layers}


def _sinusoids(rows: int, frequency_W: np.ndarray, std: float) -> jax.Array:
  """Returns float32 [rows, 2W]: sin and cos in turn, of the given standard deviation."""
  angle_PW = np.arange(rows)[:, None] * frequency_W
  # Neighbouring columns are the pairs that the key's rotation acts on.
  table_PW2 = np.stack([np.sin(angle_PW), np.cos(angle_PW)], axis=2)
  return jnp.asarray(std * 2**0.5 * table_PW2.reshape(rows, -1), jnp.float32)


def _rotation(frequency_W: np.ndarray, heads: int) -> np.ndarray:
  """Returns [D, D]: a key matrix by which head h matches position i with i + offset(h)."""
  # -1, 1, -2, 2, ...: before and behind in turn, the nearest first.
  offset_H = np.array([(h // 2 + 1) * (-1) ** (h + 1) for h in range(heads)])
  angle_W = frequency_W * np.repeat(offset_H, len(frequency_W) // heads)
  width = 2 * len(frequency_W)
  # Each (sine, cosine) pair of the table turns by its own angle: blocks of 2 x 2 on the diagonal.
  sine_W, cosine_W = np.arange(0, width, 2), np.arange(1, width, 2)
  rotation_DD = np.zeros((width, width))
  rotation_DD[sine_W, sine_W] = rotation_DD[cosine_W, cosine_W] = np.cos(angle_W)
  rotation_DD[cosine_W, sine_W], rotation_DD[sine_W, cosine_W] = -np.sin(angle_W), np.sin(angle_W)
  return rotation_DD


def _smaller_later(dense: dict[str, jax.Array]) -> dict[str, jax.Array]:
  """Returns a stacked linear layer whose kernels after the first are scaled down."""
  scale_N = np.full(dense['kernel'].shape[0], _LATER_LAYERS, np.float32)
  # The first layer is the one that looks at neighbours.
  scale_N[0] = 1.0
  return dense | {'kernel': dense['kernel'] * scale_N[:, None, None]}
