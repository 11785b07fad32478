"""What runs cost, and how long each arm trains to spend what the baseline spends."""

import functools

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import models
from mlm_jax import pretrain
from mlm_jax.data import pipeline
from mlm_jax.data import store
from mlm_jax.masking import rates
from mlm_jax.models import flops

KINDS = ('tokens', 'predictions', 'flops')
_SAMPLE = 4096   # rows that are looked at


def cost(config):
  """Returns {'tokens', 'predictions', 'flops'}: what a whole run will spend, about.

  tokens: batch_size x row_length a step, padding included.
  predictions: the mean of the masking rate over the training x masking.predicted x the tokens that
    may be hidden.
  flops: as models/flops.py counts them.
  For these two, rows are measured where the data is prepared; before that they count as full, each
  with one document and without special tokens.

  Args:
    config: resolved, with data.prepared.
  """
  total = dict.fromkeys(KINDS, 0.0)
  starts = [*(first for first, _ in config_lib.stages(config)), config.total_steps]
  for number, (first, stage) in enumerate(config_lib.stages(config)):
    for kind, value in _step(config, stage).items():
      total[kind] += value * (starts[number + 1] - first)
  return total


def steps(config, kind, spent):
  """Returns the number of steps in which a config's run spends so much of a kind."""
  return max(1, round(spent / (cost(config)[kind] / config.total_steps)))


def _step(config, stage):
  """Returns what one step of a stage spends."""
  rate = rates.mean_rate(stage.masking) * stage.masking.predicted
  rows, vocab_size = _rows(pretrain.data_folder(config, None, stage), stage)
  # The architecture alone: making a model's functions computes nothing.
  architecture = models.make(stage.model, vocab_size).architecture
  predictions = rows['maskable'] * rate
  row = {'tokens': stage.data.row_length, 'predictions': predictions,
         'flops': flops.training(architecture, rows['tokens'], rows['attended'], predictions)}
  return {kind: stage.batch_size * value for kind, value in row.items()}


def _rows(folder, stage):
  """Returns ({'tokens', 'attended', 'maskable'}: means over rows, size of the vocabulary)."""
  data, length = stage.data, stage.data.row_length
  if store.finished(folder):
    return _measured(folder, tuple(data.weights), data.size_exponent)
  return {'tokens': length, 'attended': length**2, 'maskable': length}, data.vocab_size


@functools.cache
def _measured(folder, weights, size_exponent):
  """Returns what `_rows` does of the first rows that training with seed 0 draws."""
  prepared = store.open_prepared(folder)
  size = min(_SAMPLE, sum(map(len, prepared.train)))
  batch = pipeline.Loader(prepared, 'train', size, 0, weights, size_exponent).batch(0)
  tokenizer = prepared.tokenizer
  tokens_B = (batch.tokens_BL != tokenizer.pad_id).sum(1)
  # A segment ends where the next one starts, the last one with the tokens.
  starts_BS = np.where(batch.starts_BS < 0, tokens_B[:, None], batch.starts_BS)
  ends_BS = np.concatenate([starts_BS[:, 1:], tokens_B[:, None]], 1)
  maskable_BL = np.isin(batch.tokens_BL, tokenizer.special_ids, invert=True)
  return {'tokens': tokens_B.mean(), 'attended': ((ends_BS - starts_BS)**2).sum(1).mean(),
          'maskable': maskable_BL.sum(1).mean()}, tokenizer.size
