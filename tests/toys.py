"""Tiny vocabularies, batches and configs that tests share."""

import contextlib
import functools
import os
import pathlib
import shutil
import tempfile
from typing import Any

import jax
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax import models
from mlm_jax import objectives
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.core import vocabulary

PAD, UNK, CLS, SEP, MASK = range(5)
SPECIAL = (PAD, UNK, CLS, SEP, MASK)
VOCAB = 60


def table():
  return vocabulary.table(VOCAB, MASK, SPECIAL)


def batch(rows=8, length=16, seed=0, documents=2):
  """Returns a Batch of rows that hold `documents` segments and end in padding."""
  random = np.random.default_rng(seed)
  tokens_BL = np.full((rows, length), PAD, np.uint16)
  starts_BS = np.full((rows, documents), -1, np.int32)
  for b in range(rows):
    cuts = np.sort(random.choice(np.arange(3, length - 3, 3), documents - 1, replace=False))
    ends = [*cuts, length - random.integers(0, 3)]
    begin = 0
    for s, end in enumerate(ends):
      tokens_BL[b, begin:end] = [CLS, *random.integers(5, VOCAB, end - begin - 2), SEP]
      starts_BS[b, s] = begin
      begin = end
  example_B2 = np.stack([np.zeros(rows), np.arange(rows)], 1).astype(np.uint32)
  return batches.Batch(tokens_BL, starts_BS, example_B2, np.zeros(rows, np.uint32))


def config(**settings):
  """Returns a resolved config of a very small model; settings as dotted keys with _ for dots."""
  c = config_lib.base()
  c.unlock()
  c.model.update(layers=2, width=32, heads=2, feed_forward=64, max_positions=32, dropout=0.0)
  c.data.row_length = 16
  c.batch_size, c.total_steps = 8, 6
  c.optim.update(warmup_steps=2, learning_rate=1e-2)
  c.evaluation.update(every=3, rows=16, batch_size=8)
  c.checkpoint.every = 2
  c.log.update(every=2, trackers='')
  for key, value in settings.items():
    *groups, name = key.split('__')
    functools.reduce(lambda group, each: group[each], groups, c)[name] = value
  models.resolve(c.model)
  config_lib.check(c)
  c.lock()
  return c


@contextlib.contextmanager
def read_only_folder(*files):
  """Gives a folder with copies of files that this process may read and not write.

  Root may write everywhere, so as root the body runs with the rights of nobody.
  """
  folder = pathlib.Path(tempfile.mkdtemp())
  for file in files:
    shutil.copy(file, folder)
  folder.chmod(0o555)
  is_root = os.geteuid() == 0
  if is_root:
    os.seteuid(65534)
  try:
    yield folder
  finally:
    if is_root:
      os.seteuid(0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def write_corpus(path, documents=300, seed=0, words=80):
  """Writes a .txt file of one-line documents of made-up words with a bit of order."""
  random = np.random.default_rng(seed)
  words = [
    ''.join(random.choice(list('abcdefghijklmnop'), random.integers(2, 7))) for _ in range(words)
  ]
  lines = []
  for _ in range(documents):
    first = random.integers(len(words))
    length = random.integers(4, 30)
    lines.append(' '.join(words[(first + 3 * i) % len(words)] for i in range(length)) + '.')
  path.write_text('\n'.join(lines))
  return path


def training_config(corpus, **settings):
  """Returns the config of a run on a corpus that takes seconds."""
  return config(
    **{
      'data__source': f'text:{corpus}',
      'data__document': 'lines',
      'data__vocab_size': 320,
      'data__validation_fraction': 0.1,
      'data__tokenizer_threads': 1,
      **settings,
    }
  )


def model(**settings):
  return models.make(config(**settings).model, VOCAB)


# What a very small model of each family sets; the DeBERTas differ from their own numbers where rows
# are this short.
_DEBERTA = {'model__family': 'deberta_v2', 'model__size': 'xlarge', 'model__deberta__buckets': 12}
FAMILIES = {
  'bert': {},
  'roberta': {'model__family': 'roberta'},
  'distilbert': {'model__family': 'distilbert', 'model__size': 'base'},
  'electra': {'model__family': 'electra', 'model__embedding_width': 16},
  'deberta': {'model__family': 'deberta', 'model__size': 'base'},
  'deberta_v2': _DEBERTA,
  'deberta_v2_own': _DEBERTA
  | {'model__deberta__projections': 'own', 'model__deberta__relative_norm': 'none'},
  'deberta_v2_enhanced': _DEBERTA | {'model__deberta__decoder': 'enhanced'},
  'deberta_v3': _DEBERTA | {'model__family': 'deberta_v3', 'model__size': 'base'},
  'deberta_v3_enhanced': _DEBERTA
  | {'model__family': 'deberta_v3', 'model__size': 'base', 'model__deberta__decoder': 'enhanced'},
  'modernbert': {'model__family': 'modernbert', 'model__layers': 4, 'model__modernbert__window': 6},
}


def pair_batch(rows=8, length=24, seed=0, ordered=False):
  """Returns a Batch whose rows hold two pairs, [CLS] a [SEP] b [SEP], some no pair, and end in
  padding.

  Labels are random, or, if `ordered`, 1 where ids rise from the first sentence to the second and 2
  where they fall.
  """
  random = np.random.default_rng(seed)
  tokens_BL = np.full((rows, length), PAD, np.uint16)
  starts_BS, pairs_BS = np.full((rows, 3), -1, np.int32), np.zeros((rows, 3), np.uint8)
  for b in range(rows):
    begin = 0
    for s in range(2):
      label = int(random.integers(1, 3))
      sizes = random.integers(1, (length // 2 - 3) // 2 + 1, 2)
      low, high = (random.integers(5, 32, sizes[0]), random.integers(33, VOCAB, sizes[1]))
      parts = [low, high] if label == 1 else [high, low]
      if not ordered:
        parts = [random.integers(5, VOCAB, size) for size in sizes]
        label = label if random.random() < 0.8 else 0
      row = [CLS, *parts[0], SEP, *parts[1], SEP]
      tokens_BL[b, begin : begin + len(row)] = row
      starts_BS[b, s], pairs_BS[b, s] = begin, label
      begin += len(row)
  example_B2 = np.stack([np.zeros(rows), np.arange(rows)], 1).astype(np.uint32)
  return batches.Batch(
    tokens_BL, starts_BS, example_B2, np.full(rows, seed, np.uint32), {'pairs_BS': pairs_BS}
  )


def objective(head_rows=1, counted='', predict_all=None, **settings) -> Any:
  """Returns the objectives.Objective of a config of one layer and these settings."""
  return objectives.make(
    config(**{'model__layers': 1} | settings), VOCAB, PAD, SEP, head_rows, counted, predict_all
  )


# One program compiles faster than each of its operations, so what tests call is compiled whole.


def start(made):
  """Returns the first parameters of a model or an objective, in dicts of the caller's own."""
  return jax.tree.map(lambda x: x, _start(made))


@functools.cache
def _start(made):
  return jax.jit(made.init)(rng.root_key(0))


@functools.partial(jax.jit, static_argnums=0, static_argnames='details')
def apply(model, params, tokens_BL, segments_BL, positions_BL, details=False):
  """Returns model.apply(...) as one program."""
  return model.apply(params, tokens_BL, segments_BL, positions_BL, details=details)


@functools.partial(jax.jit, static_argnums=0)
def head(model, params, hidden):
  """Returns model.head(...) of [..., D] as one program."""
  scores = model.head(params, hidden.reshape(-1, hidden.shape[-1]))
  return scores.reshape(*hidden.shape[:-1], *scores.shape[1:])


mask = jax.jit(masking.mask_batch)


@functools.partial(jax.jit, static_argnums=0)
def prepare(objective, policy, batch, key, progress=0.0):
  """Returns objective.prepare(...) as one program."""
  return objective.prepare(policy, policy.learned, batch, key, progress)


@functools.partial(jax.jit, static_argnums=0)
def loss(objective, params, inputs):
  """Returns objective.loss(...) as one program."""
  return objective.loss(params, inputs)


@functools.partial(jax.jit, static_argnums=0)
def scored(objective, params, policy, batch):
  """Returns (inputs, {term: weight}, {term: sum}, metrics, counts, hidden_BLD) of a batch at
  rng.root_key(1).
  """
  inputs = objective.prepare(policy, policy.learned, batch, rng.root_key(1), 0.0)
  return (
    inputs,
    objective.weights(inputs),
    *objective.loss(params, inputs),
    objective.encode(params, inputs, None).hidden_BLD,
  )
