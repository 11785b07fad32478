"""Rows, masks and steps of training, for ours and for PyTorch."""

import functools

import jax
import numpy as np
import optax
import torch

from mlm_jax import masking
from mlm_jax.core import batches
from mlm_jax.core import rng
from mlm_jax.core import vocabulary
from mlm_jax.training import optim
from mlm_jax.training import step as step_lib
from tests import toys

CLS, SEP, MASK = 2, 3, 4
SPECIAL = range(5)
VOCAB = 200  # no multiple of 128: ours has rows that theirs has not
ROWS, LENGTH = 16, 48
STEPS = 50


def config(**settings):
  return toys.config(
    **{
      'model__vocab_size': VOCAB,
      'model__layers': 3,
      'model__width': 64,
      'model__heads': 4,
      'model__feed_forward': 192,
      'model__max_positions': LENGTH,
      'model__init_std': 0.06,
      'data__row_length': LENGTH,
      'batch_size': ROWS,
      'total_steps': STEPS,
      'optim__learning_rate': 2e-3,
      'optim__warmup_steps': 10,
      'optim__weight_decay': 0.3,
      'optim__clip_norm': 0.5,
      **settings,
    }
  )


@functools.cache
def policy():
  return masking.make(vocabulary.table(VOCAB, MASK, SPECIAL), rate=0.2)


def document(random, length):
  """Returns [CLS] pieces [SEP]; a piece follows from the one before it, mostly."""
  pieces = random.integers(5, VOCAB, length - 2)
  for i in range(1, length - 2):
    if random.random() < 0.8:
      pieces[i] = 5 + (pieces[i - 1] - 5 + 7) % 40
  return [CLS, *pieces, SEP]


def rows(pad, step, documents=1):
  """Returns the Batch of a step: `documents` to a row, from 3 tokens long to all there is room
  for.
  """
  random = np.random.default_rng(step)
  tokens_BL = np.full((ROWS, LENGTH), pad, np.uint16)
  starts_BS = np.full((ROWS, documents), -1, np.int32)
  for b in range(ROWS):
    end = 0
    for s in range(documents):
      starts_BS[b, s] = end
      length = random.integers(3, LENGTH // documents + 1)
      tokens_BL[b, end : end + length] = document(random, length)
      end += length
  example_B2 = np.stack([np.zeros(ROWS), np.arange(ROWS)], 1).astype(np.uint32)
  return batches.Batch(tokens_BL, starts_BS, example_B2, np.full(ROWS, step, np.uint32))


def masks(batch):
  """Returns (inputs_BL, labels_BL) of our masking as int64 tensors; a label of -100 is none."""
  masked = jax.jit(masking.mask_batch)(policy(), rng.root_key(0), batch)
  labels_BL = np.where(masked.chosen_BL, masked.targets_BL, -100)
  return torch.tensor(np.asarray(masked.inputs_BL, np.int64)), torch.tensor(
    labels_BL, dtype=torch.int64
  )


def our_steps(objective, config, params, batch, steps=STEPS, optimizer=None):
  """Returns ([{metric: value}], state) of training steps; batch(step) gives the rows."""
  optimizer = optimizer or optim.make(config.optim, STEPS)
  train_step = jax.jit(
    step_lib.make_train_step(objective, optimizer, optim.schedule(config.optim, STEPS), STEPS)
  )
  state = step_lib.make_init(lambda key: params, optimizer)(None)
  kept = []
  for step in range(steps):
    state, metrics = train_step(state, policy(), batch(step), rng.root_key(0))
    assert metrics.get('overflow', (0,))[0] == 0
    kept.append(
      {name: float(total / weight) for name, (total, weight) in metrics.items() if weight}
    )
  return kept, state


def our_gradient(objective, config, params, batch):
  """Returns ({metric: value}, gradient) as the train step makes them."""
  keep = optax.GradientTransformationExtraArgs(
    lambda params: jax.tree.map(np.zeros_like, params),
    lambda grads, state, params=None, **unused: (jax.tree.map(lambda g: 0 * g, grads), grads),
  )
  (metrics,), state = our_steps(objective, config, params, lambda step: batch, 1, keep)
  return metrics, jax.device_get(state.opt_state)


def their_losses(parameters, loss, config, steps=STEPS):
  """Returns the losses of PyTorch's own AdamW, its clipping and its schedule.

  Args:
    parameters: {name: parameter}, which are changed.
    loss: (step) -> what is differentiated, and what is kept of the step.
    config: the group `optim`.
    steps: how many are taken, of a schedule for STEPS.
  """
  parameters = {name: p for name, p in parameters.items() if p.requires_grad}
  spared = {name for name in parameters if name.endswith('bias') or 'norm' in name.lower()}
  adamw = torch.optim.AdamW(
    [
      {
        'params': [p for name, p in parameters.items() if name not in spared],
        'weight_decay': config.weight_decay,
      },
      {'params': [parameters[name] for name in spared], 'weight_decay': 0.0},
    ],
    lr=config.learning_rate,
    betas=(config.beta1, config.beta2),
    eps=config.epsilon,
  )
  warmup = config.warmup_steps
  schedule = torch.optim.lr_scheduler.LambdaLR(
    adamw, lambda step: min((step + 1) / warmup, (STEPS - step) / (STEPS - warmup))
  )
  losses = []
  for step in range(steps):
    whole, kept = loss(step)
    whole.backward()
    torch.nn.utils.clip_grad_norm_(parameters.values(), config.clip_norm)
    adamw.step()
    schedule.step()
    adamw.zero_grad()
    losses.append(kept)
  return np.array(losses)
