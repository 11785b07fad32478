"""A training step in each system, on the same work.

All have the same encoder (BERT), batch, masks and AdamW with clipping, weight decay as BERT
has it, and a constant rate. They differ in how each system works: ours makes new masks in every
step and scores only the chosen positions; `transformers` gets rows that are masked
already and scores every position; keras-hub gets them masked and scores the chosen ones,
with the tanh approximation of GELU. Ours packs several documents into a row; the others'
rows have one document and padding.
"""

from collections.abc import Callable
import dataclasses
import os
import sys
from typing import Any
import warnings

import jax
import numpy as np

from mlm_jax import config as config_lib
from mlm_jax import masking
from mlm_jax import models
from mlm_jax.benchmarks import clock
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.core import vocabulary
from mlm_jax.models import flops
from mlm_jax.objectives import masked as masked_objective
from mlm_jax.training import compiled

_PAD, _CLS, _SEP, _MASK = 0, 2, 3, 4
_SPECIAL = range(5)
_RATE, _DECAY, _CLIP = 1e-4, 0.01, 1.0


@dataclasses.dataclass(frozen=True)
class Shape:
  """The sizes of the encoder, of the batch and of its documents."""

  layers: int
  width: int
  heads: int
  feed_forward: int
  vocabulary: int
  batch: int
  length: int
  documents: int  # in a row of ours; the others' rows have one document of the same length
  masked: float  # share of the tokens that are predicted
  dropout: float
  dtype: str

  @property
  def config(self) -> Any:
    """The resolved config of ours.

    Raises:
      UserError: sizes that cannot work.
    """
    c = config_lib.base()
    c.batch_size, c.data.row_length, c.masking.rate = self.batch, self.length, self.masked
    c.model.update(
      layers=self.layers,
      width=self.width,
      heads=self.heads,
      feed_forward=self.feed_forward,
      dropout=self.dropout,
      dtype=self.dtype,
      max_positions=max(self.length, c.model.max_positions),
    )
    c.optim.update(
      learning_rate=_RATE, warmup_steps=0, schedule='constant', weight_decay=_DECAY, clip_norm=_CLIP
    )
    models.resolve(c.model)
    config_lib.check(c)
    return c

  def rows(self, documents: int) -> batches.Batch:
    """Returns the Batch of rows that hold `documents`, random tokens, and padding."""
    size = self.length // self.documents
    random = np.random.default_rng(0)
    tokens_BL = np.full(
      (self.batch, self.length), _PAD, np.uint16 if self.vocabulary <= 2**16 else np.int32
    )
    starts_BS = np.zeros((self.batch, 1), np.int32) + size * np.arange(documents, dtype=np.int32)
    for start in starts_BS[0]:
      tokens_BL[:, start : start + size] = random.integers(
        len(_SPECIAL), self.vocabulary, (self.batch, size)
      )
      tokens_BL[:, start], tokens_BL[:, start + size - 1] = _CLS, _SEP
    # One source, rows numbered in order.
    example_B2 = np.stack([np.zeros(self.batch), np.arange(self.batch)], axis=1).astype(np.uint32)
    return batches.Batch(tokens_BL, starts_BS, example_B2, np.zeros(self.batch, np.uint32))

  def policy(self) -> masking.Policy:
    """Returns the policy that chooses this share of the tokens."""
    table = vocabulary.table(self.vocabulary, _MASK, _SPECIAL)
    return masking.make(table, rate=self.masked)

  def masked_rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns what the others are given: int64 inputs_BL, int64 labels_BL, bool padding_BL."""
    batch = self.rows(1)
    masked = jax.device_get(jax.jit(masking.mask_batch)(self.policy(), rng.root_key(0), batch))
    # -100 is what PyTorch's cross-entropy ignores.
    labels_BL = np.where(masked.chosen_BL, masked.targets_BL, -100)
    padding_BL = np.asarray(batch.tokens_BL == _PAD)
    return masked.inputs_BL.astype(np.int64), labels_BL.astype(np.int64), padding_BL

  def model_flops(self, documents: int) -> float:
    """Returns the model FLOPs of a step with this many documents a row; see models/flops.py."""
    # A document attends to itself alone, size**2 pairs; its [CLS] and [SEP] are not predicted.
    size = self.length // self.documents
    used = self.batch * documents
    architecture = models.make(self.config.model, self.vocabulary).architecture
    return flops.training(
      architecture, used * size, used * size**2, self.masked * used * (size - 2)
    )


def ours(shape: Shape) -> Callable[[int], None]:
  """Returns task(calls)."""
  config = shape.config
  model = models.make(config.model, shape.vocabulary)
  # One group of rows: the whole batch is on one device.
  objective = masked_objective.Objective(model, _PAD, shape.batch)
  train_step = jax.jit(compiled.optimizer_step(objective, config), donate_argnums=0)
  key = rng.root_key(0)
  # The state is donated, so each call must use what the last one returned.
  state = jax.jit(compiled.initial_state(model.init, config))(key)
  policy, batch = jax.device_put((shape.policy(), shape.rows(shape.documents)))

  def task(calls: int) -> None:
    nonlocal state
    metrics = None
    for _ in range(calls):
      state, metrics = train_step(state, policy, batch, key)
    jax.block_until_ready((state, metrics))

  return task


def transformers_eager(shape: Shape) -> Callable[[int], None]:
  """Returns task(calls) of BertForMaskedLM in PyTorch."""
  return _transformers(shape, lambda model: model)


def transformers_compiled(shape: Shape) -> Callable[[int], None]:
  """Returns task(calls) of BertForMaskedLM under torch.compile."""
  # With its cache, a second run would not compile, and the first step would look cheap.
  os.environ['TORCHINDUCTOR_FORCE_DISABLE_CACHES'] = '1'
  warnings.filterwarnings('ignore', '.*force_disable_caches')
  import torch

  return _transformers(shape, torch.compile)


def _transformers(shape: Shape, compiled: Callable[[Any], Any]) -> Callable[[int], None]:
  import torch
  import transformers

  device = 'cuda' if torch.cuda.is_available() else 'cpu'
  model = (
    transformers.BertForMaskedLM(
      transformers.BertConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.feed_forward,
        max_position_embeddings=shape.config.model.max_positions,
        hidden_dropout_prob=shape.dropout,
        attention_probs_dropout_prob=shape.dropout,
      )
    )
    .to(device)
    .train()
  )
  optimizer = torch.optim.AdamW(
    [
      {'params': [p for p in model.parameters() if p.ndim > 1], 'weight_decay': _DECAY},
      {'params': [p for p in model.parameters() if p.ndim < 2], 'weight_decay': 0.0},
    ],
    lr=_RATE,
    fused=True,
  )
  inputs_BL, labels_BL, padding_BL = (torch.tensor(each).to(device) for each in shape.masked_rows())
  batch = {'input_ids': inputs_BL, 'labels': labels_BL}
  # Rows without padding need no mask.
  if padding_BL.any():
    batch['attention_mask'] = 1 - padding_BL.long()
  run = compiled(model)
  low = shape.dtype == 'bfloat16'

  def task(calls: int) -> None:
    for _ in range(calls):
      with torch.autocast(device, torch.bfloat16, enabled=low):
        loss = run(**batch).loss
      loss.backward()
      torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
      optimizer.step()
      optimizer.zero_grad()
    loss.item()  # waits for the device

  return task


def keras_hub(shape: Shape) -> Callable[[int], None]:
  """Returns task(calls) of keras-hub's BertMaskedLM on JAX, by train_on_batch."""
  os.environ['KERAS_BACKEND'] = 'jax'
  import keras
  import keras_hub

  keras.config.set_dtype_policy('mixed_bfloat16' if shape.dtype == 'bfloat16' else 'float32')
  model = keras_hub.models.BertMaskedLM(
    backbone=keras_hub.models.BertBackbone(
      vocabulary_size=shape.vocabulary,
      num_layers=shape.layers,
      num_heads=shape.heads,
      hidden_dim=shape.width,
      intermediate_dim=shape.feed_forward,
      dropout=shape.dropout,
      max_sequence_length=shape.config.model.max_positions,
    )
  )
  optimizer = keras.optimizers.AdamW(_RATE, weight_decay=_DECAY, global_clipnorm=_CLIP)
  # Biases and norms are not decayed, as in the other two.
  optimizer.exclude_from_weight_decay(var_names=['bias', 'gamma', 'beta'])
  model.compile(
    optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=True
  )
  inputs_BL, labels_BL, padding_BL = shape.masked_rows()
  chosen_BL = labels_BL >= 0
  # The chosen positions first, then as many others as the row with the most needs; those have
  # weight 0.
  index_BP = np.argsort(~chosen_BL, axis=1, kind='stable')[:, : chosen_BL.sum(1).max()]
  # Which of these places are predictions and not filled up.
  used_BP = np.take_along_axis(chosen_BL, index_BP, axis=1)
  inputs = {
    'token_ids': inputs_BL,
    'segment_ids': np.zeros_like(inputs_BL),
    'padding_mask': 1 - padding_BL,
    'mask_positions': index_BP,
  }
  inputs = {name: each.astype(np.int32) for name, each in inputs.items()}
  labels_BP = np.where(used_BP, np.take_along_axis(labels_BL, index_BP, axis=1), 0)

  def task(calls: int) -> None:
    for _ in range(calls):
      model.train_on_batch(inputs, labels_BP, sample_weight=used_BP.astype(np.float32))

  return task


def peak_memory(task: Any) -> float:
  """Returns the peak memory of this process in MB: of the device, on a CPU resident."""
  del task
  if 'torch' in sys.modules:
    import torch

    return (
      torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else clock.peak_memory()
    )
  # CPU devices keep no statistics.
  stats = jax.local_devices()[0].memory_stats()
  return stats['peak_bytes_in_use'] / 1e6 if stats else clock.peak_memory()
