"""What runs cost, and how long each arm trains to spend what the baseline spends."""

import functools
import os
import pathlib
from typing import Any

import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import objectives
from mlm_jax.data import folder as folder_lib
from mlm_jax.data import loader
from mlm_jax.data import store
from mlm_jax.masking import schedules
from mlm_jax.models import flops

KINDS = ('tokens', 'predictions', 'flops')
SAMPLE = 4096  # rows that are measured: all rows of a large corpus would take minutes


def cost(config: config_lib.Config) -> dict[str, float]:
  """Returns {'tokens', 'predictions', 'flops'}: an estimate of what a whole run will spend.

  tokens: batch_size x row_length a step, padding included.
  predictions: the mean of the masking rate over the training x masking.predict_fraction x the
    tokens that may be masked.
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


def scoring(config: config_lib.Config, settings: dict[str, Any]) -> float | None:
  """Returns the FLOPs of scoring a config's run under a policy; None before that can be known.

  Args:
    config: as for `cost`.
    settings: of the policy, the group `masking` as a dict.
  """
  stage = config_lib.final_stage(config)
  folder = folder_lib.of_stage(config, '', stage)
  rows = stage.evaluation.rows
  if not rows and not store.finished(folder):
    return None
  rows = rows or sum(map(len, store.open_prepared(folder).validation))
  stage = stage.copy_and_resolve_references()
  # Only what the policy chooses is predicted, whatever training does.
  stage.update(masking=settings, objective={'predict_all': False})
  # One of the three passes of a training step.
  return _step(config, stage)['flops'] / 3 * rows / stage.batch_size


def steps(config: config_lib.Config, kind: str, spent: float) -> int:
  """Returns the number of steps in which a config's run spends `spent` of a kind."""
  # The cost grows evenly with the steps: a schedule's mean rate does not depend on their number.
  return max(1, round(spent / (cost(config)[kind] / config.total_steps)))


def _step(config: config_lib.Config, stage: config_lib.Config) -> dict[str, float]:
  """Returns what one step of a stage spends."""
  predict_all = stage.objective.predict_all
  rate = 1.0 if predict_all else schedules.mean_rate(stage.masking) * stage.masking.predict_fraction
  # `config` names its data.prepared, so the folder does not depend on a work directory.
  rows, vocab_size = _rows(folder_lib.of_stage(config, '', stage), stage)
  # Making an objective allocates nothing and computes nothing; its ids are not used here.
  objective = objectives.make(stage, vocab_size, pad_id=0, sep_id=0, head_rows=1)
  at_P, predictions = rows['at_P'], rows['maskable'] * rate
  # The cost of attention is not linear in the tokens: a token attends to those of its document.
  attended = at_P @ objective.encoder.architecture.pairs(np.arange(len(at_P)))
  row = {
    'tokens': stage.data.row_length,
    'predictions': predictions,
    'flops': flops.training(objective, at_P.sum(), attended, predictions),
  }
  return {kind: stage.batch_size * value for kind, value in row.items()}


def _rows(folder: pathlib.Path, stage: config_lib.Config) -> tuple[dict[str, Any], int]:
  """Returns ({...}, size of the vocabulary): means over rows.

  at_P: number of tokens at each position of their documents.
  maskable: number of tokens that a policy may choose.
  """
  data, length = stage.data, stage.data.row_length
  if store.finished(folder):
    return _measured(folder, tuple(data.weights), data.sampling_alpha)
  return {'at_P': np.ones(length), 'maskable': length}, data.vocab_size


@functools.cache
def _measured(
  folder: str | os.PathLike[str], weights: tuple[float, ...], sampling_alpha: float
) -> tuple[dict[str, Any], int]:
  """Returns what `_rows` does of the first rows that training with seed 0 draws."""
  prepared = store.open_prepared(folder)
  size = min(SAMPLE, sum(map(len, prepared.train)))
  batch = loader.Loader(prepared, 'train', size, 0, weights, sampling_alpha).batch(0)
  tokenizer = prepared.tokenizer
  maskable_BL = np.isin(batch.tokens_BL, tokenizer.special_ids, invert=True)
  at_P = at_positions(batch, tokenizer.pad_id)
  return {'at_P': at_P / size, 'maskable': maskable_BL.sum(1).mean()}, tokenizer.size


def at_positions(batch: Any, pad_id: int) -> np.ndarray:
  """Returns the number of tokens of a Batch at each position of their segments."""
  # In numpy: a sweep's own process leaves the accelerators to its runs.
  index_1L = np.arange(batch.tokens_BL.shape[1])[None]
  # The position of a token is its index less that of the newest start before it.
  begins_BL = (batch.starts_BS[:, :, None] == index_1L[:, None]).any(axis=1)
  positions_BL = index_1L - np.maximum.accumulate(np.where(begins_BL, index_1L, 0), axis=1)
  return np.bincount(positions_BL[batch.tokens_BL != pad_id])
