"""Ours against `transformers` in PyTorch: the same weights, rows and masks give the same training.

Each row holds one document here, with padding after it, since `transformers` does
not pack; that packing changes nothing is compared in between, document by document.
"""

import functools

import jax
import numpy as np
import pytest
import torch

from mlm_jax import models
from mlm_jax.core import batches
from mlm_jax.huggingface import kinds
from mlm_jax.huggingface import names
from mlm_jax.objectives import masked as masked_objective
from tests.models import variants
from tests.parity import peers
from tests.parity import training
from tests.parity.training import LENGTH
from tests.parity.training import ROWS
from tests.parity.training import STEPS
from tests.parity.training import VOCAB

pytestmark = pytest.mark.parity

FAMILIES = {
  'bert': {},
  'roberta': {'model__family': 'roberta'},
  'deberta_v2': {
    'model__family': 'deberta_v2',
    'model__size': 'xlarge',
    'model__deberta__buckets': 16,
  },
  'modernbert': {
    'model__family': 'modernbert',
    'model__modernbert__window': 12,
    'model__modernbert__global_every': 2,
  },
}
EVERY = pytest.mark.parametrize('family', FAMILIES)
# Absolute, and relative twice. Losses are held to more than the 1e-3 that would do for
# other machines' rounding: at that, another weight decay or beta2 would pass.
LOGITS, GRADIENTS, LOSSES = 5e-5, 1e-4, 1e-5


def config(family, **settings):
  return training.config(**FAMILIES[family] | settings)


pad_id = variants.pad_id  # a family is a variant


@functools.cache
def our_model(family):
  return models.make(config(family).model, VOCAB)


def their_model(family):
  return peers.make(
    config(family).model, pad_id(family), start(family), our_model(family).architecture
  )


@functools.cache
def start(family):
  """Returns the parameters that both start from."""
  return variants.weights(our_model(family))


def rows(family, step, documents=1):
  return training.rows(pad_id(family), step, documents)


def objective(family):
  return masked_objective.Objective(our_model(family), pad_id(family), ROWS)


def our_gradient(family, batch):
  """Returns (loss, {name there: gradient})."""
  metrics, gradient = training.our_gradient(objective(family), config(family), start(family), batch)
  a = our_model(family).architecture
  return metrics['loss'], names.to_theirs(kinds.rules(family, a), gradient, a)


@functools.cache
def our_first_gradient(family):
  return our_gradient(family, rows(family, 0))[1]


@functools.cache
def our_losses(family):
  steps, _ = training.our_steps(
    objective(family), config(family), start(family), lambda step: rows(family, step)
  )
  return np.array([metrics['loss'] for metrics in steps])


def their_output(theirs, family, batch):
  inputs_BL, labels_BL = training.masks(batch)
  seen_BL = torch.tensor(batch.tokens_BL != pad_id(family), dtype=torch.int64)
  return theirs(input_ids=inputs_BL, attention_mask=seen_BL, labels=labels_BL)


def logits_error(theirs, family):
  """Returns the largest difference of a starting logit, over all tokens but padding."""
  model, batch = our_model(family), rows(family, 0)
  seen_BL = batch.tokens_BL != pad_id(family)
  theirs_PV = their_output(theirs, family, batch).logits.detach().numpy()[seen_BL]
  inputs_BL = training.masks(batch)[0].numpy()
  ours_PV = jax.jit(
    lambda params: model.head(
      params,
      model.apply(
        params,
        inputs_BL,
        batches.segments(batch.tokens_BL, batch.starts_BS, pad_id(family)),
        batches.positions(batch.starts_BS, LENGTH),
      ).hidden_BLD[seen_BL],
    )
  )(start(family))
  assert np.abs(theirs_PV).max() > 0.5  # logits that say nothing would agree too
  return np.abs(ours_PV[:, :VOCAB] - theirs_PV).max()


def gradient_errors(ours, theirs):
  """Returns {name: error} of {name: gradient} of ours, and of their model; see
  variants.gradient_errors.
  """
  theirs = peers.gradients(theirs)
  return variants.gradient_errors(ours, {name: theirs[name] for name in ours})


def first_gradient_errors(theirs, family):
  their_output(theirs, family, rows(family, 0)).loss.backward()
  return gradient_errors(our_first_gradient(family), theirs)


def loss_errors(theirs, family, settings):
  """Returns the relative difference of the losses at each step of training theirs, which is
  changed.
  """

  def loss(step):
    loss = their_output(theirs, family, rows(family, step)).loss
    return loss, loss.item()

  losses = training.their_losses(dict(theirs.named_parameters()), loss, settings)
  return np.abs(our_losses(family) / losses - 1)


@EVERY
def test_starting_logits_agree(family):
  error = logits_error(their_model(family), family)
  print(f'{family}: starting logits differ by {error:.1e} at most')
  assert error < LOGITS


@EVERY
def test_the_first_gradient_of_every_parameter_agrees(family):
  errors = first_gradient_errors(their_model(family), family)
  worst = max(errors, key=errors.get)
  print(f'{family}: first gradients differ by {errors[worst]:.1e} at most ({worst})')
  assert errors[worst] < GRADIENTS


@EVERY
def test_fifty_steps_of_training_agree_at_every_step(family):
  errors, losses = (
    loss_errors(their_model(family), family, config(family).optim),
    our_losses(family),
  )
  print(
    f'{family}: losses, from {losses[0]:.3f} to {losses[-1]:.3f}, differ by {errors.max():.1e} '
    f'at most (step {errors.argmax()})'
  )
  assert losses[-1] < 0.9 * losses[0]  # it learns
  assert len(errors) == STEPS and errors.max() < LOSSES


@pytest.mark.parametrize('family', ('bert', 'roberta'))  # of the others see test_families.py
def test_packed_rows_are_worth_their_documents_alone(family):
  """The loss of packed rows, and its gradient, are those of transformers on each document alone."""
  theirs, batch, total = their_model(family), rows(family, 0, documents=3), 0.0
  inputs_BL, labels_BL = training.masks(batch)
  chosen = (labels_BL >= 0).sum()
  for b in range(ROWS):
    ends = [*batch.starts_BS[b, 1:], (batch.tokens_BL[b] != pad_id(family)).sum()]
    for begin, end in zip(batch.starts_BS[b], ends):
      labels_1L = labels_BL[b : b + 1, begin:end]
      if (labels_1L >= 0).any():
        loss = theirs(input_ids=inputs_BL[b : b + 1, begin:end], labels=labels_1L).loss
        part = loss * (labels_1L >= 0).sum() / chosen
        part.backward()
        total += part.item()
  ours, gradient = our_gradient(family, batch)
  errors = gradient_errors(gradient, theirs)
  print(
    f'{family}: packed, the loss differs by {abs(ours / total - 1):.1e}, '
    f'gradients by {max(errors.values()):.1e} at most'
  )
  assert abs(ours / total - 1) < LOSSES
  assert max(errors.values()) < GRADIENTS


def _tanh_gelu(theirs):
  for layer in theirs.base_model.encoder.layer:
    layer.intermediate.intermediate_act_fn = torch.nn.GELU(approximate='tanh')


def _shift_positions(theirs):
  table = theirs.base_model.embeddings.position_embeddings
  table.weight.data = table.weight.data.roll(1, 0)


def _other_epsilon(theirs):
  for module in theirs.modules():
    if isinstance(module, torch.nn.LayerNorm):
      module.eps = 1e-12 if module.eps == 1e-5 else 1e-5


def _see_padding(theirs):
  theirs.register_forward_pre_hook(
    lambda module, args, named: (args, named | {'attention_mask': None}), with_kwargs=True
  )


def _untie(theirs):
  head = theirs.get_output_embeddings()
  head.weight = torch.nn.Parameter(head.weight.detach().clone())


def _no_far_buckets(theirs):
  theirs.base_model.encoder.position_buckets = -1


def _no_convolution(theirs):
  theirs.base_model.encoder.conv = None


def _one_wavelength(theirs):
  rotary = theirs.base_model.rotary_emb
  rotary.sliding_attention_inv_freq.copy_(rotary.full_attention_inv_freq)


def _wider_window(theirs):
  theirs.config.sliding_window += 1


@pytest.mark.parametrize(
  'family, plant',
  [
    *(
      (family, plant) for family in ('bert', 'roberta') for plant in (_tanh_gelu, _shift_positions)
    ),
    *((family, plant) for family in FAMILIES for plant in (_other_epsilon, _see_padding)),
    ('deberta_v2', _no_far_buckets),
    ('deberta_v2', _no_convolution),
    ('modernbert', _one_wavelength),
    ('modernbert', _wider_window),
  ],
)
def test_starting_logits_reveal_another_model(family, plant):
  theirs = their_model(family)
  plant(theirs)
  assert logits_error(theirs, family) > LOGITS


@EVERY
def test_gradients_reveal_an_untied_head(family):
  theirs = their_model(family)
  _untie(theirs)
  assert logits_error(theirs, family) < LOGITS
  errors = first_gradient_errors(theirs, family)
  assert max(errors, key=errors.get).endswith(('word_embeddings.weight', 'tok_embeddings.weight'))
  assert max(errors.values()) > GRADIENTS


@pytest.mark.parametrize(
  'name, value',
  (
    ('beta1', 0.85),
    ('beta2', 0.99),
    ('epsilon', 1e-5),
    ('warmup_steps', 11),
    ('weight_decay', 0.2),
    ('clip_norm', 10.0),
  ),
)
def test_losses_reveal_another_optimizer(name, value):
  settings = config('bert', **{f'optim__{name}': value}).optim
  assert loss_errors(their_model('bert'), 'bert', settings).max() > LOSSES
