"""Every variant of every family at a tiny size, and what it makes of two documents.

Here and in PyTorch (tests/parity/peers.py) the same weights meet the same documents, so what
comes out can be compared; tests/golden holds what came out there.
"""

import contextlib
import pathlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from mlm_jax import models
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.core import trees
from mlm_jax.huggingface import kinds
from mlm_jax.huggingface import names
from tests import toys

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden' / 'huggingface'
CLS, SEP, MASK = 2, 3, 4
VOCAB = 40
LENGTHS = (
  70,
  21,
)  # longer than the blocks of attention, than ModernBERT's window and than DeBERTa's buckets

_TINY = {
  'model__vocab_size': VOCAB,
  'model__layers': 2,
  'model__width': 12,
  'model__heads': 2,
  'model__feed_forward': 20,
  'model__max_positions': 72,
  'model__init_std': 0.3,
}
_V2 = {'model__family': 'deberta_v2', 'model__size': 'xlarge', 'model__deberta__buckets': 16}
_V3 = {'model__family': 'deberta_v3', 'model__size': 'base', 'model__deberta__buckets': 16}
_OWN = {'model__deberta__projections': 'own', 'model__deberta__relative_norm': 'none'}
VARIANTS = {
  'bert': {},
  'roberta': {'model__family': 'roberta'},
  'distilbert': {'model__family': 'distilbert', 'model__size': 'base'},
  'distilbert_untied': {
    'model__family': 'distilbert',
    'model__size': 'base',
    'model__activation': 'gelu_tanh',
    'model__tied_head': False,
  },
  'electra': {'model__family': 'electra', 'model__embedding_width': 8},
  'electra_wide': {'model__family': 'electra', 'model__size': 'base', 'model__embedding_width': 12},
  'deberta': {'model__family': 'deberta', 'model__size': 'base'},
  'deberta_span': {
    'model__family': 'deberta',
    'model__size': 'base',
    'model__deberta__span': 20,
    'model__types': 2,
  },
  'deberta_v2': _V2,
  'deberta_v2_own': _V2 | _OWN | {'model__deberta__convolution_act': 'tanh'},
  'deberta_v3': _V3,
  'deberta_v3_own': _V3 | _OWN,
  'deberta_v3_linear': _V3 | {'model__deberta__buckets': 0, 'model__deberta__span': 24},
  'modernbert': {
    'model__family': 'modernbert',
    'model__layers': 3,
    'model__modernbert__window': 16,
    'model__modernbert__global_every': 2,
    'model__modernbert__global_theta': 500.0,
    'model__modernbert__local_theta': 50.0,
  },
}


def config(variant):
  """Returns the resolved group `model`."""
  return toys.config(**_TINY | VARIANTS[variant]).model


def pad_id(variant):
  """Returns the padding token; the RoBERTa of `transformers` counts positions from after it."""
  return 1 if variant == 'roberta' else 0


def model(variant, dtype='float32'):
  settings = config(variant).copy_and_resolve_references().unlock()
  settings.dtype = dtype
  return models.make(settings, VOCAB)


def weights(model):
  """Returns the parameters of a model, drawn."""
  return draw(model.init, model.architecture)


def draw(init, architecture):
  """Returns parameters in which no tensor, no bias and no norm is like another: each drawn from its
  path.
  """
  a = architecture

  def values(path, like):
    noise = np.random.default_rng(zlib.crc32(path.encode())).normal(size=like.shape)
    drawn = (a.init_std * noise + path.endswith('scale')).astype(np.float32)
    if path.endswith(('token/embedding', 'head/bias')):
      drawn[a.vocab_size :] = 0
    return drawn

  like = jax.eval_shape(init, rng.root_key(0))
  return jax.tree.unflatten(
    jax.tree.structure(like), [values(*each) for each in trees.paths(like).items()]
  )


def documents():
  """Returns [(tokens_L, types_L, targets_L)] of two texts; targets are -1 but where something is to
  be predicted.
  """
  random = np.random.default_rng(0)
  found = []
  for length in LENGTHS:
    whole_L = np.array([CLS, *random.integers(5, VOCAB, length - 2), SEP])
    chosen_L = np.isin(
      np.arange(length), random.choice(np.arange(1, length - 1), length // 5, replace=False)
    )
    found.append(
      (
        np.where(chosen_L, MASK, whole_L),
        (np.arange(length) >= length // 2).astype(int),
        np.where(chosen_L, whole_L, -1),
      )
    )
  return found


def rows(layout, pad):
  """Returns [(tokens_BL, types_BL, targets_BL, starts_BS)]: the two documents in batches.

  Args:
    layout: 'alone' (each a batch, without padding), 'padded' (two rows of a batch) or 'packed' (in
      one row).
    pad: the padding token.
  """
  texts = documents()
  if layout == 'alone':
    return [(*(x[None] for x in text), np.zeros((1, 1), np.int32)) for text in texts]
  if layout == 'packed':
    tail = lambda x, fill: np.append(x, [fill] * 3)[None]
    joined = [np.concatenate(x) for x in zip(*texts)]
    return [
      (
        *(tail(x, fill) for x, fill in zip(joined, (pad, 0, -1))),
        np.array([[0, LENGTHS[0]]], np.int32),
      )
    ]
  fill = lambda n, value: np.stack(
    [np.pad(text[n], (0, max(LENGTHS) - len(text[n])), constant_values=value) for text in texts]
  )
  return [(fill(0, pad), fill(1, 0), fill(2, -1), np.zeros((2, 1), np.int32))]


def outputs(variant, layout, dtype='float32'):
  """Returns (hidden_NTD, logits_PV): each layer's output at the T tokens of the documents, logits
  at the P masks.
  """
  pad = pad_id(variant)
  with precision(dtype):
    encoder = model(variant, dtype)
    params = jax.tree.map(lambda x: x.astype(dtype), weights(encoder))
    parts = [
      jax.device_get(jax.jit(lambda params: _run(encoder, params, pad, *batch)[1])(params))
      for batch in rows(layout, pad)
    ]
  hidden, logits = zip(*parts)
  return np.concatenate(hidden, axis=1), np.concatenate(logits)


def gradients(variant):
  """Returns (hidden_NTD, logits_PV, {name there: gradient of the mean masked loss}) of packed
  rows.
  """
  encoder, pad = model(variant), pad_id(variant)
  (batch,) = rows('packed', pad)
  (_, outputs), gradient = jax.device_get(
    jax.jit(jax.value_and_grad(lambda params: _run(encoder, params, pad, *batch), has_aux=True))(
      weights(encoder)
    )
  )
  family, a = config(variant).family, encoder.architecture
  return *outputs, names.to_theirs(kinds.rules(family, a), gradient, a)


def _run(encoder, params, pad, tokens_BL, types_BL, targets_BL, starts_BS):
  """Returns (mean masked loss, (hidden_NTD, logits_PV)) of a batch."""
  segments_BL, chosen_BL = batches.segments(tokens_BL, starts_BS, pad), targets_BL >= 0
  encoded = encoder.apply(
    params,
    tokens_BL,
    segments_BL,
    batches.positions(starts_BS, tokens_BL.shape[1]),
    types_BL if encoder.architecture.types else None,
    details=True,
  )
  # The last of the layers is from before ModernBERT's last norm; theirs is from after it.
  hidden_NBLD = jnp.concatenate([encoded.layers_NBLD[:-1], encoded.hidden_BLD[None]])
  logits_PV = encoder.head(params, encoded.decoded_BLD[chosen_BL])
  log_P = jnp.take_along_axis(jax.nn.log_softmax(logits_PV), targets_BL[chosen_BL][:, None], axis=1)
  return -log_P.mean(), (hidden_NBLD[:, tokens_BL != pad], logits_PV[:, :VOCAB])


def precision(dtype):
  """Returns the context in which arrays may be of a dtype."""
  return jax.enable_x64(True) if dtype == 'float64' else contextlib.nullcontext()


def gradient_errors(ours, theirs, unseen=()):
  """Returns {name: largest difference / largest number of theirs}, of {name: gradient} of ours and
  of theirs.

  Biases of keys have no gradient where the softmax does not see them, what all keys have in
  common; what rounding leaves of it is measured against the largest of all parameters. So is that
  of other parameters whose names end as one of `unseen` does.
  """
  assert ours.keys() == theirs.keys()
  largest = {name: np.abs(x).max() for name, x in theirs.items()}
  for name in theirs:
    if name.endswith(('self.key.bias', 'pos_key_proj.bias', 'k_lin.bias', *unseen)):
      largest[name] = max(largest.values())
  # An error that is not a number is the largest.
  return {
    name: np.nan_to_num(np.abs(ours[name] - theirs[name]).max() / largest[name], nan=np.inf)
    for name in theirs
  }
